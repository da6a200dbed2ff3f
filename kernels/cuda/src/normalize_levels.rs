//! `normalize_levels`: bytes to what rescaling and normalising make of them.

use bytemuck::NoUninit;
use kernels_backend::{Result, Tensor, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    memory::Address,
    storage::{self, int, type_code},
};

/// `NormalizeLevels` of normalize_levels.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct NormalizeLevels {
    levels: Address,
    table: Address,
    pixels: Address,
    total: i64,
    plane: i32,
    channels: i32,
    count: i32,
    dtype: i32,
}

const NORMALIZE_LEVELS: Kernel<NormalizeLevels> = Kernel::new("normalize_levels", "normalize_levels");

/// Looks every level up in the table of its channel.
pub(crate) fn normalize_levels(
    ctx: &Context<'_>,
    levels: &Tensor,
    table: &Tensor,
    pixel_values: &mut Tensor,
) -> Result<()> {
    const OP: &str = "normalize_levels";
    let (channels, plane) = check::normalize_levels(levels, table, pixel_values)?;
    let total = levels.shape().elements();
    let count = if plane.is_multiple_of(4) { 4 } else { 1 };
    let parameters = NormalizeLevels {
        levels: storage::storage(OP, levels, ctx.device)?.memory.address,
        table: storage::floats(OP, "table", table, ctx.device)?,
        pixels: storage::storage(OP, pixel_values, ctx.device)?.memory.address,
        total: total as i64,
        // No element is seen, but elements are divided by it.
        plane: int(OP, plane.max(1))?,
        channels: int(OP, channels.max(1))?,
        count,
        dtype: type_code(OP, "pixel_values", pixel_values.dtype())?,
    };
    // SAFETY: both tensors have `total` elements, and the table a row of 256 for every channel.
    unsafe { ctx.launch(&NORMALIZE_LEVELS, Grid::of_threads(total / count as usize), &parameters) }
}
