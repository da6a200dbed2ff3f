//! Whose arithmetic a processor follows.

use std::fmt;
use std::str::FromStr;

use super::options::{Resample, invalid};
use crate::Error;

/// The library whose numbers are wanted, bit for bit: resizing, the place of an odd row of padding, and the
/// precision of rescaling and normalising all follow from it.
///
/// | name | resize | odd row or column | values |
/// |---|---|---|---|
/// | `torchvision` | 16-bit weights, width first | cut or padded at the far end | f32, rescale fused into normalise |
/// | `pillow` | 22-bit weights, height first where that is less work | cut at the far end, padded at the near end | rescale in f64 to f32, then normalise |
/// | `pillow-12` | as `pillow`, but width first, save in strips over 100 times as high as wide | as `pillow` | as `pillow` |
/// | `opencv-linear` | two taps, no antialiasing | the middle rounded to the even pixel | as `pillow` |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// `VideoMAEImageProcessor` and `VideoMAEVideoProcessor` of transformers 5, on a CPU with AVX2 or better.
    #[default]
    Torchvision,
    /// `VideoMAEImageProcessorPil` of transformers 5 and every image processor of transformers 4, with Pillow 13.
    Pillow,
    /// The same with Pillow 12.3. Versions from 11.3 to 12.1 differ from it in narrow strips alone, where they too go
    /// width first.
    Pillow12,
    /// OpenCV's `INTER_LINEAR`, as the official evaluation code resizes.
    OpencvLinear,
}

impl Numerics {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Torchvision, Self::Pillow, Self::Pillow12, Self::OpencvLinear];

    /// The name, as on a command line or under `numerics` in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Torchvision => "torchvision",
            Self::Pillow => "pillow",
            Self::Pillow12 => "pillow-12",
            Self::OpencvLinear => "opencv-linear",
        }
    }

    /// Refuses a filter that the library does not have.
    pub(crate) fn check(self, filter: Resample) -> Result<(), Error> {
        use Resample::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        let known: &[Resample] = match self {
            Self::Torchvision => &[Nearest, Lanczos, Bilinear, Bicubic],
            Self::Pillow | Self::Pillow12 => &[Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming],
            Self::OpencvLinear => &[Bilinear],
        };
        if known.contains(&filter) {
            return Ok(());
        }
        let names: Vec<String> = known.iter().map(Resample::to_string).collect();
        let expected = format!("a filter of the numerics {self}: {}", names.join(", "));
        Err(invalid("resample", expected, filter))
    }

    /// Whether frames go through Pillow, whichever version.
    pub(crate) fn is_pillow(self) -> bool {
        matches!(self, Self::Pillow | Self::Pillow12)
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Numerics {
    type Err = Error;

    /// The numerics of this name; `pillow-13` is another name of `pillow`.
    fn from_str(name: &str) -> Result<Self, Error> {
        if name == "pillow-13" {
            return Ok(Self::Pillow);
        }
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|numerics| numerics.name() == name);
        found.ok_or_else(|| invalid("numerics", format!("one of {}", names()), format!("{name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for numerics in Numerics::ALL {
            assert_eq!(numerics.to_string().parse::<Numerics>().unwrap(), numerics);
        }
        assert_eq!("pillow-13".parse::<Numerics>().unwrap(), Numerics::Pillow);
        let message = "Pillow".parse::<Numerics>().unwrap_err().to_string();
        assert_eq!(
            message,
            "numerics: expected one of torchvision, pillow, pillow-12, opencv-linear, found \"Pillow\""
        );
    }
}
