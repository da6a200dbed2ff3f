//! Video files in, `pixel_values` out.

mod crop;
pub mod decode;
mod error;
mod frames;
pub mod masking;
mod normalize;
mod npy;
mod pixel_values;
pub mod processor;
mod random;
pub mod resize;
pub mod sample;
mod view;

pub use decode::{VideoInfo, VideoOptions, VideoReader, open_video, open_video_with, read_frames};
pub use error::{Error, Result};
pub use frames::Frames;
pub use npy::{parse_npy, read_npy, write_npy};
pub use pixel_values::PixelValues;
#[expect(deprecated, reason = "the name of older code and files is kept")]
pub use processor::VideoMAEFeatureExtractor;
pub use processor::{VideoMAEImageProcessor, VideoMAEVideoProcessor};
pub use view::FramesView;
