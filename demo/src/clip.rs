//! A rendered clip: bytes and their shape.

/// Frames in every rendered clip: two seconds, and twice the 16 frames that the demo model samples.
pub const NUM_FRAMES: usize = 32;

/// Playback speed of every rendered clip.
pub const FRAMES_PER_SECOND: u32 = 16;

/// Width and height of a frame in pixels. The default, 128×96, is the size of [`render`](crate::render).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSize {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Default for FrameSize {
    fn default() -> Self {
        Self { width: 128, height: 96 }
    }
}

/// RGB frames in the layout of a `(T, H, W, 3)` array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    size: FrameSize,
    bytes: Vec<u8>,
}

impl Clip {
    pub(crate) fn new(size: FrameSize, bytes: Vec<u8>) -> Self {
        assert_eq!(
            bytes.len(),
            NUM_FRAMES * size.width * size.height * 3,
            "a clip is {NUM_FRAMES} RGB frames"
        );
        Self { size, bytes }
    }

    /// Width and height of every frame.
    pub fn size(&self) -> FrameSize {
        self.size
    }

    /// `[T, H, W, 3]`.
    pub fn shape(&self) -> [usize; 4] {
        [NUM_FRAMES, self.size.height, self.size.width, 3]
    }

    /// All bytes, `(T, H, W, 3)`, last axis fastest.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The frames in order, `(H, W, 3)` each.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.bytes.chunks_exact(self.size.width * self.size.height * 3)
    }

    /// The clip played backwards.
    pub fn reversed(&self) -> Clip {
        let bytes = self.frames().rev().flatten().copied().collect();
        Clip { size: self.size, bytes }
    }
}
