//! `mse_loss`: the mean of `(x − target)²`.

use kernels_backend::{Result, Tensor};

use crate::{
    kernel::{Context, Kernel},
    mean_loss::{MeanLoss, mean_loss},
    memory::Memory,
};

const MSE_LOSS: Kernel<MeanLoss> = Kernel::new("mse_loss", "mse_loss");

/// Mean squared error.
pub(crate) fn mse_loss(
    ctx: &Context<'_>,
    partials: &Memory,
    x: &Tensor,
    target: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    mean_loss(ctx, partials, &MSE_LOSS, [x, target], loss, gradient)
}
