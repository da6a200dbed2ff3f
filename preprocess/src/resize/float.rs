//! torchvision's resizing of `float32` tensors: no rounding to levels, but an order of additions to be kept.

use super::filter;
use crate::processor::Resample;

/// The compiler of PyTorch multiplies four taps at a time and then adds the products; only what is left over after
/// the first tap and whole groups of four is fused into multiply-adds.
const GROUP: usize = 4;

/// `(H, W, C)` to `(new H, new W, C)`, horizontal pass first.
pub(super) fn resize(
    image: &[f32],
    [height, width, channels]: [usize; 3],
    [new_height, new_width]: [usize; 2],
    filter: Resample,
) -> Vec<f32> {
    let wide = pass(image, [height, width, channels], new_width, filter);
    // The vertical pass is the horizontal one over rows of one "pixel" each.
    pass(&wide, [1, height, new_width * channels], new_height, filter)
}

/// `(rows, input, step)` to `(rows, output, step)`.
fn pass(image: &[f32], [_, input, step]: [usize; 3], output: usize, filter: Resample) -> Vec<f32> {
    if input == output {
        return image.to_vec();
    }
    let mut out = Vec::with_capacity(image.len() / input * output);
    if filter == Resample::Nearest {
        let indices = filter::nearest_torchvision(input, output);
        for row in image.chunks_exact(input * step) {
            indices.iter().for_each(|&i| out.extend_from_slice(&row[i * step..][..step]));
        }
        return out;
    }
    let windows = windows(input, output, filter);
    for row in image.chunks_exact(input * step) {
        for (first, weights) in &windows {
            let grouped = (weights.len() - 1) / GROUP * GROUP;
            let tap = |j: usize, i: usize| (weights[j], row[(first + j) * step + i]);
            out.extend((0..step).map(|i| {
                let (weight, value) = tap(0, i);
                (1..weights.len()).fold(value * weight, |sum, j| {
                    let (weight, value) = tap(j, i);
                    if j <= grouped { sum + value * weight } else { value.mul_add(weight, sum) }
                })
            }));
        }
    }
    out
}

/// As [`filter::windows`], in single precision wherever PyTorch stores one.
fn windows(input: usize, output: usize, filter: Resample) -> Vec<(usize, Vec<f32>)> {
    let scale = input as f32 / output as f32;
    let reduces = scale >= 1.0;
    let widening = if reduces { f64::from(scale) } else { 1.0 };
    let support = (filter::support(filter) * widening) as f32;
    let narrowing = f64::from((1.0 / widening) as f32);
    let window = |i: usize| {
        let centre = (f64::from(scale) * (i as f64 + 0.5)) as f32;
        let first = (f64::from(centre - support) + 0.5).max(0.0) as usize;
        let end = ((f64::from(centre + support) + 0.5) as usize).min(input);
        let weight = |x: usize| weight(filter, ((f64::from(x as f32 - centre) + 0.5) * narrowing) as f32);
        let weights: Vec<f32> = (first..end).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| weight / sum).collect())
    };
    (0..output).map(window).collect()
}

/// The weight at distance `x`. Lanczos goes through double precision, because the sine of PyTorch's compiler is not
/// to be had; it is the one filter that agrees to a few units in the last place only.
fn weight(filter: Resample, x: f32) -> f32 {
    let distance = x.abs();
    match filter {
        Resample::Bilinear => (1.0 - distance).max(0.0),
        Resample::Bicubic if distance < 1.0 => {
            (1.5f32.mul_add(distance, -2.5) * distance).mul_add(distance, 1.0)
        }
        Resample::Bicubic if distance < 2.0 => {
            (-0.5f32).mul_add(distance, 2.5).mul_add(distance, -4.0).mul_add(distance, 2.0)
        }
        _ => filter::weight(filter, f64::from(x)) as f32,
    }
}
