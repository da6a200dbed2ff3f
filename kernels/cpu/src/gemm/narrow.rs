//! Rows of x brought to the precision of the weights.
//!
//! A weight is an integer times the scale of its output feature; a number of x is an integer from 0 to 255 times the
//! scale of its row, plus the least number of the row:
//!
//! ```text
//! x ≈ least + s·q      w ≈ t·p      Σ x·w ≈ (s·t)·Σ q·p + least·(t·Σ p)
//! ```
//!
//! so that the sum over integers is exact and the whole range of the bytes is used, also by the outputs of a GELU, which
//! are hardly negative.

use kernels_backend::{DType, Result, RowDims, WeightFormat};

use super::product::{Int8, Product, bf16_code, nearest_code};
use crate::{
    layer_norm::sum,
    memory::{Buffer, grow},
    simd::{MAX_TILE_COLUMNS, Simd},
    storage::{Matrix, row_stride},
    stream::Context,
    threads::Parts,
};

/// How the numbers of one row of x were brought to bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowScale {
    /// What a step of one stands for.
    pub(crate) scale: f32,
    /// What zero stands for.
    pub(crate) least: f32,
}

/// Memory for the words of x; grown when a larger x comes, then kept.
#[derive(Default)]
pub(crate) struct Scratch {
    words: Buffer,
    rows: Vec<RowScale>,
}

impl Scratch {
    /// The rows of `x` in `depth` words each, in the precision `format`, and for int8 their scales.
    pub(crate) fn narrow<S: Simd>(
        &mut self,
        context: &Context<'_, S>,
        x: &Matrix<'_>,
        format: WeightFormat,
        depth: usize,
    ) -> Result<(Matrix<'_>, &[RowScale])> {
        let total = x.dims.total();
        let dims = RowDims { batch: 1, rows: total, width: depth, rows_per_sample: total, offset: 0 };
        let stride = row_stride(depth, DType::F32);
        self.words.grow(context.name, [total, stride])?;
        grow(&mut self.rows, total);
        let (s, rows) = (context.simd, Parts::new(&mut self.rows[..total]));
        let words = Parts::new(&mut self.words[..total * stride]);
        context.threads.for_each(total.div_ceil(ROWS), |block| {
            for i in block * ROWS..total.min((block + 1) * ROWS) {
                // SAFETY: each row belongs to one block.
                let (words, scale) =
                    unsafe { (words.part(i * stride..i * stride + depth), rows.part(i..i + 1)) };
                s.vectorize(
                    #[inline(always)]
                    || match format {
                        WeightFormat::Int8 => scale[0] = bytes(s, x.row(i), words),
                        _ => halves(x.row(i), words),
                    },
                );
            }
        });
        Ok((Matrix { words: &self.words, stride, dims }, &self.rows[..total]))
    }
}

/// Rows of a task.
const ROWS: usize = 16;

/// Pairs of bf16.
#[inline(always)]
fn halves(x: &[f32], words: &mut [f32]) {
    fill_words::<u16>(x, words, |x| bf16_code(x) as u16);
}

/// Bytes, in words as the instruction set multiplies them.
#[inline(always)]
fn bytes<S: Simd>(s: S, x: &[f32], words: &mut [f32]) -> RowScale {
    let (row, inverse) = row_scale(s, x);
    let code = |x: f32| nearest_code((x - row.least) * inverse);
    if <Int8 as Product<S>>::NUMBERS == 4 {
        // The upper bits of the code are not those of the integer.
        fill_words::<u8>(x, words, |x| code(x) as u8);
    } else {
        fill_words::<u16>(x, words, |x| u16::from(code(x) as u8));
    }
    row
}

/// Fills words with what becomes of each number, in order; the end of a last word that is not full is zero.
#[inline(always)]
pub(crate) fn fill_words<T: bytemuck::Pod>(x: &[f32], words: &mut [f32], code: impl Fn(f32) -> T) {
    let (codes, rest) = bytemuck::cast_slice_mut::<f32, T>(words).split_at_mut(x.len());
    for (to, &x) in codes.iter_mut().zip(x) {
        *to = code(x);
    }
    rest.fill(T::zeroed());
}

/// The scale of a row, and what a number is multiplied by. A row with NaN or an infinity becomes NaN as a whole.
#[inline(always)]
fn row_scale<S: Simd>(s: S, x: &[f32]) -> (RowScale, f32) {
    let most = largest(
        s,
        x,
        #[inline(always)]
        |x| x,
    );
    let least = -largest(
        s,
        x,
        #[inline(always)]
        |x| s.sub(s.splat(0.0), x),
    );
    let spread = most - least + nothing(s, x);
    if spread == 0.0 || x.is_empty() {
        return (RowScale { scale: 0.0, least: x.first().copied().unwrap_or(0.0) }, 0.0);
    }
    (RowScale { scale: spread / 255.0, least }, 255.0 / spread)
}

/// Zero for finite numbers, else NaN, which maxima may pass over.
#[inline(always)]
fn nothing<S: Simd>(s: S, x: &[f32]) -> f32 {
    sum(
        s,
        x,
        0.0,
        #[inline(always)]
        |x| s.sub(x, x),
    )
}

/// The largest f(xᵢ); of none, −∞.
#[inline(always)]
fn largest<S: Simd>(s: S, x: &[f32], f: impl Fn(S::Vector) -> S::Vector) -> f32 {
    let mut largest = s.splat(f32::NEG_INFINITY);
    let mut vectors = x.chunks_exact(S::LANES);
    for vector in &mut vectors {
        largest = s.max(largest, f(s.load_slice(vector)));
    }
    if let [first, ..] = *vectors.remainder() {
        largest = s.max(largest, f(s.load_tail(vectors.remainder(), first)));
    }
    let mut lanes = [f32::NEG_INFINITY; MAX_TILE_COLUMNS];
    s.store_slice(&mut lanes, largest);
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// The scale of a vector of signed integers, such as the weights of an output feature, and what a number is multiplied
/// by; both NaN for one with NaN or an infinity.
#[inline(always)]
pub(crate) fn vector_scale<S: Simd>(s: S, x: &[f32]) -> (f32, f32) {
    let most = largest(
        s,
        x,
        #[inline(always)]
        |x| s.max(x, s.sub(s.splat(0.0), x)),
    );
    let largest = most.max(0.0) + nothing(s, x);
    if largest == 0.0 { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) }
}

/// The integer that a weight becomes, given what it is multiplied by.
#[inline(always)]
pub(crate) fn weight_code(weight: f32, inverse: f32) -> i8 {
    // The upper bits of the code are not those of the integer.
    nearest_code(weight * inverse) as i8
}
