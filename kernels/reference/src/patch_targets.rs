//! `patch_targets`: what the pre-training decoder learns to predict.

use kernels_backend::{PatchTargets, Result, Tensor, Write, check};

use crate::{patchify::Cut, storage};

/// Added to the standard deviation, after the square root (`VideoMAEForPreTraining.forward`).
const STD_EPS: f64 = 1e-6;

pub(crate) fn patch_targets(
    pixel_values: &Tensor,
    targets: &PatchTargets<'_>,
    indices: &Tensor,
    labels: &mut Tensor,
) -> Result<()> {
    const OP: &str = "patch_targets";
    let dims = check::patch_targets(pixel_values, targets, indices, labels)?;
    let cut = Cut { dims, geometry: targets.geometry };
    let tokens = cut.tokens(OP, Some(indices))?;
    let pixels = storage::floats(OP, "pixel_values", pixel_values)?;
    let mut labels = storage::floats_mut(OP, "labels", labels)?;
    for (row, &(sample, token)) in tokens.iter().enumerate() {
        for channel in 0..dims.channels {
            let (mean, std) = targets.unnormalize.get(channel).copied().unwrap_or((0.0, 1.0));
            let mut values: Vec<f64> = cut
                .pixels()
                .map(|pixel| f64::from(pixels[cut.place(sample, token, channel, pixel)]))
                .map(|pixel| pixel * f64::from(std) + f64::from(mean))
                .collect();
            if targets.normalize {
                normalize(&mut values);
            }
            for (pixel, value) in values.into_iter().enumerate() {
                labels.store(row * dims.patch + pixel * dims.channels + channel, Write::Replace, value);
            }
        }
    }
    Ok(())
}

/// Mean 0 and unbiased variance 1.
fn normalize(values: &mut [f64]) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0);
    for x in values {
        *x = (*x - mean) / (variance.sqrt() + STD_EPS);
    }
}

#[cfg(test)]
mod tests {
    use kernels_backend::{DType, Error, PatchGeometry, tolerance::Comparison};

    use super::*;
    use crate::testing::{integers, noise, stream, tensor, undefined, values};

    const GEOMETRY: PatchGeometry = PatchGeometry { tubelet_size: 1, patch_height: 1, patch_width: 2 };

    /// One frame of two channels and four pixels in a row, cut into two patches.
    fn video() -> Tensor {
        tensor([1, 1, 2, 1, 4], &[0.0, 1.0, 2.0, 4.0, 10.0, 20.0, 30.0, 50.0])
    }

    fn targets(unnormalize: &[(f32, f32)], normalize: bool) -> PatchTargets<'_> {
        PatchTargets { geometry: GEOMETRY, unnormalize, normalize }
    }

    fn run(targets: &PatchTargets<'_>, indices: &[i32]) -> Vec<f32> {
        let mut labels = undefined([1, indices.len(), 4]);
        let indices = integers([1, indices.len()], indices);
        stream().patch_targets(&video(), targets, &indices, &mut labels).unwrap();
        values(&labels)
    }

    #[test]
    fn the_channel_is_fastest_and_rows_follow_the_indices() {
        assert_eq!(run(&targets(&[], false), &[1, 0]), [2.0, 30.0, 4.0, 50.0, 0.0, 10.0, 1.0, 20.0]);
        assert_eq!(run(&targets(&[], false), &[]), []);
    }

    #[test]
    fn pixels_are_turned_back_with_the_mean_and_std_of_their_channel() {
        let unnormalize = [(0.5, 2.0), (-10.0, 0.5)];
        assert_eq!(run(&targets(&unnormalize, false), &[1]), [4.5, 5.0, 8.5, 15.0]);
    }

    #[test]
    fn each_channel_of_a_patch_is_normalised_with_the_unbiased_variance() {
        // Of 0 and 1: mean ½, unbiased variance ½, so ∓½/(√½ + 1e-6). Of 10 and 20: 15, 50, ∓5/(√50 + 1e-6).
        let (a, b) = ((0.5 / (0.5f64.sqrt() + 1e-6)) as f32, (5.0 / (50f64.sqrt() + 1e-6)) as f32);
        let found = run(&targets(&[], true), &[0]);
        Comparison::of(&found, &[-a, -b, a, b]).assert_within("targets", DType::F32, 2);
    }

    #[test]
    fn normalising_cancels_a_scale_that_the_epsilon_does_not_see() {
        let (plain, scaled) = (targets(&[], true), targets(&[(0.3, 8.0), (0.1, 8.0)], true));
        let (plain, scaled) = (run(&plain, &[0, 1]), run(&scaled, &[0, 1]));
        for (plain, scaled) in plain.iter().zip(scaled) {
            // 1e-6 against the smallest standard deviation, √½.
            assert!((plain - scaled).abs() < 2e-6, "{plain} and {scaled}");
        }
    }

    #[test]
    fn a_constant_patch_gives_zeros_and_nan_spoils_its_channel_only() {
        let mut pixels = [3.0; 8];
        pixels[4] = f32::NAN;
        let mut labels = undefined([1, 2, 4]);
        let (video, indices) = (tensor([1, 1, 2, 1, 4], &pixels), integers([1, 2], &[0, 1]));
        stream().patch_targets(&video, &targets(&[], true), &indices, &mut labels).unwrap();
        let labels = values(&labels);
        assert!(labels[1].is_nan() && labels[3].is_nan(), "{labels:?}");
        assert_eq!([labels[0], labels[2]], [0.0, 0.0]);
        assert_eq!(labels[4..], [0.0; 4]);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let mut labels = undefined([1, 1, 4]);
        let index = integers([1, 1], &[2]);
        let error = stream().patch_targets(&video(), &targets(&[], false), &index, &mut labels).unwrap_err();
        assert_eq!(error, Error::Index { op: "patch_targets", index: 2, bound: 2 });
        let one_channel = [(0.5, 0.5)];
        let error =
            stream().patch_targets(&video(), &targets(&one_channel, false), &index, &mut labels).unwrap_err();
        assert_eq!(
            error.to_string(),
            "patch_targets: expected a mean and std for each of 2 channels, found 1"
        );
        let single = PatchGeometry { patch_width: 1, ..GEOMETRY };
        let targets = PatchTargets { geometry: single, unnormalize: &[], normalize: true };
        let video = tensor([1, 1, 2, 1, 4], &noise(1, 8));
        let error = stream().patch_targets(&video, &targets, &index, &mut undefined([1, 1, 2])).unwrap_err();
        assert!(error.to_string().contains("two pixels for a variance"), "{error}");
    }
}
