//! `mean_tokens`: the mean over the rows of each sample, and its gradient.

use kernels_backend::{Result, Rows, RowsMut, Tensor, Write, check};

use crate::{arithmetic::add_scaled, storage};

pub(crate) fn mean_tokens(x: Rows<'_>, y: &mut Tensor) -> Result<()> {
    const OP: &str = "mean_tokens";
    check::mean_tokens(OP, x.dims, y)?;
    let dims = x.dims;
    let x = storage::rows(OP, "x", x)?;
    let mut y = storage::floats_mut(OP, "mean", y)?;
    for sample in 0..dims.batch {
        let mut sum = vec![0.0; dims.width];
        for row in 0..dims.rows {
            add_scaled(&mut sum, 1.0, x.row(sample * dims.rows + row));
        }
        let mean = sum.into_iter().map(|sum| sum / dims.rows as f64);
        y.store_all(sample * dims.width, Write::Replace, mean);
    }
    Ok(())
}

pub(crate) fn mean_tokens_backward(dy: &Tensor, dx: RowsMut<'_>) -> Result<()> {
    const OP: &str = "mean_tokens_backward";
    check::mean_tokens(OP, dx.dims, dy)?;
    let dims = dx.dims;
    let dy = storage::floats(OP, "mean gradient", dy)?;
    let mut dx = storage::rows_mut(OP, "x gradient", dx)?;
    for i in 0..dims.total() {
        let start = i / dims.rows * dims.width;
        let dy = &dy[start..start + dims.width];
        dx.store(i, Write::Replace, dy.iter().map(|&dy| f64::from(dy) / dims.rows as f64));
    }
    Ok(())
}
