//! `cast`: rows to rows, between element types.

use bytemuck::NoUninit;
use kernels_backend::{Result, Rows, RowsMut, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    storage::{self, RowsArgument, elements_at_once, int},
};

/// `Cast` of cast.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Cast {
    from: RowsArgument,
    to: RowsArgument,
    total: i32,
    width: i32,
    count: i32,
    /// So that no byte is undefined.
    padding: i32,
}

const CAST: Kernel<Cast> = Kernel::new("cast", "cast");

/// Copies rows.
pub(crate) fn cast(ctx: &Context<'_>, src: &Rows<'_>, dst: &RowsMut<'_>) -> Result<()> {
    const OP: &str = "cast";
    check::same_rows(OP, src.dims, dst.dims)?;
    let from = storage::rows(OP, "source", src, ctx.device)?;
    let to = storage::rows_mut(OP, "destination", dst, ctx.device)?;
    copy(ctx, OP, from, to, src.dims.total(), src.dims.width)
}

/// `total` rows of `width` elements, for any op that moves them.
pub(crate) fn copy(
    ctx: &Context<'_>,
    op: &'static str,
    from: RowsArgument,
    to: RowsArgument,
    total: usize,
    width: usize,
) -> Result<()> {
    let count = elements_at_once(width, &[&from, &to]);
    let parameters =
        Cast { from, to, total: int(op, total)?, width: int(op, width)?, count: count as i32, padding: 0 };
    // SAFETY: both operands have this many rows of this width.
    unsafe { ctx.launch(&CAST, Grid::of_threads(total * width / count), &parameters) }
}
