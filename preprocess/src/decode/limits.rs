//! What a file may ask for before it is refused.

use std::path::Path;
use std::time::Duration;

use crate::{Error, Result};

/// Bounds that keep a hostile or absurd file from exhausting memory or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Pixels in a row or a column: 16384, the largest side an H.264 level allows.
    pub side: usize,
    /// Pixels in a picture: 64 · 2^20, twice an 8K frame.
    pub pixels: usize,
    /// Bytes of RGB that one call may return: 2^31, sixteen 8K frames with room.
    pub output_bytes: usize,
    /// Time for one picture: a minute, a hundred times what the largest takes.
    pub per_picture: Duration,
    /// Time for one call: ten minutes.
    pub per_read: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            side: 16_384,
            pixels: 64 << 20,
            output_bytes: 1 << 31,
            per_picture: Duration::from_secs(60),
            per_read: Duration::from_secs(600),
        }
    }
}

impl Limits {
    /// Refuses a picture that is too large, before memory is set aside for it.
    pub(crate) fn check_picture(&self, path: &Path, width: usize, height: usize) -> Result<()> {
        if width > self.side || height > self.side || width.saturating_mul(height) > self.pixels {
            return Err(Error::VideoLimit {
                path: path.to_owned(),
                found: format!("{width}×{height} pixels"),
                limit: format!("{} a side and {} in all", self.side, self.pixels),
            });
        }
        Ok(())
    }

    /// Refuses to return more bytes than fit.
    pub(crate) fn check_output(&self, path: &Path, frames: usize, bytes_per_frame: usize) -> Result<()> {
        if frames.saturating_mul(bytes_per_frame) > self.output_bytes {
            return Err(Error::VideoLimit {
                path: path.to_owned(),
                found: format!("{frames} frames of {bytes_per_frame} bytes"),
                limit: format!("{} bytes at a time", self.output_bytes),
            });
        }
        Ok(())
    }
}
