//! Attention, forward and backward, from tame scores to saturated ones.

use std::sync::Arc;

use kernels::{AttentionOptions, Backend, DType, Layout, Result, Stream, Tensor, View, WeightFormat};

use super::{Run, filled, largest, unwritten, values};

/// How many shapes there are.
const SHAPES: usize = 5;

/// Tensors of the first shape that equal another: with one token every probability is 1 and no score has a gradient.
const EQUAL: [(&str, &str); 4] = [
    ("0.sharp.probabilities", "0.tame.probabilities"),
    ("0.sharp.query_gradient", "0.tame.query_gradient"),
    ("0.sharp.key_gradient", "0.tame.query_gradient"),
    ("0.tame.key_gradient", "0.tame.query_gradient"),
];

pub(super) fn compare(run: &mut Run, backend: &Arc<dyn Backend>) -> Result<()> {
    for shape in 0..SHAPES {
        for label in ["tame", "sharp"] {
            let case = Case::read(run, &format!("{shape}.{label}"));
            for layout in [Layout::Rows, Layout::Heads { num_heads: case.heads }] {
                case.forward(run, backend, layout)?;
            }
            if Arc::clone(backend).backward_stream().is_ok() {
                case.backward(run, backend)?;
            }
        }
    }
    Ok(())
}

/// The operands of one case, each `(B, N, D)`, heads side by side.
struct Case {
    prefix: String,
    batch: usize,
    tokens: usize,
    heads: usize,
    head_dim: usize,
    /// Query, key and value.
    parts: [Vec<f32>; 3],
    context_gradient: Vec<f32>,
}

impl Case {
    fn read(run: &Run, prefix: &str) -> Self {
        let input = |name: &str| run.inputs.get(&format!("{prefix}.{name}"));
        let [batch, heads, tokens, head_dim] = *input("query").shape.as_slice() else {
            panic!("a query has four dimensions")
        };
        let sizes = [batch, heads, tokens, head_dim];
        let part = |name: &str| tokens_first(input(name).floats(), sizes);
        Self {
            prefix: prefix.to_owned(),
            batch,
            tokens,
            heads,
            head_dim,
            parts: [part("query"), part("key"), part("value")],
            context_gradient: input("context_gradient").floats().to_vec(),
        }
    }

    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    fn options(&self) -> AttentionOptions {
        let scale = (self.head_dim as f32).sqrt().recip();
        AttentionOptions { num_heads: self.heads, scale, dropout: None, precision: WeightFormat::F32 }
    }

    /// `(B, N, 3·D)` in a layout.
    fn qkv(&self, s: &mut dyn Stream, layout: Layout) -> Result<Tensor> {
        let row = |i| self.parts.iter().flat_map(move |part| &part[i * self.width()..(i + 1) * self.width()]);
        let joined: Vec<f32> = (0..self.batch * self.tokens).flat_map(row).copied().collect();
        let shape = [self.batch, self.tokens, 3 * self.width()];
        let mut qkv = s.alloc(shape.into(), DType::F32, layout)?;
        s.write(&View::f32(shape, &joined)?, &mut qkv)?;
        Ok(qkv)
    }

    /// How much larger than rounding errors of probabilities those of scores make them: an error of a score is a
    /// relative error of its exponential, and it grows with the products that the score adds up.
    fn sharpness(&self) -> f32 {
        let [query, key, _] = &self.parts;
        (largest(query) * largest(key) * (self.head_dim as f32).sqrt()).max(1.0)
    }

    /// As the longest of its sums: over a head, or over all tokens.
    fn sums(&self) -> usize {
        self.head_dim.max(self.tokens)
    }

    fn forward(&self, run: &mut Run, backend: &Arc<dyn Backend>, layout: Layout) -> Result<()> {
        let mut s = Arc::clone(backend).stream()?;
        let qkv = self.qkv(&mut *s, layout)?;
        let mut context = unwritten(&mut *s, [self.batch, self.tokens, self.width()])?;
        let mut probabilities = unwritten(&mut *s, [self.batch, self.heads, self.tokens, self.tokens])?;
        s.attention(&qkv, &self.options(), &mut context, None)?;
        s.attention_probabilities(&qkv, &self.options(), &mut probabilities)?;
        let (context, probabilities) = (values(&mut *s, &context)?, values(&mut *s, &probabilities)?);
        let terms = self.sharpness();
        self.compare(run, "context", terms * largest(&self.parts[2]), &context);
        self.compare(run, "probabilities", terms, &probabilities);
        Ok(())
    }

    fn backward(&self, run: &mut Run, backend: &Arc<dyn Backend>) -> Result<()> {
        let mut backward = Arc::clone(backend).backward_stream()?;
        let options = self.options();
        let shape = [self.batch, self.tokens, self.width()];
        let s = backward.forward();
        let qkv = self.qkv(s, Layout::Rows)?;
        let mut context = unwritten(s, shape)?;
        let mut stats = unwritten(s, [self.batch, self.heads, self.tokens])?;
        let mut dqkv = unwritten(s, [shape[0], shape[1], 3 * shape[2]])?;
        let dcontext = filled(s, shape, &self.context_gradient)?;
        s.attention(&qkv, &options, &mut context, Some(&mut stats))?;
        backward.attention_backward(&qkv, &options, &stats, &context, &dcontext, &mut dqkv)?;
        let dqkv = values(backward.forward(), &dqkv)?;

        let [query, key, value] = &self.parts;
        let incoming = largest(&self.context_gradient);
        // The gradient of a score is a difference of two products of gradient and value, times a probability.
        let score = incoming * largest(value) * options.scale * (self.head_dim as f32).sqrt();
        let terms = [score * largest(key), score * largest(query), incoming].map(|x| x * self.sharpness());
        for (part, name) in ["query_gradient", "key_gradient", "value_gradient"].into_iter().enumerate() {
            let rows = dqkv.chunks_exact(3 * self.width());
            let found: Vec<f32> =
                rows.flat_map(|row| &row[part * self.width()..(part + 1) * self.width()]).copied().collect();
            self.compare(run, name, terms[part], &found);
        }
        Ok(())
    }

    fn compare(&self, run: &mut Run, tensor: &str, terms: f32, found: &[f32]) {
        let name = format!("{}.{tensor}", self.prefix);
        let stored =
            EQUAL.iter().find(|(equal, _)| *equal == name).map_or(name.as_str(), |(_, stored)| stored);
        let expected = run.expected(stored);
        // Gradients are stored head by head, as the operands are.
        let expected = match tensor.ends_with("gradient") {
            true => tokens_first(expected.floats(), [self.batch, self.heads, self.tokens, self.head_dim]),
            false => expected.floats().to_vec(),
        };
        run.part(&name, self.sums(), terms, found, &expected);
    }
}

/// `(B, h, N, d)` to `(B, N, h·d)`.
fn tokens_first(values: &[f32], [batch, heads, tokens, head_dim]: [usize; 4]) -> Vec<f32> {
    let mut moved = Vec::with_capacity(values.len());
    for b in 0..batch {
        for n in 0..tokens {
            for h in 0..heads {
                let start = ((b * heads + h) * tokens + n) * head_dim;
                moved.extend_from_slice(&values[start..start + head_dim]);
            }
        }
    }
    moved
}
