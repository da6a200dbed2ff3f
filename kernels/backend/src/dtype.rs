//! Element types.

use std::fmt;

/// The type of one element of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// The upper half of an `F32`.
    Bf16,
    /// IEEE half precision.
    F16,
    /// Indices and class labels.
    I32,
    /// Levels of pixels.
    U8,
}

impl DType {
    /// Bytes an element takes.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::U8 => 1,
        }
    }

    /// Whether it is one of the types that are converted to each other.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::Bf16 | Self::F16)
    }

    /// The distance from 1 to the next larger number; zero for integers.
    pub const fn epsilon(self) -> f32 {
        match self {
            Self::F32 => f32::EPSILON,
            Self::Bf16 => 0.007_812_5,
            Self::F16 => 0.000_976_562_5,
            Self::I32 | Self::U8 => 0.0,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::I32 => "i32",
            Self::U8 => "u8",
        })
    }
}
