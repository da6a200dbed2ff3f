//! Tensors in host memory: where each element lies.

use std::ops::Range;

use kernels_backend::{DType, Error, Layout, Result, RowDims, Rows, RowsMut, Shape, Storage, Tensor};

use crate::{
    memory::Buffer,
    threads::{Parts, Threads},
};

/// Words in a cache line.
pub(crate) const LINE: usize = 16;

/// Rows from this width on are padded. A tile reads several rows at the same column; where rows lie a multiple
/// of 4 KiB apart, all of them fall into the same few places of the first-level cache (measured: 60 instead of
/// 100 GF/s for rows of 3072 numbers). Shorter rows of a tile fit there together.
const PADDED_WIDTH: usize = 512;

/// The memory of a tensor; 32-bit words, each an `f32`, an `i32`, two neighbouring `bf16` or four `u8`, the earlier one
/// lower. Rows of floats may lie apart; other types have no gaps.
pub(crate) struct CpuStorage(pub(crate) Buffer);

impl Storage for CpuStorage {}

/// The words of a row of so many numbers.
pub(crate) fn row_words(width: usize, dtype: DType) -> usize {
    if dtype == DType::Bf16 { width.div_ceil(2) } else { width }
}

/// The words from one row of so many numbers to the next: an odd number of cache lines, which visits all places of a
/// cache.
pub(crate) fn row_stride(width: usize, dtype: DType) -> usize {
    let words = row_words(width, dtype);
    if words < PADDED_WIDTH || dtype == DType::I32 { words } else { (words.div_ceil(LINE) | 1) * LINE }
}

/// Words that hold any tensor of as many elements, so that a tensor can be resized to whatever has no more
/// elements: padding adds less than two lines to rows of at least [`PADDED_WIDTH`], a sixteenth. What a shape or its type
/// does not use is never touched, so costs address space only.
pub(crate) fn capacity(shape: &Shape) -> Option<usize> {
    let elements = shape.checked_elements()?;
    elements.checked_add(elements / (PADDED_WIDTH / (2 * LINE)))?.checked_add(2 * LINE)
}

/// A shape as rows: their number, their width and the distance between two, both in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowShape {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) stride: usize,
}

impl RowShape {
    /// Up to three dimensions, the last is a row; pixel values and other large tensors are one long row.
    pub(crate) fn of(tensor: &Tensor) -> Self {
        let (rows, width) = match **tensor.shape() {
            [a, b, width] => (a * b, width),
            [rows, width] => (rows, width),
            _ => (1, tensor.shape().elements()),
        };
        let dtype = tensor.dtype();
        Self { rows, width: row_words(width, dtype), stride: row_stride(width, dtype) }
    }

    /// Words from the first element to the last.
    pub(crate) fn words(&self) -> usize {
        if self.rows == 0 || self.width == 0 { 0 } else { (self.rows - 1) * self.stride + self.width }
    }

    /// Where a row lies.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> Range<usize> {
        i * self.stride..i * self.stride + self.width
    }
}

/// Rows to read.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) words: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) dims: RowDims,
}

impl<'a> Matrix<'a> {
    /// The memory of `rows`, of type `f32` and laid out in rows.
    pub(crate) fn new(op: &'static str, operand: &'static str, rows: &Rows<'a>, name: &str) -> Result<Self> {
        in_rows(op, operand, rows.tensor)?;
        let words = floats(op, operand, rows.tensor, name)?;
        Ok(Self { words, stride: row_stride(rows.dims.width, DType::F32), dims: rows.dims })
    }

    /// As [`Matrix::new`] of type `bf16`; the width counts words of two numbers.
    pub(crate) fn of_pairs(
        op: &'static str,
        operand: &'static str,
        rows: &Rows<'a>,
        name: &str,
    ) -> Result<Self> {
        in_rows(op, operand, rows.tensor)?;
        kernels_backend::check::dtype(op, operand, rows.tensor, DType::Bf16)?;
        let words = &rows.tensor.storage::<CpuStorage>(op, name)?.0;
        let width = row_words(rows.dims.width, DType::Bf16);
        let stride = row_stride(rows.dims.width, DType::Bf16);
        Ok(Self { words, stride, dims: RowDims { width, ..rows.dims } })
    }

    /// The `i`-th row seen, over all samples.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        let start = memory_row(self.dims, i) * self.stride;
        &self.words[start..start + self.dims.width]
    }

    /// From the `i`-th row seen to the end of the memory.
    #[inline(always)]
    pub(crate) fn tail(&self, i: usize) -> &'a [f32] {
        &self.words[memory_row(self.dims, i) * self.stride..]
    }
}

/// Rows to write.
pub(crate) struct MatrixMut<'a> {
    parts: Parts<'a, f32>,
    stride: usize,
    pub(crate) dims: RowDims,
}

/// Numbers for which a task is worth the few microseconds it takes to wake a thread.
const TASK: usize = 16 << 10;

impl<'a> MatrixMut<'a> {
    /// The memory of `rows`, of type `f32` and laid out in rows.
    pub(crate) fn new(
        op: &'static str,
        operand: &'static str,
        rows: RowsMut<'a>,
        name: &str,
    ) -> Result<Self> {
        let dims = rows.dims;
        let words = words_in_rows_mut(op, operand, rows.tensor, DType::F32, name)?;
        Ok(Self { parts: Parts::new(words), stride: row_stride(dims.width, DType::F32), dims })
    }

    /// The `i`-th row seen, over all samples.
    ///
    /// # Safety
    /// - No two parts that are alive at the same time overlap.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the parts do not overlap, by the contract")]
    pub(crate) unsafe fn part(&self, i: usize, columns: Range<usize>) -> &mut [f32] {
        let start = memory_row(self.dims, i) * self.stride;
        // SAFETY: rows do not overlap, and within a row the caller vouches.
        unsafe { self.parts.part(start + columns.start..start + columns.end) }
    }

    /// Calls `task(i, row)` for every row seen, on all threads.
    pub(crate) fn for_each_row(&mut self, threads: &Threads, task: impl Fn(usize, &mut [f32]) + Sync) {
        for_each_row(self.dims, threads, |i| {
            // SAFETY: each row belongs to one task, and `self` is borrowed exclusively.
            task(i, unsafe { self.part(i, 0..self.dims.width) });
        });
    }
}

/// Calls `task(i)` for every row seen, on all threads.
pub(crate) fn for_each_row(dims: RowDims, threads: &Threads, task: impl Fn(usize) + Sync) {
    let total = dims.total();
    let block = TASK.div_ceil(dims.width.max(1));
    threads.for_each(total.div_ceil(block), |b| (b * block..total.min((b + 1) * block)).for_each(&task));
}

/// The row of memory that the `i`-th row seen is.
#[inline(always)]
pub(crate) fn memory_row(dims: RowDims, i: usize) -> usize {
    if dims.is_contiguous() { dims.offset + i } else { dims.memory_row(i / dims.rows, i % dims.rows) }
}

/// The `f32` words of a tensor.
pub(crate) fn floats<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a Tensor,
    name: &str,
) -> Result<&'a [f32]> {
    kernels_backend::check::dtype(op, operand, tensor, DType::F32)?;
    Ok(&tensor.storage::<CpuStorage>(op, name)?.0)
}

/// The `f32` words of a tensor, to write.
pub(crate) fn floats_mut<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a mut Tensor,
    name: &str,
) -> Result<&'a mut [f32]> {
    kernels_backend::check::dtype(op, operand, tensor, DType::F32)?;
    Ok(&mut tensor.storage_mut::<CpuStorage>(op, name)?.0)
}

/// The words of a tensor of type `dtype`, laid out in rows, to write.
pub(crate) fn words_in_rows_mut<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a mut Tensor,
    dtype: DType,
    name: &str,
) -> Result<&'a mut [f32]> {
    in_rows(op, operand, tensor)?;
    kernels_backend::check::dtype(op, operand, tensor, dtype)?;
    Ok(&mut tensor.storage_mut::<CpuStorage>(op, name)?.0)
}

/// The elements of an `i32` tensor.
pub(crate) fn integers<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a Tensor,
    name: &str,
) -> Result<&'a [i32]> {
    without_gaps(op, operand, tensor, DType::I32, name)
}

/// The elements of a `u8` tensor.
pub(crate) fn levels<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a Tensor,
    name: &str,
) -> Result<&'a [u8]> {
    without_gaps(op, operand, tensor, DType::U8, name)
}

/// The elements of a tensor of a type whose rows do not lie apart, as `T`, which has the size of that type.
fn without_gaps<'a, T: bytemuck::Pod>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a Tensor,
    dtype: DType,
    name: &str,
) -> Result<&'a [T]> {
    kernels_backend::check::dtype(op, operand, tensor, dtype)?;
    let words = &tensor.storage::<CpuStorage>(op, name)?.0;
    Ok(&bytemuck::cast_slice(words)[..tensor.shape().elements()])
}

/// A tensor of at most three dimensions, laid out in rows.
fn in_rows(op: &'static str, operand: &'static str, tensor: &Tensor) -> Result<()> {
    if tensor.layout() == Layout::Rows && tensor.shape().len() <= 3 {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        expected: format!("{operand} of at most three dimensions, laid out in rows"),
        found: format!("{} laid out as {:?}", tensor.shape(), tensor.layout()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_never_lie_a_multiple_of_a_page_apart_and_always_fit() {
        for width in [1, 3, 24, 384, 511, 512, 513, 768, 1024, 1280, 1408, 3072, 4096, 5120] {
            let stride = row_stride(width, DType::F32);
            assert!(stride >= width && (width < PADDED_WIDTH || !stride.is_multiple_of(1024)), "{width}");
            for rows in [1, 2, 7, 100] {
                let words = RowShape { rows, width, stride }.words();
                assert!(words <= capacity(&Shape::from([rows, width])).unwrap(), "{rows} × {width}");
            }
        }
    }
}
