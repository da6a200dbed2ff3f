//! The arithmetic that ops share: f64 inside, rounded once on the way out.

use kernels_backend::DType;

/// Rounds to the nearest number of type `dtype`, ties to even, and widens it to `f32` again.
pub(crate) fn round(dtype: DType, value: f64) -> f32 {
    match dtype {
        DType::Bf16 => half::bf16::from_f32(round_to_odd(value)).to_f32(),
        DType::F16 => half::f16::from_f32(round_to_odd(value)).to_f32(),
        _ => value as f32,
    }
}

/// Rounds to f32 such that a second rounding to a shorter type is as good as one rounding: the value is cut
/// off, and the last bit is set if anything was lost (Boldo and Melquiond, 2008, "Emulation of FMA and
/// correctly rounded sums"). Rounding to nearest twice would take a value just above a tie for the tie.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let exact = f64::from(nearest) == value || value.is_nan();
    if exact {
        return nearest;
    }
    let magnitude = nearest.to_bits() - u32::from(f64::from(nearest).abs() > value.abs());
    f32::from_bits(magnitude | 1)
}

/// `Σ aᵢ·bᵢ`. The product of two f32 is exact in f64.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// `sum += factor·x`, element by element.
pub(crate) fn add_scaled(sum: &mut [f64], factor: f64, x: &[f32]) {
    for (sum, &x) in sum.iter_mut().zip(x) {
        *sum += factor * f64::from(x);
    }
}

/// Replaces scores by `exp(score − l)` and returns `l = ln Σ exp(score)`. The largest score is subtracted
/// before any exponential, so that none overflows. NaN anywhere, or +∞, makes the whole row NaN, as in the
/// reference.
pub(crate) fn softmax(scores: &mut [f64]) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::exp(*score - largest);
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
    largest + libm::log(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_once_even_just_above_a_tie() {
        // 1 + 2⁻⁸ lies between the bf16 numbers 1 and 1 + 2⁻⁷; the tie goes to the even one, 1.
        let tie = 1.0 + 1.0 / 256.0;
        assert_eq!(round(DType::Bf16, tie), 1.0);
        // 2⁻⁴⁰ above the tie is lost in f32, so rounding twice would give 1 again.
        let above = tie + 2f64.powi(-40);
        assert_eq!(half::bf16::from_f32(above as f32).to_f32(), 1.0);
        assert_eq!(round(DType::Bf16, above), 1.0 + 1.0 / 128.0);
        assert_eq!(round(DType::Bf16, -above), -1.0 - 1.0 / 128.0);
        // The same from the other side: the tie of 1 + 2⁻⁷ and 1 + 2⁻⁶ goes up, anything below it down.
        let tie = 1.0 + 3.0 / 256.0;
        assert_eq!(round(DType::Bf16, tie), 1.0 + 1.0 / 64.0);
        assert_eq!(round(DType::Bf16, tie - 2f64.powi(-40)), 1.0 + 1.0 / 128.0);
    }

    #[test]
    fn rounding_keeps_special_values_and_overflows_to_infinity() {
        for dtype in [DType::F32, DType::Bf16, DType::F16] {
            assert!(round(dtype, f64::NAN).is_nan(), "{dtype}");
            assert_eq!(round(dtype, f64::NEG_INFINITY), f32::NEG_INFINITY, "{dtype}");
            assert_eq!(round(dtype, 1e300), f32::INFINITY, "{dtype}");
            assert_eq!(round(dtype, 1e-300), 0.0, "{dtype}");
            assert!(round(dtype, -0.0).is_sign_negative(), "{dtype}");
        }
        // The smallest denormals are kept, not flushed.
        assert_eq!(round(DType::F32, 2f64.powi(-149)), f32::from_bits(1));
        assert_eq!(round(DType::Bf16, 2f64.powi(-133)), f32::from_bits(1 << 16));
        assert_eq!(round(DType::F16, 2f64.powi(-24)), half::f16::from_bits(1).to_f32());
    }

    #[test]
    fn softmax_survives_scores_beyond_the_range_of_exp() {
        let mut scores = [5000.0, 5000.0, -5000.0];
        let logsumexp = softmax(&mut scores);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
        assert_eq!(logsumexp, 5000.0 + std::f64::consts::LN_2);
    }

    #[test]
    fn softmax_of_nan_or_infinity_is_nan_and_of_minus_infinity_zero() {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut scores = [0.0, bad, 1.0];
            softmax(&mut scores);
            assert!(scores.iter().any(|p| p.is_nan()), "{bad}");
        }
        let mut scores = [f64::NEG_INFINITY, 3.0];
        softmax(&mut scores);
        assert_eq!(scores, [0.0, 1.0]);
    }
}
