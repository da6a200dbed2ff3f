//! A group of queries, one on each lane, and what it has seen of the keys so far.

use super::Lanes;
use crate::{
    gemm::{F32, Operands, RowKernel, Sums, accumulate, balanced, load, store, with_rows},
    math::exp2,
    simd::{Simd, TILE_VECTORS},
};

/// Keys of a block. The scores of 16 queries take 12 KiB, of 32 queries 24 KiB: they stay in the first-level
/// cache of 32 KiB, and the sums over values are read and written once in 192 steps.
pub(super) const KEY_BLOCK: usize = 192;

/// The memory of a group: Qᵀ `(d, lanes)`, Oᵀ `(d, lanes)`, the maxima and the sums of the exponentials.
pub(super) struct Group<'a, S> {
    simd: S,
    head_dim: usize,
    queries: &'a mut [f32],
    output: &'a mut [f32],
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<'a, S: Simd> Group<'a, S> {
    /// Numbers that the memory of a group takes.
    pub(super) fn words(head_dim: usize) -> usize {
        2 * (head_dim + 1) * S::TILE_COLUMNS
    }

    /// A group in memory of [`Group::words`] numbers.
    pub(super) fn new(simd: S, words: &'a mut [f32], head_dim: usize) -> Self {
        let (queries, rest) = words.split_at_mut(head_dim * S::TILE_COLUMNS);
        let (output, rest) = rest.split_at_mut(head_dim * S::TILE_COLUMNS);
        let (maxima, sums) = rest.split_at_mut(S::TILE_COLUMNS);
        Self { simd, head_dim, queries, output, maxima, sums }
    }

    /// Takes `count` queries, `stride` numbers apart, and forgets all keys.
    pub(super) fn load(&mut self, q: &[f32], stride: usize, count: usize, scale: f32) {
        // Scores in powers of two save a multiplication for each; any sign of the scale will do.
        let scale = scale * std::f32::consts::LOG2_E;
        self.queries.fill(0.0);
        for lane in 0..count {
            let query = &q[lane * stride..][..self.head_dim];
            for (row, &x) in self.queries.chunks_exact_mut(S::TILE_COLUMNS).zip(query) {
                row[lane] = x * scale;
            }
        }
        self.output.fill(0.0);
        self.sums.fill(0.0);
        // Not −∞: a difference of two infinities would be NaN where all scores so far are −∞.
        self.maxima.fill(f32::MIN);
    }

    /// Takes a block of keys and values in.
    pub(super) fn absorb(&mut self, k: &[f32], v: &[f32], stride: usize, keys: usize, scores: &mut [f32]) {
        let s = self.simd;
        let scores = &mut scores[..keys * S::TILE_COLUMNS];
        let mut maxima = [s.splat(f32::MIN); TILE_VECTORS];
        let tiles = keys.div_ceil(S::TILE_ROWS);
        for tile in 0..tiles {
            let (first, rows) = balanced(keys, tiles, tile);
            let kernel = ScoreTile {
                k: &k[first * stride..],
                stride,
                queries: self.queries,
                head_dim: self.head_dim,
                scores: &mut scores[first * S::TILE_COLUMNS..(first + rows) * S::TILE_COLUMNS],
                maxima: &mut maxima,
            };
            with_rows(s, rows, kernel);
        }
        s.vectorize(
            #[inline(always)]
            || self.update(maxima, scores),
        );
        let tiles = self.head_dim.div_ceil(S::TILE_ROWS);
        for tile in 0..tiles {
            let (first, rows) = balanced(self.head_dim, tiles, tile);
            let kernel = ValueTile {
                v: &v[first..],
                stride,
                probabilities: scores,
                keys,
                output: &mut self.output[first * S::TILE_COLUMNS..(first + rows) * S::TILE_COLUMNS],
            };
            with_rows(s, rows, kernel);
        }
    }

    /// Scores become exponentials of their distance to the maximum; what was summed so far is rescaled.
    #[inline(always)]
    fn update(&mut self, block_maxima: Lanes<S>, scores: &mut [f32]) {
        let s = self.simd;
        let (mut maxima, mut rescale) = (block_maxima, block_maxima);
        let mut sums = [s.splat(0.0); TILE_VECTORS];
        for i in 0..TILE_VECTORS {
            let so_far = s.load_slice(&self.maxima[i * S::LANES..]);
            maxima[i] = s.max(so_far, block_maxima[i]);
            rescale[i] = exp2(s, s.sub(so_far, maxima[i]));
            sums[i] = s.mul(s.load_slice(&self.sums[i * S::LANES..]), rescale[i]);
        }
        for row in scores.chunks_exact_mut(S::TILE_COLUMNS) {
            for i in 0..TILE_VECTORS {
                let score = s.load_slice(&row[i * S::LANES..]);
                let p = exp2(s, s.sub(score, maxima[i]));
                sums[i] = s.add(sums[i], p);
                s.store_slice(&mut row[i * S::LANES..], p);
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

    /// The output of one lane.
    pub(super) fn store(&self, lane: usize, to: &mut [f32]) {
        for (to, row) in to.iter_mut().zip(self.output.chunks_exact(S::TILE_COLUMNS)) {
            *to = row[lane];
        }
    }

    /// ln Σ eˢ over the scaled scores s of one lane.
    pub(super) fn log_sum(&self, lane: usize) -> f32 {
        let log2 = f64::from(self.maxima[lane]) + f64::from(self.sums[lane]).log2();
        (log2 * std::f64::consts::LN_2) as f32
    }
}

/// Scores of some keys.
struct ScoreTile<'a, S: Simd> {
    k: &'a [f32],
    stride: usize,
    queries: &'a [f32],
    head_dim: usize,
    scores: &'a mut [f32],
    maxima: &'a mut Lanes<S>,
}

impl<S: Simd> RowKernel<S> for ScoreTile<'_, S> {
    #[inline(always)]
    fn run<const ROWS: usize>(self, s: S) {
        let mut sums: Sums<S, ROWS> = [[s.splat(0.0); TILE_VECTORS]; ROWS];
        let operands = Operands {
            a: self.k,
            a_row: self.stride,
            a_step: 1,
            b: self.queries,
            b_is_far: false,
            depth: self.head_dim,
        };
        accumulate::<S, F32, ROWS>(s, operands, &mut sums);
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
struct ValueTile<'a> {
    v: &'a [f32],
    stride: usize,
    probabilities: &'a [f32],
    keys: usize,
    output: &'a mut [f32],
}

impl<S: Simd> RowKernel<S> for ValueTile<'_> {
    #[inline(always)]
    fn run<const ROWS: usize>(self, s: S) {
        let mut sums: Sums<S, ROWS> = load(s, self.output);
        let operands = Operands {
            a: self.v,
            a_row: 1,
            a_step: self.stride,
            b: self.probabilities,
            b_is_far: false,
            depth: self.keys,
        };
        accumulate::<S, F32, ROWS>(s, operands, &mut sums);
        store(s, &sums, self.output);
    }
}
