//! The keys and values of a head, in words as the products take them.

use kernels_backend::{Result, check::AttentionDims};

use crate::{
    gemm::{Bf16, Float},
    memory::Buffer,
    simd::Simd,
    storage::HeadStrides,
    stream::Context,
    threads::Parts,
};

/// The keys and values of one head. A word of a key holds neighbours along the head, a word of a value the same place
/// of neighbouring tokens: what the sums run over.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// From the first key on; [`Keys::k_stride`] words between two of them.
    pub(super) k: &'a [f32],
    pub(super) k_stride: usize,
    /// From the first value on; [`Keys::v_stride`] words from one word of tokens to the next.
    pub(super) v: &'a [f32],
    pub(super) v_stride: usize,
}

/// Keys and values of all heads in pairs of bf16. Narrowed once, as each is read by every query.
#[derive(Default)]
pub(crate) struct NarrowKeys(Buffer);

/// Tokens that a thread narrows at a time; even, as a word holds two of them.
const TOKENS: usize = 64;

impl NarrowKeys {
    /// Narrows the keys and values of `qkv`, whose heads lie as `strides` says.
    pub(super) fn narrow<S: Simd>(
        &mut self,
        context: &Context<'_, S>,
        qkv: &[f32],
        strides: &HeadStrides,
        dims: AttentionDims,
    ) -> Result<Narrowed<'_>> {
        let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
        let layout = Narrowed { words: &[], tokens, head_dim };
        let head = layout.head_words();
        self.0.grow(context.name, [batch * num_heads, head])?;
        let words = &mut self.0[..batch * num_heads * head];
        let pieces = tokens.div_ceil(TOKENS);
        let parts = Parts::new(&mut *words);
        context.threads.for_each(batch * num_heads * pieces, |task| {
            let (i, first) = (task / pieces, task % pieces * TOKENS);
            let count = TOKENS.min(tokens - first);
            let vector = |which: usize, token: usize| {
                let start = strides.start(i / num_heads, which, i % num_heads) + token * strides.token;
                &qkv[start..start + head_dim]
            };
            let keys = i * head + layout.key(first)..i * head + layout.key(first + count);
            let values = i * head + layout.value(first)..i * head + layout.value(first + count + count % 2);
            // SAFETY: tokens from `first` on belong to one task, and keys and values lie apart.
            let (keys, values) = unsafe { (parts.part(keys), parts.part(values)) };
            context.simd.vectorize(
                #[inline(always)]
                || {
                    for (token, words) in keys.chunks_exact_mut(layout.depth()).enumerate() {
                        narrow_key::<S>(vector(1, first + token), words);
                    }
                    for (pair, words) in values.chunks_exact_mut(head_dim).enumerate() {
                        let token = first + 2 * pair;
                        let later = (token + 1 < tokens).then(|| vector(2, token + 1));
                        narrow_values::<S>(vector(2, token), later, words);
                    }
                },
            );
        });
        Ok(Narrowed { words, ..layout })
    }
}

/// Keys `(B·h, N, ⌈d/2⌉)`, each head followed by its values `(⌈N/2⌉, d)`.
pub(super) struct Narrowed<'a> {
    words: &'a [f32],
    tokens: usize,
    head_dim: usize,
}

impl Narrowed<'_> {
    /// The `i`-th head over all samples.
    pub(super) fn head(&self, i: usize) -> Keys<'_> {
        let words = &self.words[i * self.head_words()..(i + 1) * self.head_words()];
        let (k, v) = words.split_at(self.value(0));
        Keys { k, k_stride: self.depth(), v, v_stride: self.head_dim }
    }

    fn depth(&self) -> usize {
        self.head_dim.div_ceil(2)
    }

    fn key(&self, token: usize) -> usize {
        token * self.depth()
    }

    /// Where the word of a token and its successor lies; of an even token.
    fn value(&self, token: usize) -> usize {
        self.key(self.tokens) + token / 2 * self.head_dim
    }

    fn head_words(&self) -> usize {
        self.value(self.tokens + self.tokens % 2)
    }
}

#[inline(always)]
fn narrow_key<S: Simd>(key: &[f32], words: &mut [f32]) {
    let mut pairs = key.chunks_exact(2);
    for (word, pair) in words.iter_mut().zip(&mut pairs) {
        *word = <Bf16 as Float<S>>::word([pair[0], pair[1]]);
    }
    if let ([last], Some(word)) = (pairs.remainder(), words.last_mut()) {
        *word = <Bf16 as Float<S>>::word([*last, 0.0]);
    }
}

/// The probability of a token that does not exist is zero, and so is its value here.
#[inline(always)]
fn narrow_values<S: Simd>(earlier: &[f32], later: Option<&[f32]>, words: &mut [f32]) {
    match later {
        Some(later) => {
            for ((word, &earlier), &later) in words.iter_mut().zip(earlier).zip(later) {
                *word = <Bf16 as Float<S>>::word([earlier, later]);
            }
        }
        None => {
            for (word, &earlier) in words.iter_mut().zip(earlier) {
                *word = <Bf16 as Float<S>>::word([earlier, 0.0]);
            }
        }
    }
}
