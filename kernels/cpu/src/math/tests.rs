use kernels_backend::Activation;

use super::*;
use crate::simd::{Instructions, Portable};

type Emulated = Instructions<pulp::Scalar512b, 14>;

/// The largest relative error of a function over `count` numbers from `low` to `high`.
fn relative_error<S: Simd>(
    s: S,
    [low, high]: [f32; 2],
    function: impl Fn(S, S::Vector) -> S::Vector,
    exact: impl Fn(f64) -> f64,
) -> f64 {
    let count = if cfg!(miri) { 3 } else { 200_000 };
    let points = (0..count).map(|i| low + (high - low) * i as f32 / (count - 1) as f32);
    points
        .map(|x| {
            let mut lane = [0.0];
            s.store_tail(&mut lane, function(s, s.splat(x)));
            let exact = exact(x.into());
            ((f64::from(lane[0]) - exact) / exact).abs()
        })
        .fold(0.0, f64::max)
}

fn errors<S: Simd>(s: S) {
    // 2⁻²³ is 1.2·10⁻⁷. Without fused multiply-adds each step of a polynomial rounds twice, and the arguments
    // of exponentials keep less of their last place.
    let exp2_error = relative_error(s, [-125.0, 127.9], |s, x| exp2(s, x), f64::exp2);
    assert!(exp2_error <= 2.1e-7, "exp2: {exp2_error:e}");
    let coarse_error = relative_error(s, [-125.0, 127.9], |s, x| exp2_coarse(s, x), f64::exp2);
    assert!(coarse_error <= 1.1e-4, "exp2_coarse: {coarse_error:e}");
    let exp_error = relative_error(s, [-86.0, 88.0], |s, x| exp(s, x), f64::exp);
    assert!(exp_error <= 2.5e-7, "exp: {exp_error:e}");
    let sigmoid_error = relative_error(s, [-80.0, 80.0], |s, x| sigmoid(s, x), |x| 1.0 / (1.0 + (-x).exp()));
    assert!(sigmoid_error <= 4e-7, "sigmoid: {sigmoid_error:e}");
    let exact = |x: f64| f64::from(Activation::Gelu.value(x as f32));
    for (range, bound) in [([-5.0, -1e-6], 3e-6), ([1e-6, 14.0], 6e-7)] {
        let gelu_error = relative_error(s, range, |s, x| gelu(s, x), exact);
        assert!(gelu_error <= bound, "gelu on {range:?}: {gelu_error:e}");
    }
}

#[test]
fn elementary_functions_are_within_their_stated_errors() {
    errors(Portable);
    errors(Instructions::<_, 14>(pulp::Scalar512b));
    #[cfg(target_arch = "x86_64")]
    if let Some(token) = pulp::x86::V3::try_new() {
        errors(Instructions::<_, 6>(token));
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(token) = pulp::x86::V4::try_new() {
        errors(Instructions::<_, 14>(token));
    }
}

#[test]
fn gelu_is_within_four_ten_millionths_everywhere() {
    let s: Emulated = Instructions(pulp::Scalar512b);
    let count = if cfg!(miri) { 3 } else { 100_000 };
    for i in 0..count {
        let x = (i as f32 / count as f32 - 0.5) * 24.0;
        let mut lane = [0.0];
        s.store_tail(&mut lane, gelu(s, s.splat(x)));
        let error = (lane[0] - Activation::Gelu.value(x)).abs();
        // Above 4 a unit in the last place of the result itself is more.
        assert!(error <= 4e-7f32.max(2.0 * f32::EPSILON * x.abs()), "gelu({x}) is off by {error:e}");
    }
}

#[test]
fn special_values_of_the_exponentials() {
    let s: Emulated = Instructions(pulp::Scalar512b);
    let at = |f: &dyn Fn(f32) -> <Emulated as Simd>::Vector, x: f32| {
        let mut lane = [0.0];
        s.store_tail(&mut lane, f(x));
        lane[0]
    };
    let exp2 = |x: f32| exp2(s, s.splat(x));
    let exp2_coarse = |x: f32| exp2_coarse(s, s.splat(x));
    let exp = |x: f32| exp(s, s.splat(x));
    for f in [&exp2 as &dyn Fn(f32) -> _, &exp2_coarse, &exp] {
        assert_eq!(at(f, 0.0), 1.0);
        assert_eq!(at(f, f32::NEG_INFINITY), 0.0);
        assert_eq!(at(f, -1e30), 0.0);
        assert!(at(f, f32::NAN).is_nan());
    }
    assert_eq!(at(&exp, f32::INFINITY), f32::INFINITY);
    assert_eq!(at(&exp, 100.0), f32::INFINITY);
    assert_eq!(at(&exp2, -3.0), 0.125);
    assert_eq!(at(&exp2_coarse, -3.0), 0.125);
    for i in 0..if cfg!(miri) { 3 } else { 10_000 } {
        let x = -125.0 - i as f32 * 3e-4;
        for y in [at(&exp2, x), at(&exp2_coarse, x)] {
            assert!((0.0..=2.4e-38).contains(&y), "2^{x} is {y:e}");
        }
    }
}
