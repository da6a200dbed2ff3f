//! `broadcast_rows`: `dst[b, i] [+]= row[i mod R]`.

use bytemuck::NoUninit;
use kernels_backend::{Result, RowsMut, Tensor, Write, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    storage::{self, RowsArgument, elements_at_once, int},
};

/// `BroadcastRows` of broadcast_rows.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct BroadcastRows {
    table: RowsArgument,
    to: RowsArgument,
    total: i32,
    width: i32,
    count: i32,
    accumulate: i32,
}

const BROADCAST_ROWS: Kernel<BroadcastRows> = Kernel::new("broadcast_rows", "broadcast_rows");

/// The same rows for every sample.
pub(crate) fn broadcast_rows(ctx: &Context<'_>, row: &Tensor, write: Write, dst: &RowsMut<'_>) -> Result<()> {
    const OP: &str = "broadcast_rows";
    check::broadcast_rows(row, dst.dims)?;
    let table = storage::rows(OP, "row", &row.into(), ctx.device)?;
    let to = storage::rows_mut(OP, "destination", dst, ctx.device)?;
    let (total, width) = (dst.dims.total(), dst.dims.width);
    let count = elements_at_once(width, &[&table, &to]);
    let parameters = BroadcastRows {
        table,
        to,
        total: int(OP, total)?,
        width: int(OP, width)?,
        count: count as i32,
        accumulate: (write == Write::Accumulate).into(),
    };
    // SAFETY: both operands have rows of this width, and the kernel takes the row of the table modulo its rows.
    unsafe { ctx.launch(&BROADCAST_ROWS, Grid::of_threads(total * width / count), &parameters) }
}
