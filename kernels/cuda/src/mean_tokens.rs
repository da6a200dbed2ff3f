//! `mean_tokens`: the mean over the rows of each sample.

use kernels_backend::{Result, Rows, Tensor, check};

use crate::{
    kernel::{Context, Grid, Kernel, Parameters},
    storage::{self, RowsArgument, int},
};

/// `MeanTokens` of mean_tokens.cu.
#[derive(Clone, Copy)]
#[repr(C)]
struct MeanTokens {
    x: RowsArgument,
    y: RowsArgument,
    width: i32,
}

// SAFETY: addresses and numbers, in the order of mean_tokens.cu.
unsafe impl Parameters for MeanTokens {}

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
    };
    let grid = Grid::of_blocks([x.dims.width.div_ceil(COLUMNS), x.dims.batch, 1], 256);
    // SAFETY: y has a row of this width for each sample of x.
    unsafe { ctx.launch(&MEAN_TOKENS, grid, &parameters) }
}
