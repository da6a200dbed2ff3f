//! Grey and RGBA frames to RGB, as each class of the reference does it.

use std::borrow::Cow;

use super::options::invalid;
use super::{Numerics, ProcessorOptions};
use crate::view::Image;
use crate::{FramesView, Result};

/// How frames become RGB: grey is repeated, RGBA is blended with white.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    /// Not at all.
    None,
    /// The image processor of torchvision: in f32 from 0 to 1, cut off to levels.
    ImageTorchvision,
    /// The image processor on NumPy: in f64, rounded half to even.
    ImageNumpy,
    /// The video processor: in f32 from 0 to 255, not rounded to levels.
    Video,
}

/// The processors, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Image,
    Video,
}

impl Conversion {
    pub(super) fn of(options: &ProcessorOptions, class: Class) -> Self {
        match (options.do_convert_rgb, options.numerics, class) {
            (false, ..) => Self::None,
            (true, Numerics::Torchvision, Class::Video) => Self::Video,
            (true, Numerics::Torchvision, Class::Image) => Self::ImageTorchvision,
            (true, ..) => Self::ImageNumpy,
        }
    }

    /// Whether some pixel of these frames lets the white background through. The video processor drops the fourth
    /// channel of a video without one, and otherwise leaves the world of bytes with all of its frames.
    pub(super) fn blends(self, frames: FramesView<'_>, indices: &[usize]) -> bool {
        let transparent = |&index: &usize| match frames.frame(index) {
            Image::Bytes(bytes) => bytes.iter().skip(3).step_by(4).any(|&alpha| alpha < 255),
            Image::Values(values) => values.iter().skip(3).step_by(4).any(|&alpha| alpha < 255.0),
        };
        frames.num_channels() == 4 && (self != Self::Video || indices.iter().any(transparent))
    }

    /// Converts a frame of `channels` channels; `blends` as from [`Conversion::blends`].
    pub(super) fn apply<'a>(self, image: Image<'a>, channels: usize, blends: bool) -> Result<Image<'a>> {
        if self == Self::None || channels == 3 {
            return Ok(image);
        }
        if channels == 1 {
            return Ok(match image {
                Image::Bytes(bytes) => Image::Bytes(bytes.iter().flat_map(|&level| [level; 3]).collect()),
                Image::Values(values) => Image::Values(values.iter().flat_map(|&value| [value; 3]).collect()),
            });
        }
        Ok(match image {
            Image::Bytes(bytes) if !blends => Image::Bytes(without_alpha(&bytes)),
            Image::Values(values) if !blends => Image::Values(without_alpha(&values)),
            Image::Bytes(bytes) => match self {
                Self::ImageTorchvision => Image::Bytes(blended(&bytes, torchvision_level)),
                Self::ImageNumpy | Self::None => Image::Bytes(blended(&bytes, numpy_level)),
                Self::Video => Image::Values(blended(&bytes, |level, alpha| {
                    video_value(f32::from(level), f32::from(alpha))
                })),
            },
            Image::Values(values) if self == Self::Video => Image::Values(blended(&values, video_value)),
            Image::Values(values) => {
                if let Some(&outside) = values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
                    let expected = "RGBA values from 0 to 1, to be blended with white";
                    return Err(invalid("do_convert_rgb", expected, outside));
                }
                Image::Values(blended(&values, |value, alpha| value * alpha + (1.0 - alpha)))
            }
        })
    }
}

fn without_alpha<S: Copy>(image: &[S]) -> Cow<'static, [S]>
where
    [S]: ToOwned<Owned = Vec<S>>,
{
    image.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect::<Vec<S>>().into()
}

/// Blends the colours of every pixel by a function of colour and alpha.
fn blended<S: Copy, R: Clone + 'static>(image: &[S], blend: impl Fn(S, S) -> R) -> Cow<'static, [R]> {
    let pixel = |pixel: &[S]| [0, 1, 2].map(|channel| blend(pixel[channel], pixel[3]));
    image.chunks_exact(4).flat_map(pixel).collect::<Vec<R>>().into()
}

fn torchvision_level(level: u8, alpha: u8) -> u8 {
    let [level, alpha] = [level, alpha].map(|sample| f32::from(sample) / 255.0);
    // Just below 256, so that a value of one becomes 255 and nothing wraps around.
    const LEVELS: f32 = 255.999;
    ((level * alpha + (1.0 - alpha)) * LEVELS) as u8
}

fn numpy_level(level: u8, alpha: u8) -> u8 {
    let alpha = f64::from(alpha) / 255.0;
    (alpha * f64::from(level) + (1.0 - alpha) * 255.0).round_ties_even() as u8
}

fn video_value(value: f32, alpha: f32) -> f32 {
    let alpha = alpha / 255.0;
    (1.0 - alpha) * 255.0 + alpha * value
}
