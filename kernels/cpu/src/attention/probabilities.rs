//! The probabilities themselves, for whoever wants to look at them. Plain loops in `f64`.

use kernels_backend::{AttentionOptions, Result, Tensor, WeightFormat, check, check::AttentionDims};

use super::refuse_dropout;
use crate::{
    gemm::vector_scale,
    heads::Heads,
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
    let AttentionDims { tokens, num_heads, head_dim, .. } = dims;
    check::shape(OP, "probabilities", probabilities, &[dims.batch, num_heads, tokens, tokens])?;
    refuse_dropout(context.name, options)?;
    let heads = Heads::new(OP, "qkv", qkv, num_heads, context.name)?;
    let [mut queries, mut keys] = [0, 1].map(|which| vectors(&heads, which, dims));
    if options.precision == WeightFormat::Int8 {
        keys.chunks_exact_mut((tokens * head_dim).max(1)).for_each(|keys| centre(keys, head_dim));
        let vectors = queries.chunks_exact_mut(head_dim).chain(keys.chunks_exact_mut(head_dim));
        vectors.for_each(|vector| round(context.simd, vector));
    }
    let count = RowShape::of(probabilities).words();
    let out = Parts::new(&mut floats_mut(OP, "probabilities", probabilities, context.name)?[..count]);
    context.threads.for_each(dims.batch * num_heads * tokens, |i| {
        // SAFETY: each row belongs to one task.
        let row = unsafe { out.part(i * tokens..(i + 1) * tokens) };
        let q = &queries[i * head_dim..][..head_dim];
        let keys = keys[i / tokens * tokens * head_dim..].chunks_exact(head_dim);
        for (score, k) in row.iter_mut().zip(keys) {
            *score = dot(q, k) * options.scale;
        }
        softmax(row);
    });
    Ok(())
}

/// Queries (0) or keys (1), `(B·h, N, d)`.
fn vectors(heads: &Heads<'_>, which: usize, dims: AttentionDims) -> Vec<f32> {
    let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
    let mut vectors = vec![0.0; batch * num_heads * tokens * head_dim];
    for (i, vector) in vectors.chunks_exact_mut(head_dim).enumerate() {
        heads.read(which, i / tokens, i % tokens, vector);
    }
    vectors
}

/// Takes the mean of the keys of a head from each.
fn centre(keys: &mut [f32], head_dim: usize) {
    let tokens = (keys.len() / head_dim) as f64;
    for i in 0..head_dim {
        let sum: f64 = keys[i..].iter().step_by(head_dim).map(|&k| f64::from(k)).sum();
        keys[i..].iter_mut().step_by(head_dim).for_each(|k| *k -= (sum / tokens) as f32);
    }
}

/// To integers times a scale, as the products of int8 take it.
fn round<S: Simd>(s: S, vector: &mut [f32]) {
    let (scale, inverse) = s.vectorize(
        #[inline(always)]
        || vector_scale(s, vector),
    );
    vector.iter_mut().for_each(|x| *x = (*x * inverse).round_ties_even() * scale);
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
