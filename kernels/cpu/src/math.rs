//! Elementary functions on vectors.
//!
//! Each brings its argument to a short interval around zero, takes a minimax polynomial there, and puts the
//! power of two back through the exponent. The polynomials were fitted for least relative error; the errors
//! stated are those of the whole function in `f32` against `f64`, as the tests below measure them.

use crate::simd::Simd;

/// 1.5·2²³: adding it leaves the nearest integer of a small number in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Below, the result of [`exp`] is less than the least normal number and becomes zero.
const LEAST_EXPONENT: f32 = -125.5;

/// 2ˣ for this and less is zero: the one of the polynomial loses all of its exponent. Just above, where x is rounded
/// down to this, the polynomial is at least one, so its exponent is enough.
const ZERO_EXPONENT: f32 = -127.0;

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
/// below 2⁻¹²⁶ lose their digits and then become zero; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    #[expect(clippy::approx_constant, reason = "a fitted coefficient, not ln 2")]
    let p = [1.0, 0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];
    exp2_by(s, x, p)
}

/// As [`exp2`] within 1.1·10⁻⁴, a twentieth of what rounding to bf16 may change.
#[inline(always)]
pub(crate) fn exp2_coarse<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    exp2_by(s, x, [1.0, 0.693_282_9, 0.242_210_97, 0.055_008_933])
}

/// 2ˣ with a polynomial for 2ᶠ, |f| ≤ ½, whose first coefficient is one.
#[inline(always)]
fn exp2_by<S: Simd, const N: usize>(s: S, x: S::Vector, p: [f32; N]) -> S::Vector {
    let x = s.max(s.splat(ZERO_EXPONENT), x);
    let n = s.add(x, s.splat(ROUND));
    let f = s.sub(x, s.sub(n, s.splat(ROUND)));
    s.scale_exponent(polynomial(s, f, p), n)
}

/// eˣ, within 2·10⁻⁷ of the value. Results below 2⁻¹²⁵ become zero, large ones infinite; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    // ln 2 in two parts (Cody and Waite): n·HIGH is exact, as HIGH ends in enough zeros.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    let scaled = s.mul(x, s.splat(std::f32::consts::LOG2_E));
    let n = s.add(scaled, s.splat(ROUND));
    let whole = s.sub(n, s.splat(ROUND));
    let r = s.mul_add(whole, s.splat(-HIGH), x);
    let r = s.mul_add(whole, s.splat(-LOW), r);
    let y =
        polynomial(s, r, [1.0, 1.0, 0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_71, 0.001_381_461_3]);
    let y = s.scale_exponent(y, n);
    let y = s.select_less(scaled, s.splat(LEAST_EXPONENT), s.splat(0.0), y);
    s.select_less(s.splat(LARGEST_EXPONENT), scaled, s.splat(f32::INFINITY), y)
}

/// 1/(1 + e⁻ˣ), within 4·10⁻⁷ of the value.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// x·Φ(x), the GELU with the error function, within 4·10⁻⁷ of the value below 4 and a few units of its last place above.
///
/// The logarithm of the tail probability Φ(−a) is nearly a parabola, so a polynomial and one exponential give the tail
/// for every a. It is fitted on [0, 5.6] for least relative error of the tail: so the left tail, where torch's own f32 has
/// lost all digits, is within 3·10⁻⁶ of its value. For x > 0 the tail is subtracted from one, so nothing cancels. Beyond
/// the fit the polynomial falls ever faster, and the tail with it.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let a = s.max(x, s.sub(zero, x));
    let log2_tail = polynomial(
        s,
        a,
        [
            -0.999_999_76,
            -1.151_113_6,
            -0.459_153_4,
            -0.052_623_42,
            0.007_191_458_7,
            -0.000_184_611_26,
            -0.000_196_537_34,
            5.370_839_4e-5,
            -7.263_962_7e-6,
            5.295_35e-7,
            -1.653_299_2e-8,
        ],
    );
    let tail = exp2(s, log2_tail);
    s.mul(x, s.select_less(x, zero, tail, s.sub(one, tail)))
}

#[cfg(test)]
mod tests;
