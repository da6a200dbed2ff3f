//! `patch_targets`: what the pre-training decoder learns to predict.

use bytemuck::NoUninit;
use kernels_backend::{Error, Result, Tensor, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    patches::CutArgument,
    storage::{self, RowsArgument, int},
};

/// Channels whose mean and standard deviation the parameters hold; pictures have one, three or four.
const MAX_CHANNELS: usize = 8;

/// `PatchTargets` of patch_targets.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct PatchTargets {
    cut: CutArgument,
    labels: RowsArgument,
    total: i32,
    normalize: i32,
    mean: [f32; MAX_CHANNELS],
    std: [f32; MAX_CHANNELS],
}

const PATCH_TARGETS: Kernel<PatchTargets> = Kernel::new("patch_targets", "patch_targets");

/// The pixels of the masked patches.
pub(crate) fn patch_targets(
    ctx: &Context<'_>,
    pixel_values: &Tensor,
    targets: &kernels_backend::PatchTargets<'_>,
    indices: &Tensor,
    labels: &mut Tensor,
) -> Result<()> {
    const OP: &str = "patch_targets";
    let dims = check::patch_targets(pixel_values, targets, indices, labels)?;
    if dims.channels > MAX_CHANNELS {
        let what = format!("patch_targets of {} channels", dims.channels);
        return Err(Error::unsupported(&ctx.device.name, what, format!("at most {MAX_CHANNELS}")));
    }
    let (mut mean, mut std) = ([0.0; MAX_CHANNELS], [1.0; MAX_CHANNELS]);
    for (channel, &of_channel) in targets.unnormalize.iter().enumerate() {
        (mean[channel], std[channel]) = of_channel;
    }
    let rows = labels.shape()[1];
    let total = dims.batch * rows;
    let parameters = PatchTargets {
        cut: CutArgument::new(OP, ctx.device, pixel_values, &dims, targets.geometry, Some(indices), rows)?,
        labels: storage::rows(OP, "labels", &(&*labels).into(), ctx.device)?,
        total: int(OP, total)?,
        normalize: targets.normalize.into(),
        mean,
        std,
    };
    // SAFETY: the geometry divides the video, indices lie within it, and there is a row of labels for each.
    unsafe { ctx.launch(&PATCH_TARGETS, Grid::of_warps(total * dims.channels), &parameters) }
}
