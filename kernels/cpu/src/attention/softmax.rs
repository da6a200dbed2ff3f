//! A group of queries, one on each lane, and what it has seen of the keys so far.

use std::{marker::PhantomData, ops::Range};

use super::{
    Lanes,
    keys::Keys,
    query::{Asked, Query},
};
use crate::{
    gemm::{Ahead, Float, Operands, RowKernel, Sums, accumulate, balanced, load, store, with_rows},
    heads::Heads,
    math::{exp2, exp2_coarse},
    simd::{Simd, TILE_VECTORS},
    storage::LINE,
};

/// Keys of a block. The scores of 16 queries take 12 KiB, of 32 queries 24 KiB: they stay in the first-level
/// cache of 32 KiB, and the sums over values are read and written once in 192 steps. Even, so that no word of two keys
/// falls into two blocks.
pub(super) const KEY_BLOCK: usize = 192;

/// The memory of a group: words of Qᵀ `(d, lanes)`, Oᵀ `(d, lanes)`, what scores are multiplied by and start from, the
/// maxima and the sums of the exponentials. Q is the product of queries and keys, P that of probabilities and values.
pub(super) struct Group<'a, S, Q, P> {
    simd: S,
    head_dim: usize,
    queries: &'a mut [f32],
    output: &'a mut [f32],
    factors: &'a mut [f32],
    starts: &'a mut [f32],
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
    products: PhantomData<(Q, P)>,
}

impl<'a, S: Simd, Q: Query<S>, P: Float<S>> Group<'a, S, Q, P> {
    /// Numbers that the memory of a group takes.
    pub(super) fn words(head_dim: usize) -> usize {
        2 * (head_dim + 2) * S::TILE_COLUMNS
    }

    /// A group in memory of [`Group::words`] numbers.
    pub(super) fn new(simd: S, words: &'a mut [f32], head_dim: usize) -> Self {
        let (queries, rest) = words.split_at_mut(head_dim * S::TILE_COLUMNS);
        let (output, rest) = rest.split_at_mut(head_dim * S::TILE_COLUMNS);
        let (factors, rest) = rest.split_at_mut(S::TILE_COLUMNS);
        let (starts, rest) = rest.split_at_mut(S::TILE_COLUMNS);
        let (maxima, sums) = rest.split_at_mut(S::TILE_COLUMNS);
        Self { simd, head_dim, queries, output, factors, starts, maxima, sums, products: PhantomData }
    }

    /// Words along a head.
    fn depth(&self) -> usize {
        self.head_dim.div_ceil(Q::NUMBERS)
    }

    /// Takes the queries `tokens` of a head, whose scores are multiplied by `scale`, and forgets all keys.
    #[inline(always)]
    pub(super) fn load(&mut self, heads: &Heads<'_>, head: usize, tokens: Range<usize>, scale: f32) {
        let factor = scale * std::f32::consts::LOG2_E;
        self.queries.fill(0.0);
        self.factors.fill(0.0);
        self.starts.fill(0.0);
        for (lane, token) in tokens.enumerate() {
            let (numbers, rest) = self.output.split_at_mut(self.head_dim);
            let memory = [numbers, &mut rest[..self.head_dim]];
            let query = Asked { heads, head, token, factor };
            let known = Q::take(self.simd, query, memory, |k, word| {
                self.queries[k * S::TILE_COLUMNS + lane] = word;
            });
            self.factors[lane] = known.factor;
            self.starts[lane] = f32::from_bits(known.start as u32);
        }
        self.output.fill(0.0);
        self.sums.fill(0.0);
        // Not −∞: a difference of two infinities would be NaN where all scores so far are −∞.
        self.maxima.fill(f32::MIN);
    }

    /// Takes in the block of `count` keys and values from `first` on.
    pub(super) fn absorb(&mut self, keys: &Keys<'_>, first: usize, count: usize, scores: &mut [f32]) {
        let s = self.simd;
        let scores = &mut scores[..count * S::TILE_COLUMNS];
        let mut maxima = s.vectorize(
            #[inline(always)]
            || [s.splat(f32::MIN); TILE_VECTORS],
        );
        let tiles = count.div_ceil(Q::TILE_ROWS);
        for tile in 0..tiles {
            let (start, rows) = balanced(count, tiles, tile);
            let kernel = ScoreTile {
                k: &keys.k[(first + start) * keys.k_stride..],
                stride: keys.k_stride,
                scales: if Q::INTEGERS { &keys.scales[first + start..][..rows] } else { &[] },
                queries: self.queries,
                starts: self.starts,
                depth: self.depth(),
                scores: &mut scores[start * S::TILE_COLUMNS..(start + rows) * S::TILE_COLUMNS],
                maxima: &mut maxima,
                product: PhantomData::<Q>,
            };
            with_rows(s, rows, kernel);
        }
        let rescale = s.vectorize(
            #[inline(always)]
            || self.update(maxima, scores),
        );
        let tiles = self.head_dim.div_ceil(P::TILE_ROWS);
        for tile in 0..tiles {
            let (start, rows) = balanced(self.head_dim, tiles, tile);
            let kernel = ValueTile {
                v: &keys.v[first / P::NUMBERS * keys.v_stride + start..],
                stride: keys.v_stride,
                probabilities: scores,
                rescale: &rescale,
                depth: count.div_ceil(P::NUMBERS),
                output: &mut self.output[start * S::TILE_COLUMNS..(start + rows) * S::TILE_COLUMNS],
                product: PhantomData::<P>,
            };
            with_rows(s, rows, kernel);
        }
    }

    /// Scores become exponentials of their distance to the maximum, in words of [`Product::NUMBERS`] keys from the first
    /// row on. Returns what everything summed so far is multiplied by.
    #[inline(always)]
    fn update(&mut self, block_maxima: Lanes<S>, scores: &mut [f32]) -> Lanes<S> {
        let s = self.simd;
        let zero = [s.splat(0.0); TILE_VECTORS];
        let (mut factors, mut maxima, mut sums, mut rescale) = (zero, zero, zero, zero);
        for i in 0..TILE_VECTORS {
            let so_far = s.load_slice(&self.maxima[i * S::LANES..]);
            factors[i] = s.load_slice(&self.factors[i * S::LANES..]);
            maxima[i] = s.max(so_far, Self::exponent(s, block_maxima[i], factors[i]));
            rescale[i] = exp2(s, s.sub(so_far, maxima[i]));
            sums[i] = s.mul(s.load_slice(&self.sums[i * S::LANES..]), rescale[i]);
        }
        let keys = scores.len() / S::TILE_COLUMNS;
        let mut exponentials = Exponentials { s, scores, factors, maxima, sums, products: self.products };
        for word in 0..keys / P::NUMBERS {
            // SAFETY: all keys of the word are among those of `scores`.
            unsafe {
                if P::NUMBERS == 1 { exponentials.word::<1>(word) } else { exponentials.word::<2>(word) }
            }
        }
        if !keys.is_multiple_of(P::NUMBERS) {
            // SAFETY: the first key of the last word is the last of `scores`.
            unsafe { exponentials.word::<1>(keys / P::NUMBERS) };
        }
        let sums = exponentials.sums;
        for i in 0..TILE_VECTORS {
            s.store_slice(&mut self.maxima[i * S::LANES..], maxima[i]);
            s.store_slice(&mut self.sums[i * S::LANES..], sums[i]);
        }
        rescale
    }

    /// Scores, or maxima of them, as exponents of two.
    #[inline(always)]
    fn exponent(s: S, scores: S::Vector, factors: S::Vector) -> S::Vector {
        if Q::NUMBERS == 1 { scores } else { s.mul(scores, factors) }
    }

    /// Divides by the sums of the exponentials.
    pub(super) fn finish(&mut self) {
        let s = self.simd;
        s.vectorize(
            #[inline(always)]
            || {
                let mut inverse = [s.splat(1.0); TILE_VECTORS];
                for (inverse, sums) in inverse.iter_mut().zip(self.sums.chunks_exact(S::LANES)) {
                    *inverse = s.div(*inverse, s.load_slice(sums));
                }
                for row in self.output.chunks_exact_mut(S::TILE_COLUMNS) {
                    for (row, &inverse) in row.chunks_exact_mut(S::LANES).zip(&inverse) {
                        let mean = s.mul(s.load_slice(row), inverse);
                        s.store_slice(row, mean);
                    }
                }
            },
        );
    }

    /// The output of one lane. It takes the place of the queries, which are not needed any more.
    pub(super) fn output(&mut self, lane: usize) -> &[f32] {
        let output = &mut self.queries[..self.head_dim];
        for (to, row) in output.iter_mut().zip(self.output.chunks_exact(S::TILE_COLUMNS)) {
            *to = row[lane];
        }
        output
    }

    /// ln Σ eˢ over the scaled scores s of one lane.
    pub(super) fn log_sum(&self, lane: usize) -> f32 {
        let log2 = f64::from(self.maxima[lane]) + f64::from(self.sums[lane]).log2();
        (log2 * std::f64::consts::LN_2) as f32
    }
}

/// The scores of a block on their way to exponentials, in place: a word takes no more room than its keys.
struct Exponentials<'a, S: Simd, Q, P> {
    s: S,
    scores: &'a mut [f32],
    factors: Lanes<S>,
    maxima: Lanes<S>,
    sums: Lanes<S>,
    products: PhantomData<(Q, P)>,
}

impl<S: Simd, Q: Query<S>, P: Float<S>> Exponentials<'_, S, Q, P> {
    /// The word of the next `KEYS` keys.
    ///
    /// # Safety
    /// - There are as many keys.
    #[inline(always)]
    unsafe fn word<const KEYS: usize>(&mut self, word: usize) {
        let s = self.s;
        let (from, to) = (word * P::NUMBERS * S::TILE_COLUMNS, word * S::TILE_COLUMNS);
        for i in 0..TILE_VECTORS {
            let mut exponentials = [s.splat(0.0); 2];
            for (key, p) in exponentials.iter_mut().enumerate().take(KEYS) {
                // SAFETY: by this function's contract the key is one of `scores`.
                let score =
                    unsafe { s.load(self.scores.as_ptr().add(from + key * S::TILE_COLUMNS + i * S::LANES)) };
                // Not fused: the largest must become 2⁰ exactly, however large it is.
                let x = s.sub(Group::<S, Q, P>::exponent(s, score, self.factors[i]), self.maxima[i]);
                // As exact as the product that takes it.
                *p = if P::NUMBERS == 1 { exp2(s, x) } else { exp2_coarse(s, x) };
                self.sums[i] = s.add(self.sums[i], *p);
            }
            // SAFETY: a word lies before its keys, or where the first of them was.
            unsafe { s.store(self.scores.as_mut_ptr().add(to + i * S::LANES), P::words(s, exponentials)) };
        }
    }
}

/// Keys or values that are asked for ahead, where that pays. On Zen 4 with tiles of 14 × 32 it was one of three changes
/// that together took 15 % off attention; tiles of AVX2 take four to five steps in the time of one such, and on Zen 3 they
/// lose 1 %.
#[inline(always)]
fn ahead<S: Simd>(from: *const f32, step: usize) -> Option<Ahead> {
    if S::LANES == 16 { Some(Ahead { from, step }) } else { None }
}

/// Scores of some keys.
struct ScoreTile<'a, S: Simd, Q> {
    k: &'a [f32],
    stride: usize,
    /// Of integers, one for each key.
    scales: &'a [f32],
    queries: &'a [f32],
    starts: &'a [f32],
    depth: usize,
    scores: &'a mut [f32],
    maxima: &'a mut Lanes<S>,
    product: PhantomData<Q>,
}

impl<S: Simd, Q: Query<S>> RowKernel<S> for ScoreTile<'_, S, Q> {
    const TILE_ROWS: usize = Q::TILE_ROWS;

    #[inline(always)]
    fn run<const ROWS: usize>(self, s: S) {
        let mut starts = [s.splat(0.0); TILE_VECTORS];
        if Q::INTEGERS {
            for (i, starts) in starts.iter_mut().enumerate() {
                *starts = s.load_slice(&self.starts[i * S::LANES..]);
            }
        }
        let mut sums: Sums<S, ROWS> = [starts; ROWS];
        let operands = Operands {
            a: self.k,
            a_row: self.stride,
            a_step: 1,
            b: self.queries,
            // The next keys, where they follow these; a step for each word of a key is enough, as a line has more words
            // than a tile has rows.
            ahead: ahead::<S>(self.k.as_ptr().wrapping_add(ROWS * self.stride), LINE),
            depth: self.depth,
        };
        accumulate::<S, Q, ROWS>(s, operands, &mut sums);
        if Q::INTEGERS {
            for (sums, &scale) in sums.iter_mut().zip(self.scales) {
                for sum in sums {
                    *sum = s.mul(s.integers_to_floats(*sum), s.splat(scale));
                }
            }
        }
        let mut maxima = *self.maxima;
        for (row, sums) in self.scores.chunks_exact_mut(S::TILE_COLUMNS).zip(sums) {
            for i in 0..TILE_VECTORS {
                maxima[i] = s.max(maxima[i], sums[i]);
                s.store_slice(&mut row[i * S::LANES..], sums[i]);
            }
        }
        *self.maxima = maxima;
    }
}

/// Weighted sums of some columns of the values.
struct ValueTile<'a, S: Simd, P> {
    v: &'a [f32],
    stride: usize,
    probabilities: &'a [f32],
    /// What the output so far is multiplied by.
    rescale: &'a Lanes<S>,
    depth: usize,
    output: &'a mut [f32],
    product: PhantomData<P>,
}

impl<S: Simd, P: Float<S>> RowKernel<S> for ValueTile<'_, S, P> {
    const TILE_ROWS: usize = P::TILE_ROWS;

    #[inline(always)]
    fn run<const ROWS: usize>(self, s: S) {
        let mut sums: Sums<S, ROWS> = load(s, self.output);
        for sums in &mut sums {
            for (sum, &rescale) in sums.iter_mut().zip(self.rescale) {
                *sum = s.mul(*sum, rescale);
            }
        }
        let operands = Operands {
            a: self.v,
            a_row: 1,
            a_step: self.stride,
            b: self.probabilities,
            // The next columns.
            ahead: ahead::<S>(self.v.as_ptr().wrapping_add(LINE), self.stride),
            depth: self.depth,
        };
        accumulate::<S, P, ROWS>(s, operands, &mut sums);
        store(s, &sums, self.output);
    }
}
