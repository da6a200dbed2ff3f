//! Passes over bytes with integer weights, written down directly: any filter, any reduction, any channels.

use std::ops::Range;

use super::filter::windows;
use crate::processor::Resample;

/// 32 bits less 8 for the level and 2 for the sign and for carries; the limit of Pillow and torchvision alike.
const MAX_PRECISION: u32 = 22;

/// How many bits a weight gets after the binary point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    /// As many as fit in 16 bits with the sign, so that a SIMD multiply-add takes two products: torchvision.
    SixteenBits,
    /// [`MAX_PRECISION`]: Pillow.
    Most,
}

/// The taps of one pass: which inputs each output sums, and with which weights.
pub(super) struct Taps {
    /// Weights are scaled by `2^precision`.
    precision: u32,
    /// The first input and the weights, per output.
    windows: Vec<(usize, Vec<i32>)>,
}

impl Taps {
    pub(super) fn new(input: usize, output: usize, filter: Resample, precision: Precision) -> Self {
        let windows = windows(input, output, filter);
        let precision = match precision {
            Precision::Most => MAX_PRECISION,
            Precision::SixteenBits => {
                let weights = windows.iter().flat_map(|window| &window.weights);
                let largest = weights.fold(0.0f64, |a, &b| a.max(b));
                let limit = f64::from(1u32 << 15);
                let fits = |bits: u32| (0.5 + largest * f64::from(1u32 << bits)).trunc() < limit;
                (1..=MAX_PRECISION).take_while(|&bits| fits(bits)).last().unwrap_or(1)
            }
        };
        let unit = f64::from(1u32 << precision);
        // Half away from zero; the conversion truncates.
        let round = |weight: f64| (weight * unit + 0.5f64.copysign(weight)) as i32;
        let windows = windows
            .into_iter()
            .map(|window| (window.first, window.weights.into_iter().map(round).collect()))
            .collect();
        Self { precision, windows }
    }

    /// Half a unit, which makes the shift of [`Taps::level`] round.
    fn half(&self) -> i32 {
        1 << (self.precision - 1)
    }

    fn level(&self, sum: i32) -> u8 {
        (sum >> self.precision).clamp(0, 255) as u8
    }

    /// `(H, W, C)` to `(H, new W, C)`.
    pub(super) fn horizontal(&self, image: &[u8], width: usize, channels: usize, out: &mut [u8]) {
        match channels {
            1 => self.rows::<1>(image, width, out),
            3 => self.rows::<3>(image, width, out),
            _ => self.rows::<4>(image, width, out),
        }
    }

    fn rows<const C: usize>(&self, image: &[u8], width: usize, out: &mut [u8]) {
        let new_width = self.windows.len();
        for (row, out) in image.chunks_exact(width * C).zip(out.chunks_exact_mut(new_width * C)) {
            let (pixels, _) = row.as_chunks::<C>();
            let (out, _) = out.as_chunks_mut::<C>();
            for (out, (first, weights)) in out.iter_mut().zip(&self.windows) {
                let mut sums = [self.half(); C];
                for (pixel, &weight) in pixels[*first..].iter().zip(weights) {
                    for (sum, &level) in sums.iter_mut().zip(pixel) {
                        *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(level)));
                    }
                }
                *out = sums.map(|sum| self.level(sum));
            }
        }
    }

    /// `(H, W, C)` to `(new H, columns, C)`; `stride` is W · C, and `columns` counts in pixels.
    pub(super) fn vertical(
        &self,
        image: &[u8],
        stride: usize,
        channels: usize,
        columns: Range<usize>,
        out: &mut [u8],
    ) {
        let kept = columns.start * channels..columns.end * channels;
        let mut sums = vec![0i32; kept.len()];
        for (out, (first, weights)) in out.chunks_exact_mut(kept.len()).zip(&self.windows) {
            sums.fill(self.half());
            for (row, &weight) in image.chunks_exact(stride).skip(*first).zip(weights) {
                for (sum, &level) in sums.iter_mut().zip(&row[kept.clone()]) {
                    *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(level)));
                }
            }
            for (out, &sum) in out.iter_mut().zip(&sums) {
                *out = self.level(sum);
            }
        }
    }
}
