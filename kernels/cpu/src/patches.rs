//! Ops on pixels: `normalize_levels`, `patchify`, `patch_targets`.

use kernels_backend::{PatchGeometry, PatchTargets, Result, RowsMut, Tensor, check, check::PatchDims};

use crate::{
    simd::Simd,
    storage::{self, MatrixMut, floats, floats_mut, integers},
    stream::Context,
};

/// Levels to what rescaling and normalising make of them.
pub(crate) fn normalize_levels<S: Simd>(
    context: &Context<'_, S>,
    levels: &Tensor,
    table: &Tensor,
    pixel_values: &mut Tensor,
) -> Result<()> {
    const OP: &str = "normalize_levels";
    let (channels, plane) = check::normalize_levels(levels, table, pixel_values)?;
    let levels = storage::levels(OP, "levels", levels, context.name)?;
    let table = &floats(OP, "table", table, context.name)?[..channels * LEVELS];
    let pixels = &mut floats_mut(OP, "pixel_values", pixel_values, context.name)?[..levels.len()];
    context.threads.for_each_chunk(pixels, plane.max(1), |i, pixels| {
        let table = &table[i % channels * LEVELS..][..LEVELS];
        for (pixel, &level) in pixels.iter_mut().zip(&levels[i * plane..]) {
            *pixel = table[usize::from(level)];
        }
    });
    Ok(())
}

/// Numbers in a row of a table.
const LEVELS: usize = 256;

/// Pixels to rows of patches.
pub(crate) fn patchify<S: Simd>(
    context: &Context<'_, S>,
    pixel_values: &Tensor,
    geometry: PatchGeometry,
    indices: Option<&Tensor>,
    patches: RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "patchify";
    let dims = check::patchify(OP, pixel_values, geometry, indices, patches.dims)?;
    let indices = checked_indices(OP, context.name, indices, &dims)?;
    let pixels = floats(OP, "pixel_values", pixel_values, context.name)?;
    let mut patches = MatrixMut::new(OP, "patches", patches, context.name)?;
    let rows = patches.dims.rows;
    patches.for_each_row(context.threads, |i, patch| {
        let token = indices.map_or(i % rows, |indices| indices[i] as usize);
        let mut out = patch.chunks_exact_mut(geometry.patch_width);
        for channel in 0..dims.channels {
            for frame in 0..geometry.tubelet_size {
                let first = corner(&dims, geometry, i / rows, token, frame, channel);
                for (y, out) in (0..geometry.patch_height).zip(&mut out) {
                    out.copy_from_slice(&pixels[first + y * dims.width..][..geometry.patch_width]);
                }
            }
        }
    });
    Ok(())
}

/// Pixels to regression targets, channel fastest.
pub(crate) fn patch_targets<S: Simd>(
    context: &Context<'_, S>,
    pixel_values: &Tensor,
    targets: &PatchTargets<'_>,
    indices: &Tensor,
    labels: &mut Tensor,
) -> Result<()> {
    const OP: &str = "patch_targets";
    let dims = check::patch_targets(pixel_values, targets, indices, labels)?;
    let geometry = targets.geometry;
    let indices = checked_indices(OP, context.name, Some(indices), &dims)?.unwrap_or_default();
    let pixels = floats(OP, "pixel_values", pixel_values, context.name)?;
    let mut labels = MatrixMut::new(OP, "labels", labels.into(), context.name)?;
    let rows = labels.dims.rows;
    labels.for_each_row(context.threads, |i, label| {
        let token = indices[i] as usize;
        for channel in 0..dims.channels {
            let (mean, std) = targets.unnormalize.get(channel).copied().unwrap_or((0.0, 1.0));
            let mut out = label.iter_mut().skip(channel).step_by(dims.channels);
            for frame in 0..geometry.tubelet_size {
                let first = corner(&dims, geometry, i / rows, token, frame, channel);
                for y in 0..geometry.patch_height {
                    let row = &pixels[first + y * dims.width..][..geometry.patch_width];
                    for (&pixel, out) in row.iter().zip(&mut out) {
                        *out = pixel * std + mean;
                    }
                }
            }
            if targets.normalize {
                normalize(label, channel, dims.channels);
            }
        }
    });
    Ok(())
}

/// Brings one channel of a patch to mean 0 and (unbiased) variance 1.
fn normalize(label: &mut [f32], channel: usize, channels: usize) {
    let values = || label.iter().skip(channel).step_by(channels).map(|&x| f64::from(x));
    let count = (label.len() / channels) as f64;
    let mean = values().sum::<f64>() / count;
    let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0);
    let scale = 1.0 / (variance.sqrt() + 1e-6);
    for x in label.iter_mut().skip(channel).step_by(channels) {
        *x = ((f64::from(*x) - mean) * scale) as f32;
    }
}

/// Where the first pixel of a patch lies, in one of its frames and channels.
fn corner(
    dims: &PatchDims,
    geometry: PatchGeometry,
    sample: usize,
    token: usize,
    frame: usize,
    channel: usize,
) -> usize {
    let [_, rows, columns] = dims.grid;
    let (time, row, column) = (token / (rows * columns), token / columns % rows, token % columns);
    let frame = time * geometry.tubelet_size + frame;
    let plane = (sample * dims.frames + frame) * dims.channels + channel;
    (plane * dims.height + row * geometry.patch_height) * dims.width + column * geometry.patch_width
}

fn checked_indices<'a>(
    op: &'static str,
    name: &str,
    indices: Option<&'a Tensor>,
    dims: &PatchDims,
) -> Result<Option<&'a [i32]>> {
    let Some(indices) = indices else { return Ok(None) };
    let indices = integers(op, "indices", indices, name)?;
    check::indices(op, indices, dims.tokens())?;
    Ok(Some(indices))
}
