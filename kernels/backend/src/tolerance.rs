//! The one table of tolerances, and the comparison that uses it.
//!
//! A sum of n products in precision ε has a rounding error that grows like √n·ε for random signs, relative to
//! the size of the terms. The table therefore gives `ε · (base + growth·√n) · scale`, with `scale` the largest
//! magnitude expected. Never loosen a row to make a test pass.

use std::fmt;

use crate::DType;

/// Largest allowed error of an op whose longest sum has `length` terms, for values of magnitude `scale`.
///
/// | dtype | base | growth | why |
/// |---|---|---|---|
/// | f32 | 8 | 1 | polynomials for exp and erf (≤ 4 ulp), one more rounding each for bias, scale, residual, store |
/// | bf16 | 2 | 0.05 | inputs and outputs are rounded to bf16 (½ ulp each, twice along an op); sums are f32 |
/// | f16 | 2 | 0.05 | as bf16 |
pub fn bound(dtype: DType, length: usize, scale: f32) -> f32 {
    let (base, growth) = match dtype {
        DType::F32 => (8.0, 1.0),
        DType::Bf16 | DType::F16 => (2.0, 0.05),
        DType::I32 | DType::U8 => (0.0, 0.0),
    };
    dtype.epsilon() * (base + growth * (length as f32).sqrt()) * scale
}

/// Where two arrays differ most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The flat index of the largest error.
    pub index: usize,
    /// The value expected there.
    pub expected: f32,
    /// The value found there.
    pub found: f32,
    /// The largest absolute error.
    pub error: f32,
    /// The largest expected magnitude.
    pub scale: f32,
}

impl Comparison {
    /// Compares element by element. NaN agrees with NaN and an infinity with itself; otherwise either is an
    /// infinite error.
    ///
    /// # Panics
    /// When the lengths differ: that is a bug of the caller.
    pub fn of(found: &[f32], expected: &[f32]) -> Self {
        assert_eq!(found.len(), expected.len(), "arrays to compare have different lengths");
        let mut worst = Self { index: 0, expected: 0.0, found: 0.0, error: -1.0, scale: 0.0 };
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let same = found == expected || (found.is_nan() && expected.is_nan());
            let error = if same { 0.0 } else { (found - expected).abs() };
            let error = if error.is_nan() { f32::INFINITY } else { error };
            if expected.is_finite() {
                worst.scale = worst.scale.max(expected.abs());
            }
            if error > worst.error {
                worst = Self { index, expected, found, error, scale: worst.scale };
            }
        }
        worst.error = worst.error.max(0.0);
        worst
    }

    /// The bound for these values in an op whose longest sum has `length` terms.
    pub fn bound(&self, dtype: DType, length: usize) -> f32 {
        bound(dtype, length, self.scale)
    }

    /// Fails with the worst place unless the largest error is within the table.
    ///
    /// # Panics
    /// When it is not; for tests.
    #[track_caller]
    pub fn assert_within(&self, what: &str, dtype: DType, length: usize) {
        let bound = self.bound(dtype, length);
        assert!(self.error <= bound, "{what}: {self}, bound {bound:.3e} ({dtype}, sums of {length})");
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, expected, found, error, scale } = self;
        let relative = if *scale > 0.0 { error / scale } else { *error };
        write!(
            f,
            "largest error {error:.3e} ({relative:.3e} of the largest value {scale:.3e}) at {index}: expected \
             {expected}, found {found}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_finds_the_worst_place_and_treats_nan_strictly() {
        let c = Comparison::of(&[1.0, 2.5, 3.0], &[1.0, 2.0, 3.25]);
        assert_eq!((c.index, c.error, c.scale), (1, 0.5, 3.25));
        assert_eq!(Comparison::of(&[f32::NAN], &[f32::NAN]).error, 0.0);
        assert_eq!(Comparison::of(&[f32::NAN], &[1.0]).error, f32::INFINITY);
        assert_eq!(Comparison::of(&[1.0], &[f32::NAN]).error, f32::INFINITY);
        assert_eq!(Comparison::of(&[f32::INFINITY], &[f32::INFINITY]).error, 0.0);
        assert_eq!(Comparison::of(&[], &[]).error, 0.0);
    }
}
