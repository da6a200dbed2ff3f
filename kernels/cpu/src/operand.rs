//! Rows that only linear layers read: f32, or bf16 in pairs.
//!
//! A layer in bf16 rounds its input to bf16 anyway. Where the op before it does so, half as much goes through memory and
//! the layer reads the rows as they lie. A row starts at a word; if it has an odd width, the upper half of its last word
//! is zero.

use std::ops::Range;

use kernels_backend::{DType, Result, RowDims, RowsMut, Write};

use crate::{
    gemm::bf16_code,
    simd::Simd,
    storage::{MatrixMut, for_each_row, memory_row, row_stride, words_in_rows_mut},
    threads::{Parts, Threads},
};

/// Rows to write.
pub(crate) enum OperandMut<'a> {
    Numbers(MatrixMut<'a>),
    Pairs(PairsMut<'a>),
}

/// Rows of bf16 to write.
pub(crate) struct PairsMut<'a> {
    halves: Parts<'a, u16>,
    /// Halves of words between two rows.
    stride: usize,
    dims: RowDims,
}

impl<'a> OperandMut<'a> {
    /// The memory of `rows`.
    pub(crate) fn new(
        op: &'static str,
        operand: &'static str,
        rows: RowsMut<'a>,
        name: &str,
    ) -> Result<Self> {
        if rows.tensor.dtype() != DType::Bf16 {
            return Ok(Self::Numbers(MatrixMut::new(op, operand, rows, name)?));
        }
        let dims = rows.dims;
        let words = words_in_rows_mut(op, operand, rows.tensor, DType::Bf16, name)?;
        let stride = 2 * row_stride(dims.width, DType::Bf16);
        Ok(Self::Pairs(PairsMut { halves: Parts::new(bytemuck::cast_slice_mut(words)), stride, dims }))
    }

    /// `[old +] values` to some columns of the `i`-th row seen.
    ///
    /// # Safety
    /// - Nobody else reads or writes these columns of this row meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn put<S: Simd>(
        &self,
        s: S,
        i: usize,
        columns: Range<usize>,
        values: &[f32],
        write: Write,
    ) {
        match self {
            // SAFETY: by this function's contract.
            Self::Numbers(matrix) => put(s, unsafe { matrix.part(i, columns) }, values, write),
            // SAFETY: by this function's contract.
            Self::Pairs(pairs) => round(values, unsafe { pairs.part(i, columns) }, write),
        }
    }

    /// Calls `task(i, row)` for every row seen, on all threads.
    pub(crate) fn for_each_row(&mut self, threads: &Threads, task: impl Fn(usize, OperandRow<'_>) + Sync) {
        match self {
            Self::Numbers(matrix) => matrix.for_each_row(threads, |i, row| task(i, OperandRow::Numbers(row))),
            Self::Pairs(pairs) => {
                let PairsMut { dims, .. } = *pairs;
                for_each_row(dims, threads, |i| {
                    // SAFETY: each row belongs to one task, and `self` is borrowed exclusively.
                    task(i, OperandRow::Pairs(unsafe { pairs.part(i, 0..dims.width) }, dims.width));
                });
            }
        }
    }
}

impl PairsMut<'_> {
    /// Some columns of the `i`-th row seen; with the last of them, what fills up its word.
    ///
    /// # Safety
    /// - No two parts that are alive at the same time overlap.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the parts do not overlap, by the contract")]
    unsafe fn part(&self, i: usize, columns: Range<usize>) -> &mut [u16] {
        let start = memory_row(self.dims, i) * self.stride;
        let end = if columns.end == self.dims.width { columns.end.next_multiple_of(2) } else { columns.end };
        // SAFETY: rows do not overlap, and within a row the caller vouches.
        unsafe { self.halves.part(start + columns.start..start + end) }
    }
}

/// One row to write.
pub(crate) enum OperandRow<'a> {
    Numbers(&'a mut [f32]),
    /// With the width, as there may be one more half than numbers.
    Pairs(&'a mut [u16], usize),
}

impl OperandRow<'_> {
    /// How many numbers it takes.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Numbers(row) => row.len(),
            Self::Pairs(_, width) => *width,
        }
    }

    /// Calls `compute(columns, values)` from the first column to the last, which writes all of `values`.
    #[inline(always)]
    pub(crate) fn fill(self, mut compute: impl FnMut(Range<usize>, &mut [f32])) {
        /// Numbers that are computed at a time, in the first-level cache, before they are rounded; even, as a word
        /// holds two.
        const BLOCK: usize = 512;
        match self {
            Self::Numbers(row) => compute(0..row.len(), row),
            Self::Pairs(halves, width) => {
                let mut block = [0.0; BLOCK];
                for (k, halves) in halves.chunks_mut(BLOCK).enumerate() {
                    let columns = k * BLOCK..width.min((k + 1) * BLOCK);
                    let values = &mut block[..columns.len()];
                    compute(columns, values);
                    round(values, halves, Write::Replace);
                }
            }
        }
    }
}

/// `to = [to +] values` in bf16. There may be one more place than values, which becomes zero.
#[inline(always)]
pub(crate) fn round(values: &[f32], to: &mut [u16], write: Write) {
    let (to, rest) = to.split_at_mut(values.len());
    match write {
        Write::Replace => to.iter_mut().zip(values).for_each(|(to, &x)| *to = bf16_code(x) as u16),
        Write::Accumulate => to.iter_mut().zip(values).for_each(|(to, &x)| {
            *to = bf16_code(half::bf16::from_bits(*to).to_f32() + x) as u16;
        }),
    }
    rest.fill(0);
}

/// The inverse of [`round`], for the first numbers of a row.
#[inline(always)]
pub(crate) fn widen(halves: &[u16], to: &mut [f32]) {
    to.iter_mut().zip(halves).for_each(|(to, &half)| *to = half::bf16::from_bits(half).to_f32());
}

/// `to = [to +] values`, a vector at a time: a call of `memcpy` would cost as much as it copies.
#[inline(always)]
pub(crate) fn put<S: Simd>(s: S, to: &mut [f32], values: &[f32], write: Write) {
    assert!(to.len() == values.len(), "as many values as places");
    if to.len() == S::TILE_COLUMNS {
        // The usual case, of a length that the compiler knows.
        put_vectors(s, &mut to[..S::TILE_COLUMNS], &values[..S::TILE_COLUMNS], write);
        return;
    }
    let whole = to.len() / S::LANES * S::LANES;
    let (to, rest) = to.split_at_mut(whole);
    let (values, last) = values.split_at(whole);
    put_vectors(s, to, values, write);
    for (to, &value) in rest.iter_mut().zip(last) {
        *to = if write == Write::Accumulate { *to + value } else { value };
    }
}

/// [`put`] for whole vectors.
#[inline(always)]
fn put_vectors<S: Simd>(s: S, to: &mut [f32], values: &[f32], write: Write) {
    for (to, values) in to.chunks_exact_mut(S::LANES).zip(values.chunks_exact(S::LANES)) {
        let v = s.load_slice(values);
        let v = if write == Write::Accumulate { s.add(s.load_slice(to), v) } else { v };
        s.store_slice(to, v);
    }
}
