//! The keys and values of a head, in words as the products take them.

use kernels_backend::{Result, check::AttentionDims};

use crate::{heads::Heads, memory::Buffer, simd::Simd, stream::Context, threads::Parts};

/// The keys and values of one head. A word of a key holds neighbours along the head, a word of a value the same place
/// of neighbouring tokens: what the sums run over.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// From the first key on; [`Keys::k_stride`] words between two of them.
    pub(super) k: &'a [f32],
    pub(super) k_stride: usize,
    /// Of keys of integers, what a sum of one stands for.
    pub(super) scales: &'a [f32],
    /// From the first value on; [`Keys::v_stride`] words from one word of tokens to the next.
    pub(super) v: &'a [f32],
    pub(super) v_stride: usize,
}

/// The values of all heads in bf16, each beside that of the next token. Made once, as each is read by every query; keys
/// of bf16 are read as they lie.
#[derive(Default)]
pub(crate) struct PairedValues(Buffer);

/// Tokens that a thread pairs at a time; even, so that no pair is torn.
const TOKENS: usize = 64;

impl PairedValues {
    /// Pairs the values of `qkv`: for each head `(⌈N/2⌉, d)` words.
    pub(super) fn pair<S: Simd>(
        &mut self,
        context: &Context<'_, S>,
        qkv: &Heads<'_>,
        dims: AttentionDims,
    ) -> Result<&[f32]> {
        let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
        let head = tokens.div_ceil(2) * head_dim;
        self.0.grow(context.name, [batch * num_heads, head])?;
        let words = &mut self.0[..batch * num_heads * head];
        let pieces = tokens.div_ceil(TOKENS);
        let parts = Parts::new(&mut *words);
        context.threads.for_each(batch * num_heads * pieces, |task| {
            let (i, first) = (task / pieces, task % pieces * TOKENS);
            let count = TOKENS.min(tokens - first);
            let values = |token: usize| qkv.halves(2, i, token);
            let start = i * head + first / 2 * head_dim;
            // SAFETY: tokens from `first` on belong to one task.
            let words = unsafe { parts.part(start..start + count.div_ceil(2) * head_dim) };
            context.simd.vectorize(
                #[inline(always)]
                || {
                    for (pair, words) in words.chunks_exact_mut(head_dim).enumerate() {
                        let token = first + 2 * pair;
                        let later = (token + 1 < tokens).then(|| values(token + 1));
                        pair_up(values(token), later, words);
                    }
                },
            );
        });
        Ok(words)
    }
}

/// The probability of a token that does not exist is zero, and so is its value here.
#[inline(always)]
fn pair_up(earlier: &[u16], later: Option<&[u16]>, words: &mut [f32]) {
    match later {
        Some(later) => {
            for ((word, &earlier), &later) in words.iter_mut().zip(earlier).zip(later) {
                *word = f32::from_bits(u32::from(later) << 16 | u32::from(earlier));
            }
        }
        None => {
            words.iter_mut().zip(earlier).for_each(|(word, &earlier)| *word = f32::from_bits(earlier.into()))
        }
    }
}
