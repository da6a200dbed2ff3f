//! What `mse_loss` and `bce_with_logits_loss` share: a mean over elements, in two launches.

use std::sync::Arc;

use bytemuck::NoUninit;
use kernels_backend::{Result, Tensor, check};

use crate::{
    device::Device,
    kernel::{Context, Grid, Kernel},
    memory::{Address, Memory},
    storage::{self, type_code},
};

/// `MeanLoss` of mean_loss.h.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(crate) struct MeanLoss {
    x: Address,
    target: Address,
    /// Zero for none.
    gradient: Address,
    partials: Address,
    count: i64,
    x_type: i32,
    target_type: i32,
    gradient_type: i32,
    /// So that no byte is undefined.
    padding: i32,
}

/// `MeanOfPartials` of mean_loss.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct MeanOfPartials {
    partials: Address,
    loss: Address,
    count: i64,
    blocks: i32,
    dtype: i32,
}

const MEAN_OF_PARTIALS: Kernel<MeanOfPartials> = Kernel::new("mean_loss", "mean_of_partials");

const THREADS: usize = 256;

/// Blocks that keep every multiprocessor of a large GPU busy: eight for each of 132.
const MOST_BLOCKS: usize = 1056;

/// Memory for the sums that the blocks of a loss leave to the next kernel.
pub(crate) fn partials(device: &Arc<Device>) -> Result<Memory> {
    Memory::new(device, Some(MOST_BLOCKS * size_of::<f32>()), &[MOST_BLOCKS].into())
}

/// The mean of a loss over all elements, and its gradient.
pub(crate) fn mean_loss(
    ctx: &Context<'_>,
    partials: &Memory,
    kernel: &Kernel<MeanLoss>,
    [x, target]: [&Tensor; 2],
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    let op = kernel.name;
    check::loss(op, x, target.shape(), loss, gradient.as_deref())?;
    let address =
        |tensor: &Tensor| storage::rows(op, "operand", &tensor.into(), ctx.device).map(|rows| rows.data);
    let count = x.shape().elements();
    let blocks = count.div_ceil(THREADS).min(MOST_BLOCKS);
    let parameters = MeanLoss {
        x: address(x)?,
        target: address(target)?,
        gradient: gradient.as_deref().map_or(Ok(0), address)?,
        partials: partials.address,
        count: count as i64,
        x_type: type_code(op, "x", x.dtype())?,
        target_type: type_code(op, "target", target.dtype())?,
        gradient_type: gradient
            .as_deref()
            .map_or(Ok(0), |gradient| type_code(op, "gradient", gradient.dtype()))?,
        padding: 0,
    };
    let mean = MeanOfPartials {
        partials: partials.address,
        loss: address(loss)?,
        count: count as i64,
        blocks: blocks as i32,
        dtype: type_code(op, "loss", loss.dtype())?,
    };
    // SAFETY: the operands have `count` elements each, and there is a partial sum for each block.
    unsafe { ctx.launch(kernel, Grid::of_blocks([blocks, 1, 1], THREADS as u32), &parameters)? };
    // SAFETY: the first launch writes as many partial sums as this one reads; the loss has one element.
    unsafe { ctx.launch(&MEAN_OF_PARTIALS, Grid::of_blocks([1, 1, 1], THREADS as u32), &mean) }
}
