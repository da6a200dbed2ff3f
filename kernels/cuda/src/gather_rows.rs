//! `gather_rows`: `dst[b, i] [+]= table[indices[b, i]]`.

use bytemuck::NoUninit;
use kernels_backend::{Result, RowsMut, Tensor, Write, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    memory::Address,
    storage::{self, RowsArgument, elements_at_once, int},
};

/// `GatherRows` of gather_rows.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct GatherRows {
    table: RowsArgument,
    to: RowsArgument,
    indices: Address,
    total: i32,
    width: i32,
    count: i32,
    accumulate: i32,
}

const GATHER_ROWS: Kernel<GatherRows> = Kernel::new("gather_rows", "gather_rows");

/// Looks rows up in a table.
pub(crate) fn gather_rows(
    ctx: &Context<'_>,
    table: &Tensor,
    indices: &Tensor,
    write: Write,
    dst: &RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "gather_rows";
    let bound = check::gather_rows(table, indices, dst.dims)?;
    let (indices, values) = storage::integers(OP, "indices", indices, ctx.device)?;
    check::indices(OP, values, bound)?;
    let table = storage::rows(OP, "table", &table.into(), ctx.device)?;
    let to = storage::rows_mut(OP, "destination", dst, ctx.device)?;
    let (total, width) = (dst.dims.total(), dst.dims.width);
    let count = elements_at_once(width, &[&table, &to]);
    let parameters = GatherRows {
        table,
        to,
        indices,
        total: int(OP, total)?,
        width: int(OP, width)?,
        count: count as i32,
        accumulate: (write == Write::Accumulate).into(),
    };
    // SAFETY: every index was checked against the rows of the table, and there is one for each row written.
    unsafe { ctx.launch(&GATHER_ROWS, Grid::of_threads(total * width / count), &parameters) }
}
