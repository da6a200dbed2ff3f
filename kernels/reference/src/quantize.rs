//! Numbers rounded to the precision of a linear layer ([`WeightFormat`]), as numbers again.

use kernels_backend::WeightFormat;

use crate::arithmetic::round;

/// Weights `(out, inputs)`, each output feature on its own.
///
/// Of int8, a weight is the nearest of −127 … 127 times the largest of its feature divided by 127; a tie goes to the
/// even integer. The quotient is taken in f32, so that every backend meets the same ties.
pub(crate) fn round_weights(format: WeightFormat, weights: &[f32], inputs: usize) -> Vec<f32> {
    match format.dtype() {
        Some(dtype) => weights.iter().map(|&w| round(dtype, w.into())).collect(),
        None => weights.chunks(inputs.max(1)).flat_map(round_vector).collect(),
    }
}

/// A query or key of int8, or the weights of an output feature: integers times one scale.
pub(crate) fn round_vector(weights: &[f32]) -> Vec<f32> {
    let largest = largest(weights.iter().map(|w| w.abs()));
    let inverse = if largest == 0.0 { 0.0 } else { 127.0 / largest };
    let scale = f64::from(largest / 127.0);
    weights.iter().map(|w| (f64::from((w * inverse).round_ties_even()) * scale) as f32).collect()
}

/// One row of x.
///
/// Of int8, a number is the least of the row plus the nearest of 0 … 255 times the spread of the row divided by 255.
pub(crate) fn round_row(format: WeightFormat, x: &[f32]) -> Vec<f32> {
    if let Some(dtype) = format.dtype() {
        return x.iter().map(|&x| round(dtype, x.into())).collect();
    }
    let least = -largest(x.iter().map(|x| -x));
    let spread = largest(x.iter().copied()) - least;
    let inverse = if spread == 0.0 { 0.0 } else { 255.0 / spread };
    let scale = f64::from(spread / 255.0);
    let integer = |x: f32| f64::from(((x - least) * inverse).round_ties_even());
    x.iter().map(|&x| (integer(x) * scale + f64::from(least)) as f32).collect()
}

/// The largest number; NaN if any is NaN or infinite.
fn largest(numbers: impl Iterator<Item = f32>) -> f32 {
    let larger = |a: f32, b: f32| if a.is_finite() && b.is_finite() { a.max(b) } else { f32::NAN };
    numbers.reduce(larger).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_row_are_exact_and_the_rest_is_within_half_a_step() {
        let x = [-1.0, 0.3, 0.77, 4.1];
        let rounded = round_row(WeightFormat::Int8, &x);
        let step = 5.1 / 255.0;
        for (x, rounded) in x.iter().zip(&rounded) {
            assert!(f64::from(x - rounded).abs() <= 0.5001 * step, "{x} became {rounded}");
        }
        assert_eq!(rounded[0], -1.0);
        assert!((rounded[3] - 4.1).abs() < 1e-6);
        assert_eq!(round_row(WeightFormat::Int8, &[2.5, 2.5]), [2.5, 2.5]);
    }

    #[test]
    fn each_feature_has_a_scale_of_its_own() {
        let rounded = round_weights(WeightFormat::Int8, &[127.0, -3.4, 0.0127, 0.001_26, 0.0, 0.0], 2);
        let expected = [127.0, -3.0, 0.0127, 0.0013, 0.0, 0.0];
        for (found, expected) in rounded.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
    }

    #[test]
    fn what_is_not_finite_spoils_its_row_only() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(round_row(WeightFormat::Int8, &[1.0, bad]).iter().all(|x| x.is_nan()));
            let rounded = round_weights(WeightFormat::Int8, &[bad, 1.0, 1.0, 2.0], 2);
            assert!(rounded[0].is_nan() && rounded[1].is_nan() && rounded[3] == 2.0);
        }
    }
}
