//! `bce_with_logits_loss`: the mean of `−t·ln σ(x) − (1 − t)·ln(1 − σ(x))`.

use kernels_backend::{Result, Tensor};

use crate::{
    kernel::{Context, Kernel},
    mean_loss::{MeanLoss, mean_loss},
    memory::Memory,
};

const BCE_WITH_LOGITS_LOSS: Kernel<MeanLoss> = Kernel::new("bce_with_logits_loss", "bce_with_logits_loss");

/// Binary cross entropy.
pub(crate) fn bce_with_logits_loss(
    ctx: &Context<'_>,
    partials: &Memory,
    logits: &Tensor,
    targets: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    mean_loss(ctx, partials, &BCE_WITH_LOGITS_LOSS, [logits, targets], loss, gradient)
}
