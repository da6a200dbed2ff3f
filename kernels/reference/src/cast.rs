//! `cast` and `add`: rows to rows, `dst [+]= src`.

use kernels_backend::{Result, Rows, RowsMut, Write, check};

use crate::storage;

pub(crate) fn cast(src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
    copy("cast", src, Write::Replace, dst)
}

pub(crate) fn add(src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
    copy("add", src, Write::Accumulate, dst)
}

fn copy(op: &'static str, src: Rows<'_>, write: Write, dst: RowsMut<'_>) -> Result<()> {
    check::same_rows(op, src.dims, dst.dims)?;
    let total = src.dims.total();
    let src = storage::rows(op, "source", src)?;
    let mut dst = storage::rows_mut(op, "destination", dst)?;
    for row in 0..total {
        dst.store(row, write, src.row(row).iter().map(|&x| f64::from(x)));
    }
    Ok(())
}
