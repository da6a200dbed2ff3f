//! What a processor does to every frame: the options, their defaults and their checks.

use std::fmt;

use super::Numerics;
use crate::resize::MAX_EDGE;
use crate::{Error, Result};

/// The options of both processors, under the names of transformers.
///
/// The order of the steps is fixed: RGB, resize, centre crop, rescale, normalise. The defaults are those of the
/// class; published checkpoints bring their own `image_mean` and `image_std` in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessorOptions {
    /// Whose arithmetic to follow. Not an option of the reference, where the installed libraries decide.
    pub numerics: Numerics,
    /// Whether to expand grey frames to RGB and to blend RGBA frames with white.
    pub do_convert_rgb: bool,
    /// Whether to resize frames to `size`.
    pub do_resize: bool,
    /// The size to resize to.
    pub size: Size,
    /// The filter to resize with.
    pub resample: Resample,
    /// Whether to cut `crop_size` out of the centre, after padding smaller frames with zeros.
    pub do_center_crop: bool,
    /// The size to cut out; only [`Size::Exact`] will do.
    pub crop_size: Size,
    /// Whether to multiply levels by `rescale_factor`.
    pub do_rescale: bool,
    /// The factor, 1/255 for values in `[0, 1]`.
    pub rescale_factor: f64,
    /// Whether to subtract `image_mean` and divide by `image_std`.
    pub do_normalize: bool,
    /// The mean to subtract, in units of the rescaled values.
    pub image_mean: ChannelValues,
    /// The deviation to divide by, in units of the rescaled values.
    pub image_std: ChannelValues,
}

impl Default for ProcessorOptions {
    /// The class defaults of `VideoMAEImageProcessor`: the short edge to 224, the centre 224×224, mean and
    /// deviation 0.5.
    fn default() -> Self {
        Self {
            numerics: Numerics::Torchvision,
            do_convert_rgb: false,
            do_resize: true,
            size: Size::ShortestEdge(224),
            resample: Resample::Bilinear,
            do_center_crop: true,
            crop_size: Size::square(224),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: ChannelValues::from([0.5; 3]),
            image_std: ChannelValues::from([0.5; 3]),
        }
    }
}

impl ProcessorOptions {
    /// Refuses what cannot be honoured.
    ///
    /// # Errors
    /// [`Error::Option`] with the name of the option that is at fault. Options of a step that is switched off are
    /// not looked at.
    pub fn validate(&self) -> Result<()> {
        if self.do_resize {
            self.size.check("size")?;
            self.numerics.check(self.resample)?;
        }
        if self.do_center_crop {
            self.crop_size.check("crop_size")?;
            if !matches!(self.crop_size, Size::Exact { .. }) {
                return Err(invalid("crop_size", "height and width", self.crop_size));
            }
        }
        if self.do_rescale && !(self.rescale_factor.is_finite() && self.rescale_factor != 0.0) {
            return Err(invalid("rescale_factor", "a finite number other than 0", self.rescale_factor));
        }
        if self.do_normalize {
            self.image_mean.check("image_mean", |_| true, "finite numbers")?;
            self.image_std.check("image_std", |std| std != 0.0, "finite numbers other than 0")?;
        }
        Ok(())
    }

    /// The filter that is in use: without resizing none is, and the one that every library has stands in for it.
    pub(super) fn filter(&self) -> Resample {
        if self.do_resize { self.resample } else { Resample::Bilinear }
    }
}

/// The size of a frame after resizing or cropping, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The shorter edge gets this length; the longer one keeps the aspect ratio, rounded down.
    ShortestEdge(usize),
    /// Both edges are given; the aspect ratio is not kept.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// As [`Size::ShortestEdge`], but smaller where the longer edge would pass `longest_edge`.
    ShortestLongest {
        /// The length of the shorter edge.
        shortest_edge: usize,
        /// The most that the longer edge may have.
        longest_edge: usize,
    },
    /// The largest size of the same aspect ratio that fits.
    Within {
        /// The most rows.
        max_height: usize,
        /// The most columns.
        max_width: usize,
    },
}

impl Size {
    /// `edge` × `edge`.
    pub fn square(edge: usize) -> Self {
        Self::Exact { height: edge, width: edge }
    }

    /// The size under the names that the JSON files use.
    pub(super) fn entries(&self) -> Vec<(&'static str, usize)> {
        match *self {
            Self::ShortestEdge(edge) => vec![("shortest_edge", edge)],
            Self::Exact { height, width } => vec![("height", height), ("width", width)],
            Self::ShortestLongest { shortest_edge, longest_edge } => {
                vec![("longest_edge", longest_edge), ("shortest_edge", shortest_edge)]
            }
            Self::Within { max_height, max_width } => {
                vec![("max_height", max_height), ("max_width", max_width)]
            }
        }
    }

    fn check(&self, name: &'static str) -> Result<()> {
        if self.entries().iter().all(|(_, edge)| (1..=MAX_EDGE).contains(edge)) {
            return Ok(());
        }
        Err(invalid(name, format!("edges from 1 to {MAX_EDGE}"), self))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> =
            self.entries().iter().map(|(name, edge)| format!("{name} {edge}")).collect();
        f.write_str(&entries.join(", "))
    }
}

/// A resampling filter, numbered as in Pillow and in the JSON files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the filters say it")]
pub enum Resample {
    Nearest = 0,
    Lanczos = 1,
    Bilinear = 2,
    Bicubic = 3,
    Box = 4,
    Hamming = 5,
}

impl Resample {
    /// The filter of this number, if there is one.
    pub fn from_number(number: u64) -> Option<Self> {
        use Resample::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming]
            .into_iter()
            .find(|&filter| filter as u64 == number)
    }
}

impl fmt::Display for Resample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", *self as u8)
    }
}

/// A number for every channel, or one number for all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelValues {
    /// One number for all channels.
    All(f64),
    /// One number per channel.
    Each(Vec<f64>),
}

impl ChannelValues {
    /// The value of channel `channel` out of `channels`.
    ///
    /// A list of one number counts for all channels with torchvision, and for one channel with NumPy.
    pub(crate) fn get(
        &self,
        name: &'static str,
        numerics: Numerics,
        channel: usize,
        channels: usize,
    ) -> Result<f64> {
        let broadcasts = numerics == Numerics::Torchvision;
        match self {
            Self::All(value) => Ok(*value),
            Self::Each(values) if values.len() == channels => Ok(values[channel]),
            Self::Each(values) if values.len() == 1 && broadcasts => Ok(values[0]),
            Self::Each(_) if broadcasts => {
                Err(invalid(name, format!("1 or {channels} numbers, one per channel"), self))
            }
            Self::Each(_) => Err(invalid(name, format!("{channels} numbers, one per channel"), self)),
        }
    }

    fn check(&self, name: &'static str, allowed: fn(f64) -> bool, expected: &str) -> Result<()> {
        let values = match self {
            Self::All(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        };
        if !values.is_empty() && values.iter().all(|&v| v.is_finite() && allowed(v)) {
            return Ok(());
        }
        Err(invalid(name, expected, self))
    }
}

impl From<f64> for ChannelValues {
    fn from(value: f64) -> Self {
        Self::All(value)
    }
}

impl<const N: usize> From<[f64; N]> for ChannelValues {
    fn from(values: [f64; N]) -> Self {
        Self::Each(values.to_vec())
    }
}

impl fmt::Display for ChannelValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(value) => write!(f, "{value}"),
            Self::Each(values) => write!(f, "{values:?}"),
        }
    }
}

/// An [`Error::Option`].
pub(super) fn invalid(name: &'static str, expected: impl fmt::Display, found: impl fmt::Display) -> Error {
    Error::Option { name, expected: expected.to_string(), found: found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: fn(&mut ProcessorOptions)) -> String {
        let mut options = ProcessorOptions::default();
        change(&mut options);
        options.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        ProcessorOptions::default().validate().unwrap();
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        assert_eq!(
            message(|o| o.resample = Resample::Box),
            "resample: expected a filter of the numerics torchvision: Nearest (0), Lanczos (1), Bilinear (2), \
             Bicubic (3), found Box (4)"
        );
        assert!(
            message(|o| (o.numerics, o.resample) = (Numerics::OpencvLinear, Resample::Bicubic))
                .ends_with("opencv-linear: Bilinear (2), found Bicubic (3)")
        );
        assert_eq!(
            message(|o| o.crop_size = Size::ShortestEdge(18)),
            "crop_size: expected height and width, found shortest_edge 18"
        );
        assert!(message(|o| o.size = Size::ShortestEdge(0)).starts_with("size: expected edges from 1"));
        assert!(message(|o| o.size = Size::square(1 << 40)).starts_with("size: "));
        assert!(message(|o| o.rescale_factor = 0.0).starts_with("rescale_factor: "));
        assert!(message(|o| o.rescale_factor = f64::NAN).starts_with("rescale_factor: "));
        assert!(message(|o| o.image_std = 0.0.into()).starts_with("image_std: "));
        assert!(message(|o| o.image_std = [0.5, 0.0, 0.5].into()).starts_with("image_std: "));
        assert!(message(|o| o.image_mean = [f64::INFINITY].into()).starts_with("image_mean: "));
        assert!(message(|o| o.image_mean = ChannelValues::Each(vec![])).starts_with("image_mean: "));
    }

    #[test]
    fn options_of_a_step_that_is_off_are_not_looked_at() {
        let options = ProcessorOptions {
            do_resize: false,
            resample: Resample::Box,
            do_normalize: false,
            image_std: 0.0.into(),
            ..ProcessorOptions::default()
        };
        options.validate().unwrap();
    }
}
