//! The rows of a tensor that an op reads or writes.
//!
//! Most ops see `(B, N, D)` as B samples of N rows. A view may take a range of rows of every sample: so the
//! pre-training decoder's `[visible | mask tokens]` is written in place, and its last rows are read in place.

use std::ops::Range;

use crate::{Error, Result, Shape, Tensor};

/// Rows `offset..offset + rows` of each of `batch` samples of `rows_per_sample` rows of `width` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowDims {
    /// B; 1 for a tensor of two dimensions, the product of all but the last two for one of more than three.
    pub batch: usize,
    /// The rows of each sample that are seen.
    pub rows: usize,
    /// The elements of a row.
    pub width: usize,
    /// The rows that each sample has in memory.
    pub rows_per_sample: usize,
    /// The first row seen.
    pub offset: usize,
}

impl RowDims {
    fn of(tensor: &Tensor) -> Self {
        let (batch, rows, width) = match **tensor.shape() {
            [ref leading @ .., rows, width] => (leading.iter().product(), rows, width),
            [width] => (1, 1, width),
            [] => (1, 1, 1),
        };
        Self { batch, rows, width, rows_per_sample: rows, offset: 0 }
    }

    fn range(self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || range.end > self.rows_per_sample {
            return Err(Error::Shape {
                op: "rows",
                expected: format!("a range within the {} rows of a sample", self.rows_per_sample),
                found: format!("{range:?}"),
            });
        }
        Ok(Self { rows: range.len(), offset: range.start, ..self })
    }

    /// The rows seen, over all samples.
    pub fn total(&self) -> usize {
        self.batch * self.rows
    }

    /// Whether these rows lie in a tensor of `elements` elements. Always, for rows made by [`Rows::range`] or
    /// `into()`; a backend asks because the fields are public.
    pub fn fit(&self, elements: usize) -> bool {
        let held = Shape::from([self.batch, self.rows_per_sample, self.width]).checked_elements();
        let end = self.offset.checked_add(self.rows);
        held == Some(elements) && end.is_some_and(|end| end <= self.rows_per_sample)
    }

    /// The index in memory of the `row`-th row seen of sample `sample`.
    pub fn memory_row(&self, sample: usize, row: usize) -> usize {
        sample * self.rows_per_sample + self.offset + row
    }

    /// Whether the rows seen lie without a gap, so that `(B, rows)` can be walked as one long list.
    pub fn is_contiguous(&self) -> bool {
        self.batch <= 1 || self.rows == self.rows_per_sample
    }
}

/// Rows to read. `(&tensor).into()` takes all.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The tensor they belong to.
    pub tensor: &'a Tensor,
    /// Which of them.
    pub dims: RowDims,
}

impl<'a> Rows<'a> {
    /// Rows `range` of every sample.
    ///
    /// # Errors
    /// [`Error::Shape`] when the range leaves the sample.
    pub fn range(tensor: &'a Tensor, range: Range<usize>) -> Result<Self> {
        Ok(Self { tensor, dims: RowDims::of(tensor).range(range)? })
    }
}

impl<'a> From<&'a Tensor> for Rows<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self { tensor, dims: RowDims::of(tensor) }
    }
}

/// Rows to write. `(&mut tensor).into()` takes all.
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// The tensor they belong to.
    pub tensor: &'a mut Tensor,
    /// Which of them.
    pub dims: RowDims,
}

impl<'a> RowsMut<'a> {
    /// Rows `range` of every sample.
    ///
    /// # Errors
    /// [`Error::Shape`] when the range leaves the sample.
    pub fn range(tensor: &'a mut Tensor, range: Range<usize>) -> Result<Self> {
        let dims = RowDims::of(tensor).range(range)?;
        Ok(Self { tensor, dims })
    }

    /// The same rows, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> RowsMut<'_> {
        RowsMut { tensor: self.tensor, dims: self.dims }
    }
}

impl<'a> From<&'a mut Tensor> for RowsMut<'a> {
    fn from(tensor: &'a mut Tensor) -> Self {
        let dims = RowDims::of(tensor);
        Self { tensor, dims }
    }
}
