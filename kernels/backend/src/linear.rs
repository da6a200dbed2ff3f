//! Packed weights.

use std::{any::Any, fmt, str::FromStr};

use crate::{DType, Error, Result, View};

/// The precision of a linear layer: what its weights are kept in and what its input is rounded to before it is
/// multiplied. Sums are f32, or exact, whatever the precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightFormat {
    /// Single precision.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// Integers of 8 bits: weights from −127 to 127 times a scale for each output feature, inputs from 0 to 255 times a
    /// scale for each row, plus the least number of the row. The scales are those of the largest number, so a row or a
    /// feature with NaN or an infinity becomes NaN as a whole.
    Int8,
}

impl WeightFormat {
    /// Every format with its name.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::F16, Self::Int8];

    /// The element type of numbers in this precision; `None` for integers, which mean something only with their scales.
    pub const fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::Bf16 => Some(DType::Bf16),
            Self::F16 => Some(DType::F16),
            Self::Int8 => None,
        }
    }

    /// The format that keeps weights as elements of this type; `None` for integers.
    pub const fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::F32),
            DType::Bf16 => Some(Self::Bf16),
            DType::F16 => Some(Self::F16),
            DType::I32 | DType::U8 => None,
        }
    }
}

impl FromStr for WeightFormat {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let known = || Self::ALL.map(|format| format.to_string()).join(", ");
        let found = Self::ALL.into_iter().find(|format| format.to_string() == name);
        found.ok_or_else(|| format!("expected one of {}, found {name:?}", known()))
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

/// Some output features of a linear layer. A layer is packed from one or more blocks stacked in order, so
/// that separate q, k and v matrices become one fused layer without a copy on the host.
#[derive(Clone, Copy, Debug)]
pub struct LinearBlock<'a> {
    /// `(out, in)`.
    pub weight: View<'a>,
    /// `(out)`; `None` is all zeros.
    pub bias: Option<View<'a>>,
}

/// Weights in the form one backend packed them. Each backend has a type of its own.
pub trait PackedWeights: Any + Send + Sync {}

/// A linear layer `y = x·Wᵀ + b`: packed once at load, opaque, and known to the backend that packed it.
pub struct Linear {
    in_features: usize,
    out_features: usize,
    format: WeightFormat,
    packed: Box<dyn PackedWeights>,
}

impl Linear {
    /// Wraps packed weights. For backends; everyone else calls [`crate::Backend::pack_linear`].
    pub fn from_packed(
        in_features: usize,
        out_features: usize,
        format: WeightFormat,
        packed: impl PackedWeights,
    ) -> Self {
        Self { in_features, out_features, format, packed: Box::new(packed) }
    }

    /// The width of a row of x.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// The width of a row of y.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// The precision of the weights.
    pub fn format(&self) -> WeightFormat {
        self.format
    }

    /// The packed weights, if backend `expected` packed them.
    ///
    /// # Errors
    /// [`Error::Foreign`] when another backend did.
    pub fn packed<P: PackedWeights>(&self, op: &'static str, expected: &str) -> Result<&P> {
        let any: &dyn Any = &*self.packed;
        any.downcast_ref().ok_or_else(|| Error::Foreign { op, expected: expected.to_owned() })
    }

    /// As [`Linear::packed`], to write to.
    ///
    /// # Errors
    /// [`Error::Foreign`] when another backend packed them.
    pub fn packed_mut<P: PackedWeights>(&mut self, op: &'static str, expected: &str) -> Result<&mut P> {
        let any: &mut dyn Any = &mut *self.packed;
        any.downcast_mut().ok_or_else(|| Error::Foreign { op, expected: expected.to_owned() })
    }
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linear {} -> {} {}", self.in_features, self.out_features, self.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_an_unknown_one_is_told_the_others() {
        for format in WeightFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        let error = "fp32".parse::<WeightFormat>().unwrap_err();
        assert_eq!(error, "expected one of f32, bf16, f16, int8, found \"fp32\"");
    }
}
