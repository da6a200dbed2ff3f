//! What a video decoder puts out, before it becomes RGB.

/// One decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// As almost every codec has it.
    Yuv(YuvFrame),
    /// As GIF and still images have it.
    Rgb(RgbFrame),
}

impl Picture {
    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::Yuv(frame) => (frame.width, frame.height),
            Self::Rgb(frame) => (frame.width, frame.height),
        }
    }
}

/// One decoded picture that is RGB already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbFrame {
    /// Pixels in a row.
    pub width: usize,
    /// Rows of pixels.
    pub height: usize,
    /// `(height, width, 3)`.
    pub data: Vec<u8>,
}

/// One decoded picture, 8-bit YUV 4:2:0: a luma sample per pixel, a pair of chroma samples per 2×2 pixels.
///
/// Decoding is normative, so every correct decoder gives the same planes; turning them into RGB is not, and is done
/// in one place for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YuvFrame {
    /// Pixels in a row.
    pub width: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Luma, `height · width`.
    pub y: Vec<u8>,
    /// Blue difference, `⌈height/2⌉ · ⌈width/2⌉`.
    pub u: Vec<u8>,
    /// Red difference, as large as `u`.
    pub v: Vec<u8>,
    /// How the samples are to be understood.
    pub colour: Colour,
    /// Even and odd rows were taken at different times, and chroma rows belong to one or the other.
    pub interlaced: bool,
}

/// What the numbers in the planes mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colour {
    /// Which primaries weights made luma.
    pub matrix: Matrix,
    /// Luma covers 0 to 255 and not 16 to 235.
    pub full_range: bool,
}

/// The weights of red, green and blue in luma, named as in ISO/IEC 23091-2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matrix {
    /// BT.601, also what an untagged video means to FFmpeg at any size.
    #[default]
    Bt601,
    /// BT.709.
    Bt709,
    /// FCC (1953).
    Fcc,
    /// SMPTE 240M.
    Smpte240m,
    /// BT.2020, non-constant luminance.
    Bt2020,
}

impl Matrix {
    /// The matrix with this code in H.264, HEVC, VP9 and MP4 headers; `None` for one whose conversion is not linear,
    /// or reserved. Code 0 (RGB) cannot apply to 4:2:0 and is read as unspecified, as FFmpeg does.
    pub(crate) fn from_code(code: u16) -> Option<Self> {
        match code {
            0 | 2 | 5 | 6 => Some(Self::Bt601),
            1 => Some(Self::Bt709),
            4 => Some(Self::Fcc),
            7 => Some(Self::Smpte240m),
            9 => Some(Self::Bt2020),
            _ => None,
        }
    }
}

impl YuvFrame {
    /// Keeps the top left `width × height` pixels.
    pub(crate) fn crop(self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self;
        }
        let plane = |data: &[u8], stride: usize, width: usize, height: usize| {
            data.chunks_exact(stride).take(height).flat_map(|row| &row[..width]).copied().collect()
        };
        let stride = self.width.div_ceil(2);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        Self {
            width,
            height,
            y: plane(&self.y, self.width, width, height),
            u: plane(&self.u, stride, half_width, half_height),
            v: plane(&self.v, stride, half_width, half_height),
            colour: self.colour,
            interlaced: self.interlaced,
        }
    }
}
