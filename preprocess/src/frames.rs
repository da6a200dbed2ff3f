//! Decoded frames, before any processing.

use crate::{Error, Result};

/// RGB frames of one video: `(T, H, W, 3)`, 8 bits a channel, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    data: Vec<u8>,
    num_frames: usize,
    height: usize,
    width: usize,
}

impl Frames {
    /// Wraps `data`, which holds `num_frames · height · width · 3` bytes.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length of `data` is another one, or a size is zero.
    pub fn new(data: Vec<u8>, num_frames: usize, height: usize, width: usize) -> Result<Self> {
        let bytes = num_frames.checked_mul(height).and_then(|n| n.checked_mul(width)?.checked_mul(3));
        if bytes != Some(data.len()) || data.is_empty() {
            return Err(Error::Shape {
                what: "frames",
                expected: format!("{num_frames}×{height}×{width}×3 bytes, at least one"),
                found: format!("{} bytes", data.len()),
            });
        }
        Ok(Self { data, num_frames, height, width })
    }

    /// T.
    pub fn num_frames(&self) -> usize {
        self.num_frames
    }

    /// H, in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// W, in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All bytes, `(T, H, W, 3)`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// One frame, `(H, W, 3)`.
    ///
    /// # Panics
    /// When `index` is not below [`Frames::num_frames`].
    pub fn frame(&self, index: usize) -> &[u8] {
        let size = self.height * self.width * 3;
        &self.data[index * size..(index + 1) * size]
    }
}
