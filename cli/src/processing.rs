//! From the frames of a clip to what the model takes.

use anyhow::{Result, bail};
use clap::Args;
use videomae::{VideoInputs, VideoMAEConfig};
use videomae_preprocess::{
    Frames, PixelLevels, PixelValues, VideoMAEImageProcessor,
    processor::{Numerics, Recipe, Transform},
};

/// How frames become pixels of the model's size.
#[derive(Args)]
pub(crate) struct ProcessingOptions {
    /// Whose rounding to follow: torchvision, pillow, pillow-12 or opencv-linear [default: what the checkpoint says,
    /// else torchvision]
    #[arg(long, value_name = "NAME", conflicts_with = "transform")]
    numerics: Option<Numerics>,

    /// In place of the checkpoint's processor, with its mean and deviation: notebook-validation, official-validation
    /// or official-test, which takes three views of each clip
    #[arg(long, value_name = "NAME")]
    transform: Option<Recipe>,
}

/// What was chosen, with its numbers.
pub(crate) enum Processing {
    Processor(VideoMAEImageProcessor),
    Transform(Transform),
}

impl Processing {
    /// The checkpoint's processor with the options of the command line.
    pub(crate) fn new(
        processor: VideoMAEImageProcessor,
        options: &ProcessingOptions,
        config: &VideoMAEConfig,
    ) -> Result<Self> {
        let Some(recipe) = options.transform else {
            return Ok(Self::Processor(match options.numerics {
                Some(numerics) => processor.with(|options| options.numerics = numerics),
                None => processor,
            }));
        };
        let size = config.image_size;
        if size.height != size.width {
            bail!(
                "--transform {recipe}: expected a model of square videos, found {}×{}",
                size.height,
                size.width
            );
        }
        let mut transform = Transform::new(recipe);
        transform.size = size.height;
        transform.image_mean = processor.options().image_mean.clone();
        transform.image_std = processor.options().image_std.clone();
        Ok(Self::Transform(transform))
    }

    /// The views of one clip.
    pub(crate) fn views(&self, clip: &Frames) -> Result<Views> {
        Ok(match self {
            Self::Processor(processor) => Views::Levels(processor.preprocess_levels([clip])?),
            Self::Transform(transform) => Views::Values(transform.preprocess([clip])?),
        })
    }
}

/// The views of a clip, `(views, T, C, H, W)`.
pub(crate) enum Views {
    /// What a processor leaves to the model's device.
    Levels(PixelLevels),
    /// Of a transform that interpolates after it has normalised, or may.
    Values(PixelValues),
}

impl Views {
    /// What the model takes.
    pub(crate) fn inputs(&self) -> VideoInputs<'_> {
        match self {
            Self::Levels(levels) => VideoInputs::from_levels(&levels.data, &levels.table, levels.shape),
            Self::Values(values) => VideoInputs::new(&values.data, values.shape),
        }
    }
}
