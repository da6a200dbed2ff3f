//! `gather_rows`: `dst[b, i] [+]= table[indices[b, i]]`.

use kernels_backend::{Result, RowsMut, Tensor, Write, check};

use crate::storage;

pub(crate) fn gather_rows(table: &Tensor, indices: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
    const OP: &str = "gather_rows";
    let count = check::gather_rows(table, indices, dst.dims)?;
    let indices = storage::integers(OP, "indices", indices)?;
    check::indices(OP, indices, count)?;
    let table = storage::rows(OP, "table", table.into())?;
    let mut dst = storage::rows_mut(OP, "destination", dst)?;
    for (row, &index) in indices.iter().enumerate() {
        dst.store(row, write, table.row(index as usize).iter().map(|&x| f64::from(x)));
    }
    Ok(())
}
