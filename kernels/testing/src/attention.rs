//! `attention` and `attention_probabilities`.

use std::sync::Arc;

use kernels_backend::{AttentionOptions, Backend, DType, Dropout, Layout, WeightFormat};
use proptest::prelude::*;

use crate::{
    Operand, Subject, agree, agree_in, cases, laid_out, noise,
    subject::{awkward, coarsest, reference, types},
    tensor, unset, unset_in, values,
};

const HEAD_DIMS: &[usize] = if cfg!(miri) { &[1, 3, 9] } else { &[1, 3, 24, 64, 80, 88] };

/// An attention and the types of its input and output.
#[derive(Clone, Copy)]
struct Case {
    /// Batch, tokens, heads and their width.
    dims: [usize; 4],
    qkv: DType,
    context: DType,
    probabilities: DType,
    by_head: bool,
    scale: f32,
    precision: WeightFormat,
}

impl Case {
    fn f32(dims: [usize; 4], scale: f32) -> Self {
        let f32 = DType::F32;
        Self {
            dims,
            qkv: f32,
            context: f32,
            probabilities: f32,
            by_head: false,
            scale,
            precision: WeightFormat::F32,
        }
    }

    /// In the types that the backend asks for beside layers of this precision; the reference takes any.
    fn as_asked(self, as_asked: bool, backend: &Arc<dyn Backend>) -> Self {
        if !as_asked || backend.name() == reference().name() {
            return self;
        }
        let (qkv, probabilities) =
            (backend.attention_inputs(self.precision), backend.activations(self.precision));
        // A type of its own is for what a linear layer lays out by heads.
        Self { qkv, probabilities, by_head: self.by_head || qkv != probabilities, ..self }
    }

    /// Context, then stats, then probabilities.
    fn run(&self, backend: &Arc<dyn Backend>, qkv: &[f32]) -> Vec<f32> {
        let [batch, tokens, num_heads, head_dim] = self.dims;
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let width = num_heads * head_dim;
        let layout = if self.by_head { Layout::Heads { num_heads } } else { Layout::Rows };
        let options =
            AttentionOptions { num_heads, scale: self.scale, dropout: None, precision: self.precision };
        let qkv = laid_out(s, [batch, tokens, 3 * width], self.qkv, layout, qkv);
        let mut context = unset_in(s, [batch, tokens, width], self.context);
        let mut stats = unset(s, [batch, num_heads, tokens]);
        s.attention(&qkv, &options, &mut context, Some(&mut stats)).unwrap();
        let mut result = values(s, &context);
        result.extend(values(s, &stats));
        let mut probabilities = unset_in(s, [batch, num_heads, tokens, tokens], self.probabilities);
        s.attention_probabilities(&qkv, &options, &mut probabilities).unwrap();
        result.extend(values(s, &probabilities));
        result
    }
}

/// Numbers of bf16, so that scores are exact and what is left is the rounding of probabilities.
fn noise_in_bf16(seed: u64, len: usize) -> Vec<f32> {
    noise(seed, len).into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect()
}

/// Any sizes, layout and types.
pub fn any_head_and_any_number_of_tokens_agree_with_the_reference(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..3usize, tokens in awkward(subject, 0), num_heads in 1..4usize,
        head_dim in proptest::sample::select(HEAD_DIMS), by_head in any::<bool>(), scale in -1.0f32..1.0,
        qkv in types(subject, Operand::Other), context in types(subject, Operand::Handed), seed in any::<u64>(),
    )| {
        let dims = [batch, tokens, num_heads, head_dim];
        let case = Case { qkv, context, probabilities: qkv, by_head, ..Case::f32(dims, scale) };
        let qkv_numbers = noise(seed, batch * tokens * 3 * num_heads * head_dim);
        agree_in(subject, coarsest(&[qkv, context]), "attention", tokens + head_dim, 1.0, &|backend| {
            case.run(backend, &qkv_numbers)
        });
    });
}

/// [`AttentionOptions::precision`] allows rounding and asks for no more of it than there is. Queries, keys and values are
/// f32, or of the type that the backend asks for.
pub fn what_may_be_rounded_to_bf16_agrees_with_the_reference_within_that(subject: &dyn Subject) {
    beside_layers_of(subject, WeightFormat::Bf16, &|_, _| DType::Bf16);
}

/// The integers are the same, so nothing but what comes after them differs: f32, or bf16 where the backend asks for it.
pub fn queries_and_keys_in_int8_agree_with_the_reference(subject: &dyn Subject) {
    if subject.formats().contains(&WeightFormat::Int8) {
        beside_layers_of(subject, WeightFormat::Int8, &|as_asked, context| {
            if as_asked { DType::Bf16 } else { context }
        });
    }
}

/// Any sizes and layout in this precision. `rounding(as asked, type of the context)` is the type of what is rounded.
fn beside_layers_of(subject: &dyn Subject, precision: WeightFormat, rounding: &dyn Fn(bool, DType) -> DType) {
    proptest!(cases(subject.cases()), |(
        batch in 1..3usize, tokens in awkward(subject, 1), num_heads in 1..4usize,
        head_dim in proptest::sample::select(HEAD_DIMS), by_head in any::<bool>(), scale in -1.0f32..1.0,
        context in types(subject, Operand::Handed), as_asked in any::<bool>(), seed in any::<u64>(),
    )| {
        let dims = [batch, tokens, num_heads, head_dim];
        let case = Case { context, by_head, precision, ..Case::f32(dims, scale) };
        let qkv = noise_in_bf16(seed, batch * tokens * 3 * num_heads * head_dim);
        agree_in(subject, rounding(as_asked, context), "attention", tokens + head_dim, 1.0, &|backend| {
            case.as_asked(as_asked, backend).run(backend, &qkv)
        });
    });
}

/// The largest score is taken away before exponentials are.
pub fn large_scores_do_not_overflow(subject: &dyn Subject) {
    let case = Case::f32([1, 400, 2, 24], 1.0);
    let mut qkv = noise(3, 400 * 3 * 48);
    // Scores up to 24·15·15, so that probabilities are nearly zero and one and maxima move between blocks.
    qkv.iter_mut().for_each(|x| *x *= 15.0);
    assert!(case.run(&reference(), &qkv).iter().all(|x| x.is_finite()));
    // The rounding of a score of some thousand is a relative error of its exponential.
    agree(subject, "attention", 400, 24.0 * 15.0 * 15.0, &|backend| {
        let result = case.run(backend, &qkv);
        assert!(result.iter().all(|x| x.is_finite()), "{}", backend.name());
        result
    });
}

/// In queries, keys and values, at the ends of blocks and within.
pub fn nan_infinite_and_overflowing_scores_give_what_the_reference_gives(subject: &dyn Subject) {
    let (tokens, head_dim) = (211, 8);
    let specials = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, half::bf16::MAX.to_f32()];
    for (dtype, special) in [DType::F32, DType::Bf16].into_iter().flat_map(|t| specials.map(|x| (t, x))) {
        let precision = WeightFormat::of(dtype).unwrap();
        let case = Case { precision, ..Case::f32([1, tokens, 1, head_dim], 0.5) };
        for (token, part) in [(0, 0), (5, 1), (200, 1), (7, 2), (210, 2)] {
            let mut qkv = noise_in_bf16(4, tokens * 3 * head_dim);
            qkv[(token * 3 + part) * head_dim + 2] = special;
            let what = format!("{special} in part {part} of token {token}");
            agree_in(subject, dtype, &what, tokens, 1.0, &|backend| {
                let mut result = case.as_asked(dtype == DType::Bf16, backend).run(backend, &qkv);
                // Sums that overflow differ in when they do, so only finite numbers and the rest are told apart.
                result.iter_mut().filter(|x| !x.is_finite() || x.abs() > 1e3).for_each(|x| *x = f32::NAN);
                result
            });
        }
    }
}

/// Training is the reference's.
pub fn dropout_is_refused_unless_it_does_nothing(subject: &dyn Subject) {
    subject.each(&mut |backend, _| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let qkv = tensor(s, [1, 1, 3], &[1.0; 3]);
        let mut context = unset(s, [1, 1, 1]);
        let mut try_with = |probability| {
            let dropout = Some(Dropout { probability, seed: 1 });
            let options =
                AttentionOptions { num_heads: 1, scale: 1.0, dropout, precision: WeightFormat::F32 };
            s.attention(&qkv, &options, &mut context, None)
        };
        assert!(try_with(0.0).is_ok());
        let message = try_with(0.1).unwrap_err().to_string();
        assert!(message.contains("attention dropout"), "{message}");
    });
}
