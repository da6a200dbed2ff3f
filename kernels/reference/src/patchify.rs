//! `patchify`: a video to rows of patches, and its gradient.

use kernels_backend::{
    PatchGeometry, Result, Rows, RowsMut, Tensor, Write,
    check::{self, PatchDims},
};

use crate::storage;

pub(crate) fn patchify(
    pixel_values: &Tensor,
    geometry: PatchGeometry,
    indices: Option<&Tensor>,
    patches: RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "patchify";
    let dims = check::patchify(OP, pixel_values, geometry, indices, patches.dims)?;
    let cut = Cut { dims, geometry };
    let tokens = cut.tokens(OP, indices)?;
    let pixels = storage::floats(OP, "pixel_values", pixel_values)?;
    let mut patches = storage::rows_mut(OP, "patches", patches)?;
    for (row, &(sample, token)) in tokens.iter().enumerate() {
        let places = cut.patch_places(sample, token);
        patches.store(row, Write::Replace, places.map(|place| f64::from(pixels[place])));
    }
    Ok(())
}

/// Adds each patch to its place. A place that several patches share gets their sum.
pub(crate) fn patchify_backward(
    dpatches: Rows<'_>,
    geometry: PatchGeometry,
    indices: Option<&Tensor>,
    dpixel_values: &mut Tensor,
) -> Result<()> {
    const OP: &str = "patchify_backward";
    let dims = check::patchify(OP, dpixel_values, geometry, indices, dpatches.dims)?;
    let cut = Cut { dims, geometry };
    let tokens = cut.tokens(OP, indices)?;
    let dpatches = storage::rows(OP, "patches gradient", dpatches)?;
    let mut dpixels = storage::floats_mut(OP, "pixel_values gradient", dpixel_values)?;
    let mut sums = vec![0.0; dpixels.elements.len()];
    for (row, &(sample, token)) in tokens.iter().enumerate() {
        for (place, &d) in cut.patch_places(sample, token).zip(dpatches.row(row)) {
            sums[place] += f64::from(d);
        }
    }
    dpixels.store_all(0, Write::Accumulate, sums);
    Ok(())
}

/// A video and how it is cut.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) dims: PatchDims,
    pub(crate) geometry: PatchGeometry,
}

impl Cut {
    /// `(sample, token)` of every row: those in `indices (B, I)`, or all in order.
    pub(crate) fn tokens(&self, op: &'static str, indices: Option<&Tensor>) -> Result<Vec<(usize, usize)>> {
        let (batch, tokens) = (self.dims.batch, self.dims.tokens());
        let Some(indices) = indices else {
            return Ok((0..batch * tokens).map(|i| (i / tokens, i % tokens)).collect());
        };
        let indices = storage::integers(op, "indices", indices)?;
        check::indices(op, indices, tokens)?;
        let per_sample = indices.len() / batch.max(1);
        Ok(indices.iter().enumerate().map(|(i, &token)| (i / per_sample, token as usize)).collect())
    }

    /// The places in `(B, T, C, H, W)` of the elements of a patch, in the order channel, frame, y, x.
    fn patch_places(self, sample: usize, token: usize) -> impl Iterator<Item = usize> {
        (0..self.dims.channels)
            .flat_map(move |channel| self.pixels().map(move |pixel| (channel, pixel)))
            .map(move |(channel, pixel)| self.place(sample, token, channel, pixel))
    }

    /// `[frame, y, x]` of the pixels of a patch, in that order.
    pub(crate) fn pixels(self) -> impl Iterator<Item = [usize; 3]> {
        let PatchGeometry { tubelet_size, patch_height, patch_width } = self.geometry;
        (0..tubelet_size)
            .flat_map(move |t| (0..patch_height).flat_map(move |y| (0..patch_width).map(move |x| [t, y, x])))
    }

    /// The flat index in `(B, T, C, H, W)` of one pixel of one patch.
    pub(crate) fn place(&self, sample: usize, token: usize, channel: usize, [t, y, x]: [usize; 3]) -> usize {
        let Self { dims, geometry } = self;
        let [_, rows, columns] = dims.grid;
        let frame = token / columns / rows * geometry.tubelet_size + t;
        let y = token / columns % rows * geometry.patch_height + y;
        let x = token % columns * geometry.patch_width + x;
        (((sample * dims.frames + frame) * dims.channels + channel) * dims.height + y) * dims.width + x
    }
}
