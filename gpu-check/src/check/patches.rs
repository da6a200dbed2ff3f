//! Ops on pixels: `normalize_levels`, `patchify`, `patch_targets`.

use anyhow::Result;
use kernels::{DType, PatchGeometry, PatchTargets, Tensor};

use super::{
    Size,
    lab::{Lab, Spec},
    noise::Noise,
    trial::{Case, Part},
};

/// A video and how it is cut.
#[derive(Clone, Copy)]
struct Video {
    /// `(B, T, C, H, W)`
    shape: [usize; 5],
    geometry: PatchGeometry,
}

impl Video {
    const fn new(shape: [usize; 5], [tubelet_size, patch_height, patch_width]: [usize; 3]) -> Self {
        Self { shape, geometry: PatchGeometry { tubelet_size, patch_height, patch_width } }
    }

    fn tokens(&self) -> usize {
        let PatchGeometry { tubelet_size, patch_height, patch_width } = self.geometry;
        (self.shape[1] / tubelet_size) * (self.shape[3] / patch_height) * (self.shape[4] / patch_width)
    }

    /// Half of the patches.
    fn half(&self) -> usize {
        self.tokens().div_ceil(2)
    }

    /// The elements of a patch.
    fn patch(&self) -> usize {
        let PatchGeometry { tubelet_size, patch_height, patch_width } = self.geometry;
        tubelet_size * patch_height * patch_width * self.shape[2]
    }

    fn label(&self, dtype: DType) -> String {
        let [batch, frames, channels, height, width] = self.shape;
        let PatchGeometry { tubelet_size, patch_height, patch_width } = self.geometry;
        format!(
            "{batch}×{frames}×{channels}×{height}×{width} by {tubelet_size}×{patch_height}×{patch_width} {dtype}"
        )
    }
}

fn videos(size: Size) -> Vec<Video> {
    let mut videos = vec![
        Video::new([1, 4, 3, 16, 16], [2, 8, 8]),
        Video::new([2, 2, 1, 12, 15], [1, 4, 5]),
        Video::new([1, 3, 4, 6, 14], [3, 6, 7]),
    ];
    if size == Size::Model {
        videos.extend([
            Video::new([2, 16, 3, 224, 224], [2, 16, 16]),
            Video::new([1, 16, 3, 224, 224], [2, 14, 14]),
        ]);
    }
    videos
}

/// `normalize_levels`: numbers of a table, rounded once.
pub(super) fn normalize_levels(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let case = |video: Video| {
        let [batch, frames, channels, height, width] = video.shape;
        let label = format!("{batch}×{frames}×{channels}×{height}×{width} {dtype}");
        let noise = Noise::new(seed, &label);
        Case::new(label, move |lab| {
            let mut noise = noise.clone();
            let levels = noise.below(video.shape.iter().product(), 256);
            let levels: Vec<u8> = levels.iter().map(|&level| level as u8).collect();
            let levels = lab.levels(video.shape, &levels)?;
            let table = lab.tensor([channels, 256], DType::F32, &noise.signed(channels * 256))?;
            let mut pixels = lab.output(&Spec::new(video.shape, dtype))?;
            lab.stream.normalize_levels(&levels, &table, &mut pixels.tensor)?;
            Ok(vec![Part::exact("pixel_values", lab.result(&mut pixels)?)])
        })
    };
    videos(size).into_iter().map(case).collect()
}

/// `patchify`: all patches, then half of them, in any order.
pub(super) fn patchify(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    cut(size, dtype, seed, move |lab, video, pixels, indices| {
        let (batch, tokens, patch) = (video.shape[0], video.tokens(), video.patch());
        let mut all = lab.output(&Spec { margin: true, ..Spec::new([batch, tokens, patch], dtype) })?;
        lab.stream.patchify(pixels, video.geometry, None, all.rows()?)?;
        let shape = [batch, video.half(), patch];
        let mut some = lab.output(&Spec { margin: true, ..Spec::new(shape, DType::F32) })?;
        lab.stream.patchify(pixels, video.geometry, Some(indices), some.rows()?)?;
        Ok(vec![Part::exact("all", lab.result(&mut all)?), Part::exact("some", lab.result(&mut some)?)])
    })
}

/// `patch_targets`: as they are, with their colours back, and with every patch normalised.
pub(super) fn patch_targets(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    cut(size, dtype, seed, move |lab, video, pixels, indices| {
        let (batch, patch) = (video.shape[0], video.patch());
        let channels: Vec<_> =
            (0..video.shape[2]).map(|c| (0.4 + c as f32 * 0.1, 0.2 + c as f32 * 0.05)).collect();
        let mut parts = Vec::new();
        for (name, unnormalize, normalize) in [
            ("plain", &[][..], false),
            ("with colours", &channels[..], false),
            ("normalised", &channels[..], true),
        ] {
            let mut labels = lab.output(&Spec::new([batch, video.half(), patch], DType::F32))?;
            let targets = PatchTargets { geometry: video.geometry, unnormalize, normalize };
            lab.stream.patch_targets(pixels, &targets, indices, &mut labels.tensor)?;
            let values = lab.result(&mut labels)?;
            // The deviation of a patch is about a half of its largest pixel, which its rounding is relative to.
            parts.push(Part::new(name, DType::F32, patch, values));
        }
        Ok(parts)
    })
}

/// A case for each video: `run` is given its pixels and the indices of half of its patches.
fn cut(
    size: Size,
    dtype: DType,
    seed: u64,
    run: impl Fn(&mut Lab, Video, &Tensor, &Tensor) -> Result<Vec<Part>> + Copy + 'static,
) -> Vec<Case> {
    let case = |video: Video| {
        let label = video.label(dtype);
        let noise = Noise::new(seed, &label);
        Case::new(label, move |lab| {
            let mut noise = noise.clone();
            let pixels = lab.tensor(video.shape, dtype, &noise.signed(video.shape.iter().product()))?;
            let shape = [video.shape[0], video.half()];
            let indices = lab.integers(shape, &noise.below(shape[0] * shape[1], video.tokens()))?;
            run(lab, video, &pixels, &indices)
        })
    };
    videos(size).into_iter().map(case).collect()
}
