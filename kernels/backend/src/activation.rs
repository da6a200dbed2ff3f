//! Activation functions: their names in configuration files and their scalar definitions.

use std::str::FromStr;

use crate::{Error, Result};

/// A function of one number, as `transformers.activations.ACT2FN` defines it.
///
/// [`Activation::value`] and [`Activation::derivative`] are the specification, evaluated in `f64`. Backends may
/// be faster within the tolerance table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// x
    #[default]
    Identity,
    /// x·Φ(x), with the error function
    Gelu,
    /// x·Φ(x) clipped to ±10
    Gelu10,
    /// GELU by tanh: ½x(1 + tanh(√(2/π)(x + 0.044715x³)))
    GeluTanh,
    /// x·σ(1.702x)
    QuickGelu,
    /// max(x, 0)
    Relu,
    /// max(x, 0)²
    Relu2,
    /// min(max(x, 0), 6)
    Relu6,
    /// x or 0.01x
    LeakyRelu,
    /// λx or λα(eˣ − 1)
    Selu,
    /// x·σ(x)
    Silu,
    /// x·tanh(ln(1 + eˣ))
    Mish,
    /// σ(x)
    Sigmoid,
    /// tanh x
    Tanh,
    /// x·min(max(x + 3, 0), 6)/6
    HardSwish,
    /// The distribution function of a Laplace variable: ½(1 + erf((x − μ)/(σ√2))), μ = √½, σ = √(¼/π)
    Laplace,
}

/// Every name that [`Activation::from_str`] knows, in the order of the reference's table.
const NAMES: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_10", Activation::Gelu10),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_python", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("hardswish", Activation::HardSwish),
    ("laplace", Activation::Laplace),
    ("leaky_relu", Activation::LeakyRelu),
    ("linear", Activation::Identity),
    ("mish", Activation::Mish),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("relu2", Activation::Relu2),
    ("relu6", Activation::Relu6),
    ("selu", Activation::Selu),
    ("sigmoid", Activation::Sigmoid),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
/// √(2/π)
const GELU_TANH_SCALE: f64 = 0.797_884_560_802_865_4;
const GELU_TANH_CUBIC: f64 = 0.044_715;
#[expect(clippy::approx_constant, reason = "the reference writes √½ with six digits")]
const LAPLACE_MEAN: f64 = 0.707_107;
const LAPLACE_STD: f64 = 0.282_095;

impl Activation {
    /// The names configuration files use, each with its function.
    pub fn names() -> &'static [(&'static str, Self)] {
        NAMES
    }

    /// f(x), rounded once.
    pub fn value(self, x: f32) -> f32 {
        self.value_f64(x.into()) as f32
    }

    /// f′(x), rounded once, with the subgradient that the reference's autograd takes at a kink.
    pub fn derivative(self, x: f32) -> f32 {
        self.derivative_f64(x.into()) as f32
    }

    /// f(x).
    pub fn value_f64(self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Gelu => gelu(x),
            Self::Gelu10 => clip(gelu(x), -10.0, 10.0),
            Self::GeluTanh => 0.5 * x * (1.0 + libm::tanh(gelu_tanh_argument(x))),
            Self::QuickGelu => x * sigmoid(1.702 * x),
            Self::Relu => clip(x, 0.0, f64::INFINITY),
            Self::Relu2 => clip(x, 0.0, f64::INFINITY).powi(2),
            Self::Relu6 => clip(x, 0.0, 6.0),
            Self::LeakyRelu => x * if x < 0.0 { 0.01 } else { 1.0 },
            Self::Selu => SELU_SCALE * if x > 0.0 { x } else { SELU_ALPHA * libm::expm1(x) },
            Self::Silu => x * sigmoid(x),
            Self::Mish => x * libm::tanh(softplus(x)),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => libm::tanh(x),
            Self::HardSwish => x * clip(x + 3.0, 0.0, 6.0) / 6.0,
            Self::Laplace => {
                0.5 * (1.0 + libm::erf((x - LAPLACE_MEAN) / (LAPLACE_STD * std::f64::consts::SQRT_2)))
            }
        }
    }

    /// f′(x), with the subgradient that the reference's autograd takes at a kink.
    pub fn derivative_f64(self, x: f64) -> f64 {
        let within = |low: f64, high: f64| f64::from(u8::from(x > low && x < high));
        let y = match self {
            Self::Identity => 1.0,
            Self::Gelu => gelu_derivative(x),
            Self::Gelu10 => gelu_derivative(x) * f64::from(u8::from(gelu(x).abs() < 10.0)),
            Self::GeluTanh => {
                let t = libm::tanh(gelu_tanh_argument(x));
                let slope = GELU_TANH_SCALE * (1.0 + 3.0 * GELU_TANH_CUBIC * x * x);
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope
            }
            Self::QuickGelu => {
                let s = sigmoid(1.702 * x);
                s + 1.702 * x * s * (1.0 - s)
            }
            Self::Relu => within(0.0, f64::INFINITY),
            Self::Relu2 => 2.0 * x * within(0.0, f64::INFINITY),
            Self::Relu6 => within(0.0, 6.0),
            Self::LeakyRelu => {
                if x > 0.0 {
                    1.0
                } else {
                    0.01
                }
            }
            Self::Selu => SELU_SCALE * if x > 0.0 { 1.0 } else { SELU_ALPHA * libm::exp(x) },
            Self::Silu => {
                let s = sigmoid(x);
                s + x * s * (1.0 - s)
            }
            Self::Mish => {
                let t = libm::tanh(softplus(x));
                t + x * (1.0 - t * t) * sigmoid(x)
            }
            Self::Sigmoid => {
                let s = sigmoid(x);
                s * (1.0 - s)
            }
            Self::Tanh => 1.0 - libm::tanh(x).powi(2),
            Self::HardSwish => {
                if x >= 3.0 {
                    1.0
                } else {
                    (2.0 * x + 3.0) / 6.0 * within(-3.0, 3.0)
                }
            }
            Self::Laplace => {
                let z = (x - LAPLACE_MEAN) / LAPLACE_STD;
                libm::exp(-0.5 * z * z) / (LAPLACE_STD * (2.0 * std::f64::consts::PI).sqrt())
            }
        };
        // A comparison hides NaN; the reference's gradient of NaN is NaN for every smooth function.
        if x.is_nan() { f64::NAN } else { y }
    }
}

impl FromStr for Activation {
    type Err = Error;

    /// Takes the value of `hidden_act` in a `config.json`.
    fn from_str(name: &str) -> Result<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation).ok_or_else(|| {
            let known: Vec<_> = NAMES.iter().map(|(known, _)| *known).collect();
            Error::Shape {
                op: "activation",
                expected: format!("one of {}", known.join(", ")),
                found: format!("{name:?}"),
            }
        })
    }
}

/// As `f64::clamp`, which also lets NaN through, but without its panic path.
fn clip(x: f64, low: f64, high: f64) -> f64 {
    if x < low {
        low
    } else if x > high {
        high
    } else {
        x
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// ln(1 + eˣ), without overflow for large x.
fn softplus(x: f64) -> f64 {
    if x > 30.0 { x } else { libm::log1p(libm::exp(x)) }
}

fn gelu(x: f64) -> f64 {
    // erfc keeps the relative precision of the left tail, where 1 + erf cancels.
    0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

fn gelu_derivative(x: f64) -> f64 {
    let cdf = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    let pdf = libm::exp(-0.5 * x * x) / (2.0 * std::f64::consts::PI).sqrt();
    // 0·∞ is NaN, but the density wins against any power of x.
    if pdf == 0.0 { cdf } else { cdf + x * pdf }
}

fn gelu_tanh_argument(x: f64) -> f64 {
    GELU_TANH_SCALE * (x + GELU_TANH_CUBIC * x * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_an_unknown_one_is_named() {
        for (name, activation) in NAMES {
            assert_eq!(name.parse::<Activation>().unwrap(), *activation);
        }
        let message = "gelo".parse::<Activation>().unwrap_err().to_string();
        assert!(message.contains("\"gelo\"") && message.contains("quick_gelu"), "{message}");
    }

    #[test]
    fn derivatives_agree_with_central_differences() {
        for &(name, activation) in NAMES {
            for x in [-4.3f32, -2.9, -1.0, -0.4, 0.3, 0.9, 2.2, 4.1, 7.7] {
                let h = 1e-2f32;
                let (right, left) = (activation.value(x + h), activation.value(x - h));
                let slope = (right - left) / ((x + h) - (x - h));
                let error = (slope - activation.derivative(x)).abs();
                assert!(error < 1e-3, "{name} at {x}: difference quotient {slope}, error {error}");
            }
        }
    }

    #[test]
    fn nan_stays_nan_and_infinities_have_their_limits() {
        for &(name, activation) in NAMES {
            assert!(activation.value(f32::NAN).is_nan(), "{name}");
            assert!(activation.derivative(f32::NAN).is_nan(), "{name}");
        }
        assert_eq!(Activation::Relu.value(f32::NEG_INFINITY), 0.0);
        assert_eq!(Activation::Gelu.value(f32::INFINITY), f32::INFINITY);
        assert_eq!(Activation::Gelu.derivative(f32::INFINITY), 1.0);
    }
}
