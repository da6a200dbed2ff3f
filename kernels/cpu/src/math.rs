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
/// for every a. It is fitted for least error of the tail itself, weighted by its size: the left tail, where torch's own
/// f32 has lost all digits, keeps three. For x > 0 the tail is subtracted from one, so nothing cancels. Beyond the fit
/// (a > 6) the polynomial falls ever faster, and the tail with it.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let a = s.max(x, s.sub(zero, x));
    let log2_tail = polynomial(
        s,
        a,
        [
            -0.999_999_9,
            -1.151_111_5,
            -0.459_150_46,
            -0.052_689_787,
            0.007_367_477_8,
            -3.840_555_4e-4,
            -8.007_28e-5,
            1.673_172_3e-5,
            -9.586_164e-7,
        ],
    );
    let tail = exp2(s, log2_tail);
    s.mul(x, s.select_less(x, zero, tail, s.sub(one, tail)))
}

#[cfg(test)]
mod tests;
