//! What `patchify` and `patch_targets` share: a video and how it is cut.

use bytemuck::NoUninit;
use kernels_backend::{PatchGeometry, Result, Tensor, check};

use crate::{
    device::Device,
    memory::Address,
    storage::{self, int, type_code},
};

/// `Cut` of patches.h.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(crate) struct CutArgument {
    pixels: Address,
    /// Zero for all tokens in order.
    indices: Address,
    dtype: i32,
    frames: i32,
    channels: i32,
    height: i32,
    width: i32,
    tubelet_size: i32,
    patch_height: i32,
    patch_width: i32,
    rows: i32,
    /// So that no byte is undefined.
    padding: i32,
}

impl CutArgument {
    /// A video whose shape was checked to be `dims`, and the patches taken of it: `rows` of each sample.
    pub(crate) fn new(
        op: &'static str,
        device: &Device,
        pixel_values: &Tensor,
        dims: &check::PatchDims,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        rows: usize,
    ) -> Result<Self> {
        let indices = match indices {
            Some(indices) => {
                let (address, values) = storage::integers(op, "indices", indices, device)?;
                check::indices(op, values, dims.tokens())?;
                address
            }
            None => 0,
        };
        Ok(Self {
            pixels: storage::storage(op, pixel_values, device)?.memory.address,
            indices,
            dtype: type_code(op, "pixel_values", pixel_values.dtype())?,
            frames: int(op, dims.frames)?,
            channels: int(op, dims.channels)?,
            height: int(op, dims.height)?,
            width: int(op, dims.width)?,
            tubelet_size: int(op, geometry.tubelet_size)?,
            patch_height: int(op, geometry.patch_height)?,
            patch_width: int(op, geometry.patch_width)?,
            // No rows are seen, but rows are divided by.
            rows: int(op, rows.max(1))?,
            padding: 0,
        })
    }
}
