//! The two passes written down directly, for any reduction.

use std::ops::Range;

/// Weights have 16 bits with the sign, so that two products fit in one SIMD multiply-add.
const WEIGHT_LIMIT: f64 = (1u32 << 15) as f64;

/// 32 bits less 8 for the level and 2 for the sign and for carries; torchvision's limit.
const MAX_PRECISION: u32 = 22;

/// The taps of one pass: which inputs each output sums, and with which weights.
struct Taps {
    /// Weights are scaled by `2^precision`.
    precision: u32,
    /// The first input and the weights, per output.
    windows: Vec<(usize, Vec<i32>)>,
}

impl Taps {
    /// A triangle as wide as one input step, or as one output step where that is wider.
    fn new(input: usize, output: usize) -> Self {
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        let windows: Vec<(usize, Vec<f64>)> = (0..output)
            .map(|i| {
                let centre = (i as f64 + 0.5) * scale;
                let first = (centre - support + 0.5).max(0.0) as usize;
                let end = ((centre + support + 0.5) as usize).min(input);
                let weights: Vec<f64> = (first..end)
                    .map(|x| (1.0 - ((x as f64 - centre + 0.5) / support).abs()).max(0.0))
                    .collect();
                let sum: f64 = weights.iter().sum();
                (first, weights.into_iter().map(|w| w / sum).collect())
            })
            .collect();
        let largest = windows.iter().flat_map(|(_, weights)| weights).fold(0.0f64, |a, &b| a.max(b));
        let fits = |precision: u32| (0.5 + largest * f64::from(1u32 << precision)).trunc() < WEIGHT_LIMIT;
        let precision = (1..=MAX_PRECISION).take_while(|&p| fits(p)).last().unwrap_or(0);
        let round = |w: f64| (0.5 + w * f64::from(1u32 << precision)) as i32;
        let windows = windows
            .into_iter()
            .map(|(first, weights)| (first, weights.into_iter().map(round).collect()))
            .collect();
        Self { precision, windows }
    }

    /// One output sample: `step` samples lie between one tap and the next.
    fn apply(&self, output: usize, samples: &[u8], step: usize) -> u8 {
        let (first, weights) = &self.windows[output];
        let half = 1 << (self.precision - 1);
        let sum: i32 = weights
            .iter()
            .zip(samples.iter().skip(first * step).step_by(step))
            .map(|(&weight, &sample)| weight * i32::from(sample))
            .sum();
        ((sum + half) >> self.precision).clamp(0, 255) as u8
    }
}

/// `(H, W, C)` to `(H, new_width, C)`.
pub(super) fn horizontal(image: &[u8], [_, width, channels]: [usize; 3], new_width: usize, out: &mut [u8]) {
    let taps = Taps::new(width, new_width);
    for (row, out) in image.chunks_exact(width * channels).zip(out.chunks_exact_mut(new_width * channels)) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = taps.apply(i / channels, &row[i % channels..], channels);
        }
    }
}

/// `(H, W, C)` to `(new_height, columns, C)`.
pub(super) fn vertical(
    image: &[u8],
    [height, width, channels]: [usize; 3],
    new_height: usize,
    columns: Range<usize>,
    out: &mut [u8],
) {
    let taps = Taps::new(height, new_height);
    for (y, out) in out.chunks_exact_mut(columns.len() * channels).enumerate() {
        for (i, out) in out.iter_mut().enumerate() {
            *out = taps.apply(y, &image[columns.start * channels + i..], width * channels);
        }
    }
}
