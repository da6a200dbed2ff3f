//! Activation functions on vectors.

use kernels_backend::Activation;

use crate::{
    math::{gelu, sigmoid},
    simd::Simd,
};

/// `values = activation(values)`. The functions that models use have vector forms; the rare ones are evaluated
/// by their definition, one number at a time.
#[inline(always)]
pub(crate) fn apply<S: Simd>(s: S, activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Gelu => s.map(
            values,
            #[inline(always)]
            |x| gelu(s, x),
        ),
        Activation::Gelu10 => s.map(
            values,
            #[inline(always)]
            |x| {
                let y = gelu(s, x);
                // GELU is never below −10; a comparison lets NaN through.
                s.select_less(s.splat(10.0), y, s.splat(10.0), y)
            },
        ),
        Activation::GeluTanh => s.map(
            values,
            #[inline(always)]
            |x| gelu_tanh(s, x),
        ),
        Activation::QuickGelu => s.map(
            values,
            #[inline(always)]
            |x| s.mul(x, sigmoid(s, s.mul(s.splat(1.702), x))),
        ),
        Activation::Silu => s.map(
            values,
            #[inline(always)]
            |x| s.mul(x, sigmoid(s, x)),
        ),
        Activation::Sigmoid => s.map(
            values,
            #[inline(always)]
            |x| sigmoid(s, x),
        ),
        Activation::Relu => s.map(
            values,
            #[inline(always)]
            |x| relu(s, x),
        ),
        Activation::Relu2 => s.map(
            values,
            #[inline(always)]
            |x| {
                let y = relu(s, x);
                s.mul(y, y)
            },
        ),
        Activation::Relu6 => s.map(
            values,
            #[inline(always)]
            |x| {
                let y = relu(s, x);
                s.select_less(s.splat(6.0), y, s.splat(6.0), y)
            },
        ),
        other => values.iter_mut().for_each(|x| *x = other.value(*x)),
    }
}

#[inline(always)]
fn relu<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    s.select_less(x, s.splat(0.0), s.splat(0.0), x)
}

/// ½x(1 + tanh u) is x·σ(2u), with 2u = √(8/π)·(x + 0.044715x³).
#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::Vector) -> S::Vector {
    const SCALE: f32 = 1.595_769;
    let cubic = s.mul_add(s.mul(x, x), s.splat(0.044_715 * SCALE), s.splat(SCALE));
    s.mul(x, sigmoid(s, s.mul(x, cubic)))
}
