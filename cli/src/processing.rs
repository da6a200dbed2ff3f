//! From the frames of a clip to what the model takes.

use anyhow::{Result, bail};
use clap::Args;
use videomae::VideoMAEConfig;
use videomae_preprocess::{
    Frames, PixelValues, VideoMAEImageProcessor,
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

    /// (views, T, C, H, W) of one clip.
    pub(crate) fn views(&self, clip: &Frames) -> Result<PixelValues> {
        Ok(match self {
            Self::Processor(processor) => processor.preprocess([clip])?,
            Self::Transform(transform) => transform.preprocess([clip])?,
        })
    }
}
