//! Elementary functions on vectors.
//!
//! Each brings its argument to a short interval around zero, takes a minimax polynomial there, and puts the
//! power of two back through the exponent. The polynomials were fitted for least relative error; the errors
//! stated are those of the whole function in `f32` against `f64`, as the tests below measure them.

use crate::simd::Simd;

/// 1.5·2²³: adding it leaves the nearest integer of a small number in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Below, the result is less than the least normal number and becomes zero.
const LEAST_EXPONENT: f32 = -125.5;

/// Above, the result overflows.
const LARGEST_EXPONENT: f32 = 128.0;

/// p[0] + p[1]·x + …, by Horner's scheme.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::Vector, p: [f32; N]) -> S::Vector {
    let mut y = s.splat(p[N - 1]);
    for &coefficient in p.iter().rev().skip(1) {
        y = s.mul_add(y, x, s.splat(coefficient));
    }
    y
}

/// 2ˣ for x ≤ 128, within 1.6·10⁻⁷ of the value; 2⁰ is 1 exactly, so a rescaling by it changes no bit. Results
/// below 2⁻¹²⁵ become zero; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let n = s.add(x, s.splat(ROUND));
    let f = s.sub(x, s.sub(n, s.splat(ROUND)));
    #[expect(clippy::approx_constant, reason = "a fitted coefficient, not ln 2")]
    let p = [1.0, 0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];
    let y = polynomial(s, f, p);
    let y = s.scale_exponent(y, n);
    // A comparison is false for NaN, which thus keeps the NaN of the polynomial.
    s.select_less(x, s.splat(LEAST_EXPONENT), s.splat(0.0), y)
}

/// eˣ·(1 + d) for a small correction d of x, within 2·10⁻⁷ of the value. Results below 2⁻¹²⁵ become zero, large
/// ones infinite; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::Vector, d: S::Vector) -> S::Vector {
    // ln 2 in two parts (Cody and Waite): n·HIGH is exact, as HIGH ends in enough zeros.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let scaled = s.mul(x, s.splat(std::f32::consts::LOG2_E));
    let n = s.add(scaled, s.splat(ROUND));
    let whole = s.sub(n, s.splat(ROUND));
    let r = s.mul_add(whole, s.splat(-HIGH), x);
    let r = s.add(s.mul_add(whole, s.splat(-LOW), r), d);
    let y =
        polynomial(s, r, [1.0, 1.0, 0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_71, 0.001_381_461_3]);
    let y = s.scale_exponent(y, n);
    let y = s.select_less(scaled, s.splat(LEAST_EXPONENT), s.splat(0.0), y);
    s.select_less(s.splat(LARGEST_EXPONENT), scaled, s.splat(f32::INFINITY), y)
}

/// 1/(1 + e⁻ˣ), within 4·10⁻⁷ of the value.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let e = exp(s, s.sub(s.splat(0.0), x), s.splat(0.0));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// x·Φ(x), the GELU with the error function, within a few units of the last place also in the left tail.
///
/// The tail probability Φ(−a) is e^(−a²/2)·P(t) with t = 1/(1 + 0.2675a), the form of Abramowitz and Stegun
/// 7.1.26 with a polynomial of higher degree. For x > 0 it is subtracted from one, so nothing cancels.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let a = s.max(x, s.sub(zero, x));
    // From here on the tail is zero; an infinity would leave a NaN in `lost`. The comparison lets NaN through.
    let a = s.select_less(s.splat(15.0), a, s.splat(15.0), a);
    let t = s.div(one, s.mul_add(a, s.splat(0.2675), one));
    let p = polynomial(
        s,
        t,
        [
            0.106_730_1,
            0.106_410_83,
            0.102_152_12,
            0.066_555_984,
            0.122_175_954,
            -0.092_020_49,
            0.193_538_96,
            -0.135_504_25,
            0.029_960_783,
        ],
    );
    // What rounding takes from a² is given back to the exponential, where it counts absolutely.
    let square = s.mul(a, a);
    let lost = s.mul_add(a, a, s.sub(zero, square));
    let e = exp(s, s.mul(square, s.splat(-0.5)), s.mul(lost, s.splat(-0.5)));
    let tail = s.mul(s.mul(e, t), p);
    s.mul(x, s.select_less(x, zero, tail, s.sub(one, tail)))
}

#[cfg(test)]
mod tests;
