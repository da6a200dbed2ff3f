//! The two processors, their options, numerics and files, and transforms of other code by name.

mod config;
mod files;
mod image;
mod numerics;
mod options;
mod pipeline;
#[cfg(test)]
mod recorded;
mod rgb;
#[cfg(test)]
mod tests;
mod transform;
mod video;

#[expect(deprecated, reason = "the name of older code and files is kept")]
pub use image::VideoMAEFeatureExtractor;
pub use image::VideoMAEImageProcessor;
pub use numerics::Numerics;
pub use options::{ChannelValues, ProcessorOptions, Resample, Size};
pub use transform::{Recipe, Transform};
pub use video::{SamplingOptions, VideoFeatures, VideoInput, VideoMAEVideoProcessor, VideoMetadata};
