//! What a video decoder puts out, before it becomes RGB.

/// One decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// As almost every codec has it.
    Yuv(YuvFrame),
    /// As codecs for a high dynamic range have it.
    DeepYuv {
        /// The picture.
        frame: YuvFrame<u16>,
        /// Bits in a sample, 9 to 16; the highest level is a power of two less one.
        bit_depth: u32,
        /// Where chroma samples lie.
        siting: Siting,
    },
    /// As GIF and still images have it.
    Rgb(RgbFrame),
}

impl Picture {
    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::Yuv(frame) => (frame.width, frame.height),
            Self::DeepYuv { frame, .. } => (frame.width, frame.height),
            Self::Rgb(frame) => (frame.width, frame.height),
        }
    }

    /// Says what the samples mean; RGB needs no words.
    pub(crate) fn tagged(mut self, colour: Colour) -> Self {
        match &mut self {
            Self::Yuv(frame) => frame.colour = colour,
            Self::DeepYuv { frame, .. } => frame.colour = colour,
            Self::Rgb(_) => {}
        }
        self
    }

    /// Keeps the top left `width × height` pixels of a picture in YUV, as containers ask for.
    pub(crate) fn crop(self, width: usize, height: usize) -> Self {
        match self {
            Self::Yuv(frame) => Self::Yuv(frame.crop(width, height)),
            Self::DeepYuv { frame, bit_depth, siting } => {
                Self::DeepYuv { frame: frame.crop(width, height), bit_depth, siting }
            }
            Self::Rgb(frame) => Self::Rgb(frame),
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

/// One decoded picture, YUV 4:2:0: a luma sample per pixel, a pair of chroma samples per 2×2 pixels; 8 bits a sample
/// unless said otherwise.
///
/// Decoding is normative, so every correct decoder gives the same planes; turning them into RGB is not, and is done
/// in one place for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YuvFrame<S = u8> {
    /// Pixels in a row.
    pub width: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Luma, `height · width`.
    pub y: Vec<S>,
    /// Blue difference, `⌈height/2⌉ · ⌈width/2⌉`.
    pub u: Vec<S>,
    /// Red difference, as large as `u`.
    pub v: Vec<S>,
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

/// Where a chroma sample lies within the 2×2 pixels that it serves, in halves of a pixel from the top left one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Siting {
    /// 0 for the left column, 1 for the middle.
    pub x: u8,
    /// 0 for the upper row, 1 for the middle, 2 for the lower row.
    pub y: u8,
}

impl Siting {
    /// In the middle, also what a stream that does not say means to FFmpeg, except in H.264 and HEVC.
    pub const CENTRE: Self = Self { x: 1, y: 1 };
    /// Between the two pixels of the left column, as H.264 and HEVC have it by default.
    pub const LEFT: Self = Self { x: 0, y: 1 };
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

impl<S: Copy> YuvFrame<S> {
    /// Joins planes if they have the sizes of 4:2:0, on which everything later relies.
    ///
    /// # Errors
    /// When they have not.
    pub(crate) fn from_planes((width, height): (usize, usize), planes: [Vec<S>; 3]) -> Result<Self, String> {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        let sizes = planes.each_ref().map(Vec::len);
        if width == 0 || height == 0 || sizes != [width * height, chroma, chroma] {
            return Err(format!("planes of {sizes:?} samples for {width}×{height} pixels"));
        }
        let [y, u, v] = planes;
        Ok(Self { width, height, y, u, v, colour: Colour::default(), interlaced: false })
    }

    /// Keeps the top left `width × height` pixels.
    pub(crate) fn crop(self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self;
        }
        let plane = |data: &[S], stride: usize, width: usize, height: usize| {
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
