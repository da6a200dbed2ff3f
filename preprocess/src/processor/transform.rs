//! Transforms of other code than the processors, by name: those with which the published accuracies were measured.

use std::fmt;
use std::str::FromStr;

use super::options::invalid;
use super::pipeline::{self, Crop, Selection};
use super::rgb::Class;
use super::{ChannelValues, Numerics, ProcessorOptions, Resample, Size};
use crate::resize::Resizer;
use crate::view::Image;
use crate::{Error, FramesView, PixelValues, Result};

/// Mean and deviation of ImageNet, with which VideoMAE was trained.
const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// A named order of steps from frames to `pixel_values`.
///
/// With s the size and x a level, channel by channel:
///
/// | name | steps | views |
/// |---|---|---|
/// | `notebook-validation` | (x/255 − mean)/std, then torchvision's antialiased resize to s×s on floats; the aspect ratio is not kept | 1 |
/// | `official-validation` | OpenCV's bilinear resize of the short side to s, the long side ⌊s·long/short⌋; the middle s×s from row ⌊(H−s)/2⌉ and column ⌊(W−s)/2⌉ on, halves to even; (x/255 − mean)/std | 1 |
/// | `official-test` | as before, but view k of n is the square that starts at ⌊k·((long − s)/(n − 1))⌋ along the long side | n |
///
/// The class of a video is that of the largest mean, over all clips and views, of the softmax of each: so the step
/// that merges the results of the official evaluation counts them (issue 46 of MCG-NJU/VideoMAE), as in the paper of
/// SlowFast (Feichtenhofer et al. 2019): "We average the softmax scores for prediction."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// Validation and test clips of the fine-tuning notebook and of the video classification guide.
    NotebookValidation,
    /// Validation in the official fine-tuning code.
    OfficialValidation,
    /// The multi-view test of the official fine-tuning code, whose accuracies the paper gives: 3 views of each clip.
    OfficialTest,
}

impl Recipe {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NotebookValidation, Self::OfficialValidation, Self::OfficialTest];

    /// The name, as on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotebookValidation => "notebook-validation",
            Self::OfficialValidation => "official-validation",
            Self::OfficialTest => "official-test",
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|recipe| recipe.name() == name);
        found.ok_or_else(|| invalid("transform", format!("one of {}", names()), format!("{name:?}")))
    }
}

/// A [`Recipe`] with its numbers.
///
/// ```
/// use videomae_preprocess::{Frames, processor::{Recipe, Transform}};
///
/// # fn main() -> videomae_preprocess::Result<()> {
/// // The frames of two clips of one video; five of them make the views of the paper, 5 × 3.
/// let clips = [0, 255].map(|level| Frames::new(vec![level; 16 * 60 * 80 * 3], 16, 60, 80));
/// let [first, second] = clips;
/// let views = Transform::new(Recipe::OfficialTest).preprocess([&first?, &second?])?;
/// assert_eq!(views.shape, [2 * 3, 16, 3, 224, 224]); // the views of the first clip, then those of the second
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// The steps.
    pub recipe: Recipe,
    /// Both edges of the result, 224 for all published models.
    pub size: usize,
    /// The views of each clip that [`Recipe::OfficialTest`] takes.
    pub num_views: usize,
    /// The mean to subtract; the notebook takes that of the checkpoint's processor.
    pub image_mean: ChannelValues,
    /// The deviation to divide by.
    pub image_std: ChannelValues,
}

impl Transform {
    /// The transform as published: 224×224, 3 views, mean and deviation of ImageNet.
    pub fn new(recipe: Recipe) -> Self {
        let [image_mean, image_std] = IMAGENET.map(ChannelValues::from);
        Self { recipe, size: 224, num_views: 3, image_mean, image_std }
    }

    /// The number of views that each clip gives.
    pub fn views_per_clip(&self) -> usize {
        if self.recipe == Recipe::OfficialTest { self.num_views } else { 1 }
    }

    /// Takes clips of equal T to `(clips · views, T, C, size, size)`, the views of a clip side by side.
    ///
    /// # Errors
    /// [`Error::Option`] when a number is invalid, or values come where OpenCV needs bytes; [`Error::Shape`] when
    /// there is no clip or the clips differ in T or C.
    pub fn preprocess<'a, V: Into<FramesView<'a>>>(
        &self,
        clips: impl IntoIterator<Item = V>,
    ) -> Result<PixelValues> {
        let views = self.views_per_clip();
        if views == 0 {
            return Err(invalid("num_views", "at least 1", views));
        }
        let options = self.options();
        let crops = match self.recipe {
            Recipe::OfficialTest => (0..views).map(|view| Crop::Along { view, views }).collect(),
            _ => vec![Crop::Centre],
        };
        let clips = clips.into_iter().map(Into::into);
        let selections: Vec<Selection<'_>> =
            clips.map(|clip| Selection { crops: crops.clone(), ..Selection::all(clip) }).collect();
        match self.recipe {
            Recipe::NotebookValidation => notebook(&options, &selections),
            _ => pipeline::run(&options, Class::Image, &selections),
        }
    }

    fn options(&self) -> ProcessorOptions {
        let (numerics, size) = match self.recipe {
            Recipe::NotebookValidation => (Numerics::Torchvision, Size::square(self.size)),
            _ => (Numerics::OpencvLinear, Size::ShortestEdge(self.size)),
        };
        ProcessorOptions {
            numerics,
            size,
            crop_size: Size::square(self.size),
            image_mean: self.image_mean.clone(),
            image_std: self.image_std.clone(),
            ..ProcessorOptions::default()
        }
    }
}

/// Normalises first and resizes the result, which the processors never do.
fn notebook(options: &ProcessorOptions, clips: &[Selection<'_>]) -> Result<PixelValues> {
    let shape = pipeline::output_shape(options, clips)?;
    let [_, _, channels, height, width] = shape;
    let numbers = |name, values: &ChannelValues| -> Result<Vec<f32>> {
        let number = |channel| Ok(values.get(name, options.numerics, channel, channels)? as f32);
        (0..channels).map(number).collect()
    };
    let (mean, std) =
        (numbers("image_mean", &options.image_mean)?, numbers("image_std", &options.image_std)?);
    let resizer = Resizer::with(options.numerics, Resample::Bilinear)?;
    let mut data = pipeline::zeros(&shape)?;
    let frames = clips.iter().flat_map(|clip| clip.indices.iter().map(|&index| (clip.frames, index)));
    for ((frames, index), out) in frames.zip(data.chunks_exact_mut(channels * height * width)) {
        let mut values = match frames.frame(index) {
            Image::Bytes(bytes) => bytes.iter().map(|&level| f32::from(level)).collect(),
            Image::Values(values) => values.into_owned(),
        };
        for pixel in values.chunks_exact_mut(channels) {
            for ((value, mean), std) in pixel.iter_mut().zip(&mean).zip(&std) {
                *value = (*value / 255.0 - mean) / std;
            }
        }
        let from = [frames.height(), frames.width(), channels];
        let resized = resizer.resize_values(&values, from, [height, width])?;
        for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
            for (out, pixel) in plane.iter_mut().zip(resized.chunks_exact(channels)) {
                *out = pixel[channel];
            }
        }
    }
    Ok(PixelValues { data, shape })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frames;

    #[test]
    fn names_lead_back() {
        for recipe in Recipe::ALL {
            assert_eq!(recipe.to_string().parse::<Recipe>().unwrap(), recipe);
        }
        let message = "official".parse::<Recipe>().unwrap_err().to_string();
        assert!(
            message.starts_with("transform: expected one of notebook-validation, official-"),
            "{message}"
        );
    }

    #[test]
    fn views_of_a_clip_lie_side_by_side() {
        // Columns of their own level, in two clips; the frames have the size already.
        let clip = |offset: u8| {
            let levels = (0..8 * 14).flat_map(|i| [(i % 14) as u8 + offset; 3]).collect();
            Frames::new(levels, 1, 8, 14).unwrap()
        };
        let mut transform = Transform::new(Recipe::OfficialTest);
        (transform.size, transform.image_mean, transform.image_std) = (8, 0.0.into(), (1.0 / 255.0).into());
        let views = transform.preprocess([&clip(0), &clip(100)]).unwrap();
        assert_eq!(views.shape, [6, 1, 3, 8, 8]);
        let corners: Vec<f32> = views.data.chunks_exact(3 * 8 * 8).map(|view| view[0].round()).collect();
        assert_eq!(corners, [0.0, 3.0, 6.0, 100.0, 103.0, 106.0]);
        transform.num_views = 0;
        assert_eq!(
            transform.preprocess([&clip(0)]).unwrap_err().to_string(),
            "num_views: expected at least 1, found 0"
        );
    }
}
