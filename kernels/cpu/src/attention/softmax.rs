//! A group of queries, one on each lane, and what it has seen of the keys so far.

use std::marker::PhantomData;

use super::{Lanes, keys::Keys};
use crate::{
    gemm::{Float, Operands, RowKernel, Sums, accumulate, balanced, load, store, with_rows},
    math::{exp2, exp2_coarse},
    simd::{Simd, TILE_VECTORS},
};

/// Keys of a block. The scores of 16 queries take 12 KiB, of 32 queries 24 KiB: they stay in the first-level
/// cache of 32 KiB, and the sums over values are read and written once in 192 steps. Even, so that no word of two keys
/// falls into two blocks.
pub(super) const KEY_BLOCK: usize = 192;

/// The memory of a group: words of Qᵀ `(d, lanes)`, Oᵀ `(d, lanes)`, the maxima and the sums of the exponentials.
pub(super) struct Group<'a, S, P> {
    simd: S,
    head_dim: usize,
    /// What queries are multiplied by.
    query_factor: f32,
    /// What scores are multiplied by, to be exponents of two. Not negative, so that a maximum stays one.
    score_factor: f32,
    queries: &'a mut [f32],
    output: &'a mut [f32],
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
    product: PhantomData<P>,
}

impl<'a, S: Simd, P: Float<S>> Group<'a, S, P> {
    /// Numbers that the memory of a group takes.
    pub(super) fn words(head_dim: usize) -> usize {
        2 * (head_dim + 1) * S::TILE_COLUMNS
    }

    /// A group in memory of [`Group::words`] numbers; scores are multiplied by `scale`.
    pub(super) fn new(simd: S, words: &'a mut [f32], head_dim: usize, scale: f32) -> Self {
        let (queries, rest) = words.split_at_mut(head_dim * S::TILE_COLUMNS);
        let (output, rest) = rest.split_at_mut(head_dim * S::TILE_COLUMNS);
        let (maxima, sums) = rest.split_at_mut(S::TILE_COLUMNS);
        let factor = scale * std::f32::consts::LOG2_E;
        // A query of f32 takes the whole factor, which saves a multiplication for each score. One of less precision
        // would be rounded a second time and takes the sign only.
        let (query_factor, score_factor) =
            if P::NUMBERS == 1 { (factor, 1.0) } else { (scale.signum(), factor.abs()) };
        let product = PhantomData;
        Self { simd, head_dim, query_factor, score_factor, queries, output, maxima, sums, product }
    }

    /// Words along a head.
    fn depth(&self) -> usize {
        self.head_dim.div_ceil(P::NUMBERS)
    }

    /// Takes `count` queries, `stride` words apart, and forgets all keys.
    pub(super) fn load(&mut self, q: &[f32], stride: usize, count: usize) {
        self.queries.fill(0.0);
        for lane in 0..count {
            let query = &q[lane * stride..][..self.depth()];
            for (row, &word) in self.queries.chunks_exact_mut(S::TILE_COLUMNS).zip(query) {
                row[lane] = P::scale(word, self.query_factor);
            }
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
        let mut maxima = [s.splat(f32::MIN); TILE_VECTORS];
        let tiles = count.div_ceil(P::TILE_ROWS);
        for tile in 0..tiles {
            let (start, rows) = balanced(count, tiles, tile);
            let kernel = ScoreTile {
                k: &keys.k[(first + start) * keys.k_stride..],
                stride: keys.k_stride,
                queries: self.queries,
                depth: self.depth(),
                scores: &mut scores[start * S::TILE_COLUMNS..(start + rows) * S::TILE_COLUMNS],
                maxima: &mut maxima,
                product: PhantomData::<P>,
            };
            with_rows(s, rows, kernel);
        }
        s.vectorize(
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
                depth: count.div_ceil(P::NUMBERS),
                output: &mut self.output[start * S::TILE_COLUMNS..(start + rows) * S::TILE_COLUMNS],
                product: PhantomData::<P>,
            };
            with_rows(s, rows, kernel);
        }
    }

    /// Scores, or maxima of them, as exponents of two.
    #[inline(always)]
    fn scaled(&self, scores: S::Vector) -> S::Vector {
        let s = self.simd;
        if P::NUMBERS == 1 { scores } else { s.mul(scores, s.splat(self.score_factor)) }
    }

    /// As exact as the product that takes it.
    #[inline(always)]
    fn exponential(s: S, x: S::Vector) -> S::Vector {
        if P::NUMBERS == 1 { exp2(s, x) } else { exp2_coarse(s, x) }
    }

    /// Scores become exponentials of their distance to the maximum, in words of [`Product::NUMBERS`] keys from the first
    /// row on; what was summed so far is rescaled.
    #[inline(always)]
    fn update(&mut self, block_maxima: Lanes<S>, scores: &mut [f32]) {
        let s = self.simd;
        let (mut maxima, mut rescale) = (block_maxima, block_maxima);
        let mut sums = [s.splat(0.0); TILE_VECTORS];
        for i in 0..TILE_VECTORS {
            let so_far = s.load_slice(&self.maxima[i * S::LANES..]);
            maxima[i] = s.max(so_far, self.scaled(block_maxima[i]));
            rescale[i] = exp2(s, s.sub(so_far, maxima[i]));
            sums[i] = s.mul(s.load_slice(&self.sums[i * S::LANES..]), rescale[i]);
        }
        let keys = scores.len() / S::TILE_COLUMNS;
        for word in 0..keys.div_ceil(P::NUMBERS) {
            for i in 0..TILE_VECTORS {
                let mut p = [s.splat(0.0); 2];
                for (n, p) in p.iter_mut().enumerate().take(P::NUMBERS) {
                    let key = word * P::NUMBERS + n;
                    if key < keys {
                        let score = s.load_slice(&scores[key * S::TILE_COLUMNS + i * S::LANES..]);
                        // Not fused: the largest must become 2⁰ exactly, however large it is.
                        *p = Self::exponential(s, s.sub(self.scaled(score), maxima[i]));
                        sums[i] = s.add(sums[i], *p);
                    }
                }
                s.store_slice(&mut scores[word * S::TILE_COLUMNS + i * S::LANES..], P::words(s, p));
            }
        }
        for row in self.output.chunks_exact_mut(S::TILE_COLUMNS) {
            for (row, &rescale) in row.chunks_exact_mut(S::LANES).zip(&rescale) {
                let rescaled = s.mul(s.load_slice(row), rescale);
                s.store_slice(row, rescaled);
            }
        }
        for i in 0..TILE_VECTORS {
            s.store_slice(&mut self.maxima[i * S::LANES..], maxima[i]);
            s.store_slice(&mut self.sums[i * S::LANES..], sums[i]);
        }
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

/// Scores of some keys.
struct ScoreTile<'a, S: Simd, P> {
    k: &'a [f32],
    stride: usize,
    queries: &'a [f32],
    depth: usize,
    scores: &'a mut [f32],
    maxima: &'a mut Lanes<S>,
    product: PhantomData<P>,
}

impl<S: Simd, P: Float<S>> RowKernel<S> for ScoreTile<'_, S, P> {
    #[inline(always)]
    fn run<const ROWS: usize>(self, s: S) {
        let mut sums: Sums<S, ROWS> = [[s.splat(0.0); TILE_VECTORS]; ROWS];
        let operands = Operands {
            a: self.k,
            a_row: self.stride,
            a_step: 1,
            b: self.queries,
            b_is_far: false,
            depth: self.depth,
        };
        accumulate::<S, P, ROWS>(s, operands, &mut sums);
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
struct ValueTile<'a, P> {
    v: &'a [f32],
    stride: usize,
    probabilities: &'a [f32],
    depth: usize,
    output: &'a mut [f32],
    product: PhantomData<P>,
}

impl<S: Simd, P: Float<S>> RowKernel<S> for ValueTile<'_, P> {
    #[inline(always)]
    fn run<const ROWS: usize>(self, s: S) {
        let mut sums: Sums<S, ROWS> = load(s, self.output);
        let operands = Operands {
            a: self.v,
            a_row: 1,
            a_step: self.stride,
            b: self.probabilities,
            b_is_far: false,
            depth: self.depth,
        };
        accumulate::<S, P, ROWS>(s, operands, &mut sums);
        store(s, &sums, self.output);
    }
}
