//! The filters of Pillow and torchvision, and which inputs each output sums.

use std::f64::consts::PI;

use crate::processor::Resample;

/// The half width of a filter, in input steps, before it is widened for a reduction.
pub(super) fn support(filter: Resample) -> f64 {
    match filter {
        // Nearest has no weights; it is an index.
        Resample::Nearest => 0.0,
        Resample::Box => 0.5,
        Resample::Bilinear | Resample::Hamming => 1.0,
        Resample::Bicubic => 2.0,
        Resample::Lanczos => 3.0,
    }
}

/// The weight at distance `x`, not normalised. The cubic is that of Keys with a = -1/2.
pub(super) fn weight(filter: Resample, x: f64) -> f64 {
    match filter {
        Resample::Nearest => 0.0,
        Resample::Box => f64::from(-0.5 < x && x <= 0.5),
        Resample::Bilinear => (1.0 - x.abs()).max(0.0),
        Resample::Hamming => match x.abs() {
            0.0 => 1.0,
            x if x < 1.0 => (x * PI).sin() / (x * PI) * (0.54 + 0.46 * (x * PI).cos()),
            _ => 0.0,
        },
        Resample::Bicubic => match x.abs() {
            x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            _ => 0.0,
        },
        Resample::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        Resample::Lanczos => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// One output of a pass: its first input, and the weights from there on, whose sum is one.
pub(super) struct Window {
    pub(super) first: usize,
    pub(super) weights: Vec<f64>,
}

/// The windows of all `output` samples over `input` ones. A reduction widens the filter by its factor, which is
/// what antialiasing is; an enlargement leaves it as it is.
pub(super) fn windows(input: usize, output: usize, filter: Resample) -> Vec<Window> {
    let scale = input as f64 / output as f64;
    let widening = scale.max(1.0);
    let support = support(filter) * widening;
    let narrowing = 1.0 / widening;
    let window = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(input);
        let mut weights: Vec<f64> =
            (first..end).map(|x| weight(filter, (x as f64 - centre + 0.5) * narrowing)).collect();
        let sum: f64 = weights.iter().sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        Window { first, weights }
    };
    (0..output).map(window).collect()
}

/// The input that each output repeats, as torchvision's `nearest-exact` finds it: in single precision.
pub(super) fn nearest_torchvision(input: usize, output: usize) -> Vec<usize> {
    let scale = input as f32 / output as f32;
    (0..output).map(|i| (((i as f32 + 0.5) * scale) as usize).min(input - 1)).collect()
}

/// The same as Pillow finds it: by adding steps up, rounding errors and all.
pub(super) fn nearest_pillow(input: usize, output: usize) -> Vec<usize> {
    let step = input as f64 / output as f64;
    let mut position = step * 0.5;
    let mut next = || {
        let index = (position as usize).min(input - 1);
        position += step;
        index
    };
    (0..output).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILTERS: [Resample; 5] =
        [Resample::Box, Resample::Bilinear, Resample::Hamming, Resample::Bicubic, Resample::Lanczos];

    #[test]
    fn filters_are_one_in_the_middle_and_zero_outside() {
        for filter in FILTERS {
            assert_eq!(weight(filter, 0.0), 1.0, "{filter}");
            assert_eq!(weight(filter, support(filter) + 1e-9), 0.0, "{filter}");
            assert_eq!(weight(filter, -support(filter) - 1e-9), 0.0, "{filter}");
        }
    }

    #[test]
    fn interpolating_filters_vanish_at_whole_steps() {
        for filter in [Resample::Bilinear, Resample::Hamming, Resample::Bicubic, Resample::Lanczos] {
            for step in 1..=3 {
                assert!(weight(filter, f64::from(step)).abs() < 1e-15, "{filter} at {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn windows_lie_inside_and_sum_to_one(
            input in 1usize..300, output in 1usize..300, filter in prop::sample::select(FILTERS.to_vec()),
        ) {
            for window in windows(input, output, filter) {
                prop_assert!(!window.weights.is_empty());
                prop_assert!(window.first + window.weights.len() <= input);
                prop_assert!((window.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            }
        }

        #[test]
        fn nearest_samples_rise_and_stay_inside(input in 1usize..3000, output in 1usize..3000) {
            for indices in [nearest_torchvision(input, output), nearest_pillow(input, output)] {
                prop_assert_eq!(indices.len(), output);
                prop_assert!(indices.is_sorted() && indices[output - 1] < input);
            }
        }
    }
}
