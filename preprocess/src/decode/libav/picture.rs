//! FFmpeg's frames as pictures of this crate: planes without padding.

use ffmpeg_next::chroma::Location;
use ffmpeg_next::color::{Range, Space};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;

use crate::decode::yuv::{Colour, Matrix, Picture, Siting, YuvFrame};

/// Copies the planes of a frame.
///
/// # Errors
/// Those of [`colour`], and for planes in an unusual order.
pub(super) fn picture(frame: &Video) -> Result<Picture, String> {
    let (bit_depth, colour) = (bit_depth(frame)?, colour(frame)?);
    if bit_depth == 8 {
        let planes = tagged(frame, colour, |bytes, plane| plane.extend_from_slice(bytes), 128)?;
        return Ok(Picture::Yuv(planes));
    }
    let words = |bytes: &[u8], plane: &mut Vec<u16>| {
        plane.extend(bytes.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair)));
    };
    let planes = tagged(frame, colour, words, 1 << (bit_depth - 1))?;
    Ok(Picture::DeepYuv { frame: planes, bit_depth, siting: siting(frame.chroma_location()) })
}

/// Bits in a sample of a frame in 4:2:0.
fn bit_depth(frame: &Video) -> Result<u32, String> {
    match frame.format() {
        Pixel::YUV420P | Pixel::YUVJ420P | Pixel::GRAY8 => Ok(8),
        Pixel::YUV420P9LE => Ok(9),
        Pixel::YUV420P10LE => Ok(10),
        Pixel::YUV420P12LE => Ok(12),
        Pixel::YUV420P14LE => Ok(14),
        Pixel::YUV420P16LE => Ok(16),
        other => Err(format!("pictures in {other:?} (only YUV 4:2:0 is read by libav)")),
    }
}

/// The planes with what is known of them. `read` appends a row of bytes to a plane; a frame without chroma gets that of
/// `grey`.
fn tagged<S: Copy>(
    frame: &Video,
    colour: Colour,
    read: impl Fn(&[u8], &mut Vec<S>),
    grey: S,
) -> Result<YuvFrame<S>, String> {
    let size = (frame.width() as usize, frame.height() as usize);
    let chroma = (size.0.div_ceil(2), size.1.div_ceil(2));
    let plane = |index: usize, (width, height): (usize, usize)| {
        if index >= frame.planes() {
            return Ok(vec![grey; width * height]);
        }
        let (stride, row) = (frame.stride(index), width * size_of::<S>());
        // A picture that is stored from the bottom up has a negative stride, which the binding does not foresee.
        if stride > i32::MAX as usize || stride < row {
            return Err("rows of pictures are stored in an unusual order".to_owned());
        }
        let mut samples = Vec::with_capacity(width * height);
        let rows = frame.data(index).chunks_exact(stride).take(height);
        rows.for_each(|bytes| read(&bytes[..row], &mut samples));
        Ok(samples)
    };
    let planes = [plane(0, size)?, plane(1, chroma)?, plane(2, chroma)?];
    let planes = YuvFrame::from_planes(size, planes)?;
    Ok(YuvFrame { colour, interlaced: frame.is_interlaced(), ..planes })
}

/// What the samples mean.
///
/// # Errors
/// For a format other than 4:2:0, and colours whose conversion is not known.
pub(super) fn colour(frame: &Video) -> Result<Colour, String> {
    bit_depth(frame)?;
    let matrix = match frame.color_space() {
        // RGB cannot apply to 4:2:0.
        Space::RGB | Space::Unspecified | Space::BT470BG | Space::SMPTE170M => Matrix::Bt601,
        Space::BT709 => Matrix::Bt709,
        Space::FCC => Matrix::Fcc,
        Space::SMPTE240M => Matrix::Smpte240m,
        Space::BT2020NCL => Matrix::Bt2020,
        other => return Err(format!("colour matrix {other:?}")),
    };
    let full_range = frame.format() == Pixel::YUVJ420P || frame.color_range() == Range::JPEG;
    Ok(Colour { matrix, full_range })
}

fn siting(location: Location) -> Siting {
    match location {
        Location::Left => Siting::LEFT,
        Location::Center | Location::Unspecified => Siting::CENTRE,
        Location::TopLeft => Siting { x: 0, y: 0 },
        Location::Top => Siting { x: 1, y: 0 },
        Location::BottomLeft => Siting { x: 0, y: 2 },
        Location::Bottom => Siting { x: 1, y: 2 },
    }
}
