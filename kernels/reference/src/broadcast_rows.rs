//! `broadcast_rows`: `dst[b, i] [+]= row[i mod R]`, and `sum_rows`, the gradient for one row.

use kernels_backend::{Result, Rows, RowsMut, Tensor, Write, check};

use crate::{arithmetic::add_scaled, storage};

pub(crate) fn broadcast_rows(row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
    const OP: &str = "broadcast_rows";
    let count = check::broadcast_rows(row, dst.dims)?;
    let (total, rows) = (dst.dims.total(), dst.dims.rows);
    let table = storage::rows(OP, "row", row.into())?;
    let mut dst = storage::rows_mut(OP, "destination", dst)?;
    for i in 0..total {
        dst.store(i, write, table.row(i % rows % count).iter().map(|&x| f64::from(x)));
    }
    Ok(())
}

pub(crate) fn sum_rows(dy: Rows<'_>, drow: &mut Tensor) -> Result<()> {
    const OP: &str = "sum_rows";
    check::shape(OP, "row gradient", drow, &[dy.dims.width])?;
    let (total, width) = (dy.dims.total(), dy.dims.width);
    let dy = storage::rows(OP, "dy", dy)?;
    let mut drow = storage::floats_mut(OP, "row gradient", drow)?;
    let mut sum = vec![0.0; width];
    for i in 0..total {
        add_scaled(&mut sum, 1.0, dy.row(i));
    }
    drow.store_all(0, Write::Accumulate, sum);
    Ok(())
}
