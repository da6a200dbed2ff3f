//! `mean_tokens`: the mean over the rows of each sample.

use bytemuck::NoUninit;
use kernels_backend::{Result, Rows, Tensor, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    storage::{self, RowsArgument, int},
};

/// `MeanTokens` of mean_tokens.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct MeanTokens {
    x: RowsArgument,
    y: RowsArgument,
    width: i32,
    /// So that no byte is undefined.
    padding: i32,
}

const MEAN_TOKENS: Kernel<MeanTokens> = Kernel::new("mean_tokens", "mean_tokens");

/// Columns that a block takes: one for each lane of a warp.
const COLUMNS: usize = 32;

/// The mean over the rows of each sample.
pub(crate) fn mean_tokens(ctx: &Context<'_>, x: &Rows<'_>, y: &mut Tensor) -> Result<()> {
    const OP: &str = "mean_tokens";
    check::mean_tokens(OP, x.dims, y)?;
    let parameters = MeanTokens {
        x: storage::rows(OP, "x", x, ctx.device)?,
        y: storage::rows(OP, "mean", &(&*y).into(), ctx.device)?,
        width: int(OP, x.dims.width)?,
        padding: 0,
    };
    let grid = Grid::of_blocks([x.dims.width.div_ceil(COLUMNS), x.dims.batch, 1], 256);
    // SAFETY: y has a row of this width for each sample of x.
    unsafe { ctx.launch(&MEAN_TOKENS, grid, &parameters) }
}
