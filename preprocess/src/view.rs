//! Borrowed frames, as the processors take them.

use crate::{Error, Frames, Result};

/// Borrowed frames of one video: `(T, H, W, C)`, 8 bits a channel, row-major, channels last.
///
/// The layout is never guessed from the numbers: an array that is stored channels first has to be transposed by
/// its owner. C is 3 (RGB), 1 (grey) or 4 (a fourth channel, such as alpha).
#[derive(Clone, Copy, Debug)]
pub struct FramesView<'a> {
    data: &'a [u8],
    shape: [usize; 4],
}

impl<'a> FramesView<'a> {
    /// Wraps `data`, which holds `T · H · W · C` bytes for `shape` = `[T, H, W, C]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the length of `data` is another one, a size is zero, or C is not 1, 3 or 4.
    pub fn new(data: &'a [u8], shape: [usize; 4]) -> Result<Self> {
        let bytes = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        if bytes != Some(data.len()) || data.is_empty() {
            return Err(Error::Shape {
                what: "frames",
                expected: format!("{shape:?} bytes, at least one"),
                found: format!("{} bytes", data.len()),
            });
        }
        if !matches!(shape[3], 1 | 3 | 4) {
            return Err(Error::Shape {
                what: "frames",
                expected: "1, 3 or 4 channels last, (T, H, W, C)".to_owned(),
                found: format!("{shape:?}"),
            });
        }
        Ok(Self { data, shape })
    }

    /// T.
    pub fn num_frames(&self) -> usize {
        self.shape[0]
    }

    /// H, in pixels.
    pub fn height(&self) -> usize {
        self.shape[1]
    }

    /// W, in pixels.
    pub fn width(&self) -> usize {
        self.shape[2]
    }

    /// C.
    pub fn num_channels(&self) -> usize {
        self.shape[3]
    }

    /// One frame, `(H, W, C)`.
    ///
    /// # Panics
    /// When `index` is not below [`FramesView::num_frames`].
    pub fn frame(&self, index: usize) -> &'a [u8] {
        let size = self.shape[1] * self.shape[2] * self.shape[3];
        &self.data[index * size..(index + 1) * size]
    }
}

impl<'a> From<&'a Frames> for FramesView<'a> {
    fn from(frames: &'a Frames) -> Self {
        Self { data: frames.as_bytes(), shape: [frames.num_frames(), frames.height(), frames.width(), 3] }
    }
}
