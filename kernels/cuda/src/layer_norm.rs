//! `layer_norm`: each row to mean 0 and variance 1, then the affine part.

use bytemuck::NoUninit;
use kernels_backend::{Result, Rows, RowsMut, Tensor, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    memory::Address,
    storage::{self, RowsArgument, elements_at_once, int},
};

/// `LayerNorm` of layer_norm.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct LayerNorm {
    x: RowsArgument,
    y: RowsArgument,
    weight: Address,
    bias: Address,
    /// Zero for none.
    stats: Address,
    total: i32,
    width: i32,
    count: i32,
    eps: f32,
}

const LAYER_NORM: Kernel<LayerNorm> = Kernel::new("layer_norm", "layer_norm");

/// Layer norm of each row.
pub(crate) fn layer_norm(
    ctx: &Context<'_>,
    x: &Rows<'_>,
    norm: &kernels_backend::LayerNorm,
    y: &RowsMut<'_>,
    stats: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "layer_norm";
    check::layer_norm(x.dims, norm, y.dims, stats.as_deref())?;
    let (total, width) = (x.dims.total(), x.dims.width);
    let x = storage::rows(OP, "x", x, ctx.device)?;
    let y = storage::rows_mut(OP, "y", y, ctx.device)?;
    let count = elements_at_once(width, &[&x, &y]);
    let parameters = LayerNorm {
        x,
        y,
        weight: storage::floats(OP, "weight", &norm.weight, ctx.device)?,
        bias: storage::floats(OP, "bias", &norm.bias, ctx.device)?,
        stats: stats.map_or(Ok(0), |stats| storage::floats(OP, "stats", stats, ctx.device))?,
        total: int(OP, total)?,
        width: int(OP, width)?,
        count: count as i32,
        eps: norm.eps,
    };
    // SAFETY: shapes were checked: x and y have these rows, the affine part this width, stats two numbers a row.
    unsafe { ctx.launch(&LAYER_NORM, Grid::of_warps(total), &parameters) }
}
