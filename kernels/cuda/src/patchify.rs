//! `patchify`: a video to rows of patches.

use bytemuck::NoUninit;
use kernels_backend::{PatchGeometry, Result, RowsMut, Tensor, check};

use crate::{
    kernel::{Context, Grid, Kernel},
    patches::CutArgument,
    storage::{self, RowsArgument, int},
};

/// `Patchify` of patchify.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Patchify {
    cut: CutArgument,
    patches: RowsArgument,
    total: i32,
    width: i32,
    count: i32,
    /// So that no byte is undefined.
    padding: i32,
}

const PATCHIFY: Kernel<Patchify> = Kernel::new("patchify", "patchify");

/// A video, or the patches of it that `indices` name, to rows.
pub(crate) fn patchify(
    ctx: &Context<'_>,
    pixel_values: &Tensor,
    geometry: PatchGeometry,
    indices: Option<&Tensor>,
    patches: &RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "patchify";
    let dims = check::patchify(OP, pixel_values, geometry, indices, patches.dims)?;
    let rows = patches.dims.rows;
    let (total, width) = (patches.dims.total(), patches.dims.width);
    // Four neighbours must be so in the video as well: its rows are whole patches.
    let count = if geometry.patch_width.is_multiple_of(4) { 4 } else { 1 };
    let parameters = Patchify {
        cut: CutArgument::new(OP, ctx.device, pixel_values, &dims, geometry, indices, rows)?,
        patches: storage::rows_mut(OP, "patches", patches, ctx.device)?,
        total: int(OP, total)?,
        width: int(OP, width)?,
        count,
        padding: 0,
    };
    // SAFETY: the geometry divides the video, indices lie within it, and there is a row of a patch for each.
    unsafe { ctx.launch(&PATCHIFY, Grid::of_threads(total * width / count as usize), &parameters) }
}
