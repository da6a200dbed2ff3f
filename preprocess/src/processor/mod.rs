//! The two processors, their options and their files.

mod config;
mod files;
mod image;
mod options;
mod pipeline;
#[cfg(test)]
mod tests;
mod video;

#[expect(deprecated, reason = "the name of older code and files is kept")]
pub use image::VideoMAEFeatureExtractor;
pub use image::VideoMAEImageProcessor;
pub use options::{ChannelValues, ProcessorOptions, Resample, Size};
pub use video::{SamplingOptions, VideoFeatures, VideoInput, VideoMAEVideoProcessor, VideoMetadata};
