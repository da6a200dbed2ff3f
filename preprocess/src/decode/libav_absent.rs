//! FFmpeg's libraries inside this process: not compiled in.

use std::path::Path;

use super::{VideoOptions, VideoReader};
use crate::{Error, Result};

/// Says that there is no such backend in this program.
pub(super) fn open(_path: &Path, _options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    Err(Error::Option {
        name: "decoder",
        expected: "auto, builtin or ffmpeg".to_owned(),
        found: "libav, which is not compiled in".to_owned(),
    })
}
