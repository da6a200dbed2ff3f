//! Queries and keys of int8: integers from −127 to 127 times a scale for each vector.

use kernels_backend::{Result, check::AttentionDims};

use crate::{
    gemm::{Int8, Product, fill_words, nearest_code, vector_scale},
    heads::Heads,
    memory::{Buffer, grow},
    simd::Simd,
    stream::Context,
    threads::Parts,
};

/// What is added to the integers of keys where the product takes one operand unsigned.
pub(super) const UNSIGNED: i32 = 128;

/// The keys of all heads as integers, less the mean key of their head, with a scale for each.
#[derive(Default)]
pub(crate) struct IntegerKeys {
    words: Buffer,
    scales: Vec<f32>,
    /// Sums over tokens, then means.
    means: Vec<f64>,
    /// A centred key for each head.
    centred: Vec<f32>,
}

impl IntegerKeys {
    /// Rounds the keys of `qkv`: for each head `(N, words)`, and `(N)` scales.
    pub(super) fn round<S: Simd>(
        &mut self,
        context: &Context<'_, S>,
        qkv: &Heads<'_>,
        dims: AttentionDims,
    ) -> Result<(&[f32], &[f32])> {
        let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
        let (heads, depth) = (batch * num_heads, head_dim.div_ceil(<Int8 as Product<S>>::NUMBERS));
        self.words.grow(context.name, [heads * tokens, depth])?;
        grow(&mut self.scales, heads * tokens);
        grow(&mut self.means, heads * head_dim);
        grow(&mut self.centred, heads * head_dim);
        let words = Parts::new(&mut self.words[..heads * tokens * depth]);
        let (scales, means) = (Parts::new(&mut self.scales), Parts::new(&mut self.means));
        let centred = Parts::new(&mut self.centred);
        context.threads.for_each(heads, |head| {
            let of_head = |size: usize| head * size..(head + 1) * size;
            // SAFETY: each head belongs to one task.
            let (words, scales, means, centred) = unsafe {
                (
                    words.part(of_head(tokens * depth)),
                    scales.part(of_head(tokens)),
                    means.part(of_head(head_dim)),
                    centred.part(of_head(head_dim)),
                )
            };
            context.simd.vectorize(
                #[inline(always)]
                || {
                    means.fill(0.0);
                    for token in 0..tokens {
                        qkv.read(1, head, token, centred);
                        means.iter_mut().zip(&*centred).for_each(|(sum, &k)| *sum += f64::from(k));
                    }
                    means.iter_mut().for_each(|mean| *mean /= tokens as f64);
                    for (token, words) in words.chunks_exact_mut(depth).enumerate() {
                        qkv.read(1, head, token, centred);
                        centred.iter_mut().zip(&*means).for_each(|(k, &mean)| *k -= mean as f32);
                        scales[token] = integers(context.simd, centred, 1.0, UNSIGNED, words);
                    }
                },
            );
        });
        Ok((&self.words, &self.scales))
    }
}

/// Fills the words of a vector with its integers times a sign plus a number, which only bytes may have, and returns what
/// a step of one stands for.
#[inline(always)]
pub(super) fn integers<S: Simd>(s: S, x: &[f32], sign: f32, plus: i32, words: &mut [f32]) -> f32 {
    let (scale, inverse) = vector_scale(s, x);
    let inverse = inverse * sign;
    // What nearest_code leaves above the lowest byte is not the integer's.
    let code = |x: f32| nearest_code(x * inverse) as i8;
    if <Int8 as Product<S>>::NUMBERS == 4 {
        fill_words::<u8>(x, words, |x| (i32::from(code(x)) + plus) as u8);
    } else {
        fill_words::<i16>(x, words, |x| i16::from(code(x)));
    }
    scale
}
