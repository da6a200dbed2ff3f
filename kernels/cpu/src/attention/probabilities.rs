//! The probabilities themselves, for whoever wants to look at them. Plain loops in `f64`.

use kernels_backend::{AttentionOptions, Result, Tensor, check};

use super::refuse_dropout;
use crate::{
    heads::{HeadStrides, widened},
    simd::Simd,
    storage::{RowShape, floats_mut},
    stream::Context,
    threads::Parts,
};

/// softmax(scale·Q·Kᵀ), `(B, h, N, N)`.
pub(crate) fn attention_probabilities<S: Simd>(
    context: &Context<'_, S>,
    qkv: &Tensor,
    options: &AttentionOptions,
    probabilities: &mut Tensor,
) -> Result<()> {
    const OP: &str = "attention_probabilities";
    let dims = check::attention(OP, qkv, options, None, None)?;
    let (tokens, num_heads) = (dims.tokens, dims.num_heads);
    check::shape(OP, "probabilities", probabilities, &[dims.batch, num_heads, tokens, tokens])?;
    refuse_dropout(context.name, options)?;
    let words = widened(OP, "qkv", qkv, context.name)?;
    let strides = HeadStrides::new(qkv, num_heads);
    let count = RowShape::of(probabilities).words();
    let out = Parts::new(&mut floats_mut(OP, "probabilities", probabilities, context.name)?[..count]);
    context.threads.for_each(dims.batch * num_heads * tokens, |row| {
        let (head, query) = (row / tokens, row % tokens);
        let vector = |which: usize, token: usize| {
            let start = strides.start(head / num_heads, which, head % num_heads) + token * strides.token;
            &words[start..start + dims.head_dim]
        };
        // SAFETY: each row belongs to one task.
        let row = unsafe { out.part(row * tokens..(row + 1) * tokens) };
        let q = vector(0, query);
        for (key, score) in row.iter_mut().enumerate() {
            *score = dot(q, vector(1, key)) * options.scale;
        }
        softmax(row);
    });
    Ok(())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

fn softmax(row: &mut [f32]) {
    // `max` prefers numbers to NaN, but the exponential of a NaN reaches the sum and so every probability.
    let shift = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |x: f32| (f64::from(x) - f64::from(shift)).exp();
    let sum: f64 = row.iter().map(|&x| exp(x)).sum();
    row.iter_mut().for_each(|x| *x = (exp(*x) / sum) as f32);
}
