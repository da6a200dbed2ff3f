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

#[cfg(test)]
mod tests {
    use kernels_backend::Error;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{cases, integers, noise, stream, tensor, undefined, values, zeros};

    /// `(1, 2, 2, 2, 4)`: each pixel is its own address, `frame·1000 + channel·100 + y·10 + x`.
    fn video() -> Tensor {
        let place = |i: usize| (i / 16) * 1000 + (i / 8 % 2) * 100 + (i / 4 % 2) * 10 + i % 4;
        tensor([1, 2, 2, 2, 4], &(0..32).map(|i| place(i) as f32).collect::<Vec<_>>())
    }

    const TUBELETS: PatchGeometry = PatchGeometry { tubelet_size: 2, patch_height: 1, patch_width: 2 };

    #[test]
    fn tokens_run_over_time_height_width_and_elements_over_channel_frame_height_width() {
        let mut patches = undefined([1, 4, 8]);
        stream().patchify(&video(), TUBELETS, None, (&mut patches).into()).unwrap();
        let first = [0.0, 1.0, 1000.0, 1001.0, 100.0, 101.0, 1100.0, 1101.0];
        let expected: Vec<f32> =
            [0.0, 2.0, 10.0, 12.0].iter().flat_map(|token| first.map(|x| x + token)).collect();
        assert_eq!(values(&patches), expected);
    }

    #[test]
    fn time_is_the_slowest_axis_of_the_tokens() {
        let frames = PatchGeometry { tubelet_size: 1, patch_height: 2, patch_width: 4 };
        let mut patches = undefined([1, 2, 16]);
        stream().patchify(&video(), frames, None, (&mut patches).into()).unwrap();
        let patches = values(&patches);
        assert_eq!((patches[0], patches[8], patches[16]), (0.0, 100.0, 1000.0));
    }

    #[test]
    fn with_indices_only_those_patches_are_made_into_a_range_of_rows() {
        let mut patches = zeros([1, 3, 8]);
        let indices = integers([1, 2], &[3, 0]);
        let rows = RowsMut::range(&mut patches, 1..3).unwrap();
        stream().patchify(&video(), TUBELETS, Some(&indices), rows).unwrap();
        let patches = values(&patches);
        assert_eq!((&patches[..8], patches[8], patches[16]), (&[0.0; 8][..], 12.0, 0.0));
        assert_eq!(patches[23], 1101.0);
    }

    #[test]
    fn indices_outside_the_video_are_named_and_nothing_is_written() {
        for bad in [-1, 4] {
            let mut patches = zeros([1, 2, 8]);
            let indices = integers([1, 2], &[0, bad]);
            let error =
                stream().patchify(&video(), TUBELETS, Some(&indices), (&mut patches).into()).unwrap_err();
            assert_eq!(error, Error::Index { op: "patchify", index: bad.into(), bound: 4 });
            assert_eq!(values(&patches), [0.0; 16]);
        }
    }

    #[test]
    fn a_video_that_is_not_a_multiple_of_the_patch_is_refused() {
        let geometry = PatchGeometry { patch_width: 3, ..TUBELETS };
        let error =
            stream().patchify(&video(), geometry, None, (&mut undefined([1, 1, 12])).into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "patchify: expected T, H, W that are multiples of 2, 1, 3, found 2, 2, 4"
        );
    }

    #[test]
    fn backward_adds_patches_that_share_a_place() {
        let mut dpixels = tensor([1, 1, 1, 1, 2], &[10.0, 20.0]);
        let geometry = PatchGeometry { tubelet_size: 1, patch_height: 1, patch_width: 1 };
        let indices = integers([1, 3], &[1, 1, 0]);
        let dpatches = tensor([1, 3, 1], &[1.0, 2.0, 4.0]);
        stream().patchify_backward((&dpatches).into(), geometry, Some(&indices), &mut dpixels).unwrap();
        assert_eq!(values(&dpixels), [14.0, 23.0]);
    }

    proptest! {
        #![proptest_config(cases(24))]

        /// patchify is linear, so its gradient is its transpose: `Σ dy·f(x) = Σ fᵀ(dy)·x`.
        #[test]
        fn backward_is_the_transpose(
            batch in 0usize..3,
            channels in 1usize..4,
            grid in [1usize..3, 1usize..3, 1usize..3],
            patch in [1usize..3, 1usize..4, 1usize..3],
            all: bool,
            seed: u64,
        ) {
            let shape =
                [batch, grid[0] * patch[0], channels, grid[1] * patch[1], grid[2] * patch[2]];
            let geometry =
                PatchGeometry { tubelet_size: patch[0], patch_height: patch[1], patch_width: patch[2] };
            let tokens: usize = grid.iter().product();
            let width = channels * patch.iter().product::<usize>();
            // Every other token, last first, or all of them.
            let visible: Vec<i32> = (0..tokens as i32).rev().step_by(2).collect();
            let rows = if all { tokens } else { visible.len() };
            let indices = integers([batch, visible.len()], &visible.repeat(batch));
            let indices = (!all).then_some(&indices);

            let x = noise(seed, shape.iter().product());
            let dy = noise(!seed, batch * rows * width);
            let mut y = undefined([batch, rows, width]);
            stream().patchify(&tensor(shape, &x), geometry, indices, (&mut y).into()).unwrap();
            let mut dx = zeros(shape);
            let dyt = tensor([batch, rows, width], &dy);
            stream().patchify_backward((&dyt).into(), geometry, indices, &mut dx).unwrap();
            // Products of multiples of 2⁻⁷ and their sums are exact in f64.
            let inner = |a: &[f32], b: &[f32]| crate::arithmetic::dot(a, b);
            prop_assert_eq!(inner(&dy, &values(&y)), inner(&values(&dx), &x));
        }
    }
}
