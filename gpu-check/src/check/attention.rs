//! `attention` and `attention_probabilities`: every kernel, at the heads of the models and at awkward ones.
//!
//! Queries and keys are large enough that a few keys have most of the weight. So a context is about as large as a value,
//! and a key that is missing shows, where the mean of a thousand values would hide it. The reference computes some heads.

use anyhow::{Context as _, Result};
use kernels::{AttentionOptions, DType, Layout, WeightFormat};

use super::{
    Size,
    lab::{Lab, Spec},
    noise::Noise,
    trial::{Case, Part},
};

/// Multiplications that the reference may make in a case: about a second.
const BUDGET: usize = 1_000_000_000;

/// What queries and keys are multiplied by: scores have a deviation of 3, so that of a thousand weights a few are tenths.
const SPREAD: f32 = 3.0;

/// Which op, on what.
#[derive(Clone, Copy, Debug)]
struct Heads {
    batch: usize,
    tokens: usize,
    num_heads: usize,
    head_dim: usize,
    dtype: DType,
    context: DType,
    by_head: bool,
    probabilities: bool,
}

impl Heads {
    const fn new([batch, tokens, num_heads, head_dim]: [usize; 4], dtype: DType, context: DType) -> Self {
        Self { batch, tokens, num_heads, head_dim, dtype, context, by_head: true, probabilities: false }
    }

    fn case(self, seed: u64) -> Case {
        let Self { batch, tokens, num_heads, head_dim, dtype, context, .. } = self;
        let layout = if self.by_head { "" } else { " in rows" };
        let label = format!("{batch}×{tokens}×{num_heads}×{head_dim} {dtype}→{context}{layout}");
        let noise = Noise::new(seed, &label);
        Case::new(label, move |lab| self.run(lab, noise.clone()))
    }

    fn run(&self, lab: &mut Lab, mut noise: Noise) -> Result<Vec<Part>> {
        let Self { batch, tokens, num_heads, head_dim, .. } = *self;
        let mut qkv = noise.signed(batch * tokens * 3 * num_heads * head_dim);
        let width = num_heads * head_dim;
        for token in qkv.chunks_mut(3 * width) {
            token[..2 * width].iter_mut().for_each(|x| *x *= SPREAD);
        }
        let one = (2 * tokens * tokens * head_dim).max(1);
        let picked = noise.spread((BUDGET / one).max(2), batch * num_heads);
        if lab.is_tested {
            let (values, stats) = self.apply(lab, [batch, num_heads], &qkv)?;
            let rows = if self.probabilities { tokens } else { 1 };
            let of_head = |values: &[f32], size: usize, head: usize| values[head * size..][..size].to_vec();
            let values = picked.iter().flat_map(|&head| match self.probabilities {
                true => of_head(&values, rows * tokens, head),
                false => self.context_of(&values, head),
            });
            let stats = picked
                .iter()
                .flat_map(|&head| of_head(&stats, if stats.is_empty() { 0 } else { tokens }, head));
            return Ok(self.parts(values.collect(), stats.collect()));
        }
        // Heads do not depend on each other: each becomes a sample with one head.
        let gather = |&pair: &usize| {
            let (sample, head) = (pair / num_heads, pair % num_heads);
            let of = move |token: usize, part: usize| {
                ((sample * tokens + token) * 3 + part) * width + head * head_dim
            };
            (0..tokens).flat_map(move |token| (0..3).map(move |part| of(token, part)))
        };
        let starts = picked.iter().flat_map(gather);
        let alone: Vec<f32> = starts.flat_map(|start| qkv[start..start + head_dim].to_vec()).collect();
        let (values, stats) = self.apply(lab, [picked.len(), 1], &alone)?;
        Ok(self.parts(values, stats))
    }

    /// The context of a pair of sample and head, as it would be alone.
    fn context_of(&self, context: &[f32], pair: usize) -> Vec<f32> {
        let (sample, head) = (pair / self.num_heads, pair % self.num_heads);
        let row = |token: usize| ((sample * self.tokens + token) * self.num_heads + head) * self.head_dim;
        (0..self.tokens)
            .flat_map(|token| context[row(token)..row(token) + self.head_dim].iter().copied())
            .collect()
    }

    /// Context and the logarithms of the denominators, or the probabilities.
    fn apply(
        &self,
        lab: &mut Lab,
        [batch, num_heads]: [usize; 2],
        qkv: &[f32],
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let Self { tokens, head_dim, .. } = *self;
        let width = num_heads * head_dim;
        let layout = if self.by_head { Layout::Heads { num_heads } } else { Layout::Rows };
        let qkv = lab.laid_out([batch, tokens, 3 * width], self.dtype, layout, qkv)?;
        let scale = (head_dim as f32).powf(-0.5);
        let precision = WeightFormat::of(self.dtype).context("attention is made of floats")?;
        let options = AttentionOptions { num_heads, scale, dropout: None, precision };
        if self.probabilities {
            let mut probabilities =
                lab.output(&Spec::new([batch, num_heads, tokens, tokens], self.context))?;
            lab.stream.attention_probabilities(&qkv, &options, &mut probabilities.tensor)?;
            return Ok((lab.result(&mut probabilities)?, Vec::new()));
        }
        let mut context = lab.output(&Spec::new([batch, tokens, width], self.context))?;
        let mut stats = lab.output(&Spec::new([batch, num_heads, tokens], DType::F32))?;
        lab.stream.attention(&qkv, &options, &mut context.tensor, Some(&mut stats.tensor))?;
        Ok((lab.result(&mut context)?, lab.result(&mut stats)?))
    }

    fn parts(&self, values: Vec<f32>, stats: Vec<f32>) -> Vec<Part> {
        let Self { tokens, head_dim, .. } = *self;
        if self.probabilities {
            return vec![Part {
                terms: self.terms(),
                ..Part::new("probabilities", self.context, head_dim, values)
            }];
        }
        let coarsest = self.coarsest();
        let context =
            Part { terms: self.terms(), ..Part::new("context", coarsest, tokens + head_dim, values) };
        vec![context, Part::new("stats", DType::F32, tokens + head_dim, stats)]
    }

    /// Weights add up to 1, and values are no larger. The rounding of a score in f32 is a relative error of its exponential;
    /// beside that of 16 bits it is nothing.
    fn terms(&self) -> f32 {
        if self.coarsest() == DType::F32 { SPREAD } else { 1.0 }
    }

    /// Kernels on tensor cores round the weights to the type of the values.
    fn coarsest(&self) -> DType {
        if self.dtype.epsilon() > self.context.epsilon() { self.dtype } else { self.context }
    }
}

fn cases(heads: Vec<Heads>, seed: u64) -> Vec<Case> {
    heads.into_iter().map(|heads| heads.case(seed)).collect()
}

/// The kernel for f32, for heads of any width and for mixtures of types.
pub(super) fn general(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let mut heads = vec![
        Heads::new([1, 35, 1, 20], dtype, dtype),
        Heads::new([2, 1, 2, 3], dtype, dtype),
        Heads { by_head: false, ..Heads::new([1, 67, 2, 9], dtype, DType::F32) },
        Heads::new([1, 33, 1, 132], dtype, dtype),
    ];
    if size == Size::Model {
        heads.push(Heads::new([1, 200, 1, 300], dtype, dtype));
        // Only f32 comes here with the heads of a model, for which 16 bits have kernels on tensor cores.
        let head_dims: &[usize] = if dtype == DType::F32 { &[24, 64, 80] } else { &[20] };
        heads.extend(head_dims.iter().map(|&head_dim| Heads::new([1, 1568, 6, head_dim], dtype, dtype)));
    }
    cases(heads, seed)
}

/// The kernels on tensor cores, of 8.0 and up or of 9.0.
pub(super) fn on_tensor_cores(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let of = |[batch, tokens, num_heads, head_dim]: [usize; 4]| {
        Heads::new([batch, tokens, num_heads, head_dim], dtype, dtype)
    };
    let mut heads = vec![
        of([1, 1, 1, 64]),
        of([2, 65, 2, 64]),
        Heads { by_head: false, ..of([1, 64, 2, 24]) },
        of([1, 70, 1, 80]),
        of([1, 40, 1, 96]),
        of([1, 130, 1, 128]),
    ];
    if size == Size::Model {
        heads.extend([
            of([2, 1568, 12, 64]),
            // More blocks than two rounds over all multiprocessors.
            of([8, 1568, 16, 64]),
            of([1, 1568, 16, 80]),
            of([1, 1568, 16, 24]),
            of([1, 1568, 2, 96]),
            of([1, 1568, 2, 128]),
            // The visible tokens of pre-training.
            of([4, 160, 12, 64]),
            // One more than a tile, and one less than the next.
            of([1, 129, 3, 64]),
            of([1, 191, 3, 64]),
        ]);
    }
    cases(heads, seed)
}

/// `attention_probabilities`.
pub(super) fn probabilities(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let of = |sizes| Heads { probabilities: true, ..Heads::new(sizes, dtype, dtype) };
    let mut heads = vec![of([1, 35, 2, 24]), Heads { by_head: false, ..of([2, 7, 1, 9]) }];
    if size == Size::Model {
        heads.extend([of([1, 1568, 2, 64]), of([2, 160, 12, 64]), of([1, 300, 2, 80])]);
    }
    cases(heads, seed)
}
