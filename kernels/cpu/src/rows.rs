//! Ops that move rows: `gather_rows`, `broadcast_rows`, `mean_tokens`.

use kernels_backend::{Result, Rows, RowsMut, Tensor, Write, check};

use crate::{
    simd::Simd,
    storage::{Matrix, MatrixMut, RowShape, floats, integers},
    stream::Context,
};

/// `dst[b, i] [+]= table[indices[b, i]]`
pub(crate) fn gather_rows<S: Simd>(
    context: &Context<'_, S>,
    table: &Tensor,
    indices: &Tensor,
    write: Write,
    dst: RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "gather_rows";
    let bound = check::gather_rows(table, indices, dst.dims)?;
    let indices = integers(OP, "indices", indices, context.name)?;
    check::indices(OP, indices, bound)?;
    let table = Matrix::new(OP, "table", &table.into(), context.name)?;
    let mut dst = MatrixMut::new(OP, "destination", dst, context.name)?;
    // The indices were checked to be those of rows, so none is negative.
    dst.for_each_row(context.threads, |i, row| put(row, table.row(indices[i] as usize), write));
    Ok(())
}

/// `dst[b, i] [+]= row[i mod R]`
pub(crate) fn broadcast_rows<S: Simd>(
    context: &Context<'_, S>,
    row: &Tensor,
    write: Write,
    dst: RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "broadcast_rows";
    let count = check::broadcast_rows(row, dst.dims)?;
    let source = Matrix::new(OP, "row", &row.into(), context.name)?;
    let mut dst = MatrixMut::new(OP, "destination", dst, context.name)?;
    let rows = dst.dims.rows;
    dst.for_each_row(context.threads, |i, row| put(row, source.row(i % rows % count), write));
    Ok(())
}

fn put(to: &mut [f32], from: &[f32], write: Write) {
    match write {
        Write::Replace => to.copy_from_slice(from),
        Write::Accumulate => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
    }
}

/// The mean over the rows of each sample.
pub(crate) fn mean_tokens<S: Simd>(context: &Context<'_, S>, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
    const OP: &str = "mean_tokens";
    check::mean_tokens(OP, x.dims, y)?;
    /// Columns of a task: a few cache lines of each row.
    const COLUMNS: usize = 128;
    /// Rows that are summed before they join the total, so that 1568 rows are sums of at most 40 and 40 terms.
    const BLOCK: usize = 40;
    let dims = x.dims;
    let x = Matrix::new(OP, "x", &x, context.name)?;
    let y = MatrixMut::new(OP, "y", y.into(), context.name)?;
    let pieces = dims.width.div_ceil(COLUMNS);
    context.threads.for_each(dims.batch * pieces, |task| {
        let (sample, piece) = (task / pieces, task % pieces);
        let columns = piece * COLUMNS..dims.width.min((piece + 1) * COLUMNS);
        let mut total = [0.0; COLUMNS];
        for block in (0..dims.rows).step_by(BLOCK) {
            let mut sums = [0.0; COLUMNS];
            for row in block..dims.rows.min(block + BLOCK) {
                let row = &x.row(sample * dims.rows + row)[columns.clone()];
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        // SAFETY: each task has columns of its own.
        let mean = unsafe { y.part(sample, columns) };
        mean.iter_mut().zip(total).for_each(|(mean, total)| *mean = total / dims.rows as f32);
    });
    Ok(())
}

/// The rows of a tensor, one slice each.
pub(crate) fn each<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a Tensor,
    name: &str,
) -> Result<impl Iterator<Item = &'a [f32]>> {
    let shape = RowShape::of(tensor);
    let words = floats(op, operand, tensor, name)?;
    Ok((0..shape.rows).map(move |i| &words[shape.row(i)]))
}
