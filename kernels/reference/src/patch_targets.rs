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
