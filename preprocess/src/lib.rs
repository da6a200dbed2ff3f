//! Video files in, `pixel_values` out.
//!
//! Four steps lead from a file to what the model takes, each a module of its own:
//!
//! 1. [`decode`]: open a video, see how many frames it has, decode some of them to RGB [`Frames`];
//! 2. [`sample`]: choose which;
//! 3. [`processor`]: resize, crop and normalise them, by the options of a checkpoint;
//! 4. [`masking`]: for pre-training, choose the tokens to hide.
//!
//! The numbers are those of transformers 5 with its default backend, bit for bit: frames are resized in 8 bits with
//! torchvision's integer weights ([`resize`]), and every level then goes through a table. Which numbers a checkpoint
//! wants is written in its `preprocessor_config.json`; the class defaults (mean and deviation 0.5) are rarely those.
//!
//! ```
//! use videomae_preprocess::{Frames, VideoMAEImageProcessor, open_video, read_frames, sample};
//!
//! # fn main() -> videomae_preprocess::Result<()> {
//! /// 16 frames, evenly over a whole video file.
//! fn sixteen_frames(path: &str) -> videomae_preprocess::Result<Frames> {
//!     let mut video = open_video(path)?;
//!     let indices = sample::uniform(16, video.info().num_frames)?;
//!     read_frames(&mut *video, &indices)
//! }
//!
//! // Or frames from anywhere else: 16 of 120×160 grey pixels.
//! let frames = Frames::new(vec![128; 16 * 120 * 160 * 3], 16, 120, 160)?;
//!
//! let config = r#"{"size": {"shortest_edge": 224}, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}"#;
//! let processor = VideoMAEImageProcessor::from_json(config)?; // or from_pretrained("path/of/checkpoint")
//! let pixel_values = processor.preprocess([&frames])?;
//! assert_eq!(pixel_values.shape, [1, 16, 3, 224, 224]); // (B, T, C, H, W)
//! # Ok(())
//! # }
//! ```
//!
//! Pitfalls: videos of one batch need equal T; a video with fewer frames than asked for is an error, never padded;
//! [`VideoMAEVideoProcessor`] takes all frames unless `do_sample_frames` is set, as in the reference.

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

pub use decode::{
    VideoInfo, VideoOptions, VideoReader, open_video, open_video_with, read_clips, read_frames,
};
pub use error::{Error, Result};
pub use frames::Frames;
pub use npy::{parse_npy, read_npy, write_npy};
pub use pixel_values::{PixelLevels, PixelValues};
#[expect(deprecated, reason = "the name of older code and files is kept")]
pub use processor::VideoMAEFeatureExtractor;
pub use processor::{VideoMAEImageProcessor, VideoMAEVideoProcessor};
pub use view::{ChannelOrder, FramesView, Samples};
