//! The two decoders behind one trait.
//!
//! `rusty_h264` is the faster one and takes progressive 4:2:0; `rust_h264` takes interlaced and monochrome video too.
//! Both are given one access unit at a time, in decoding order, and answer with its picture at once, so that no
//! reordering is needed here: the container knows when each picture is shown.

use super::super::yuv::{Colour, YuvFrame};
use super::bits::unescape;

/// Why an access unit gave no picture.
#[derive(Debug)]
pub(super) enum Failure {
    /// The stream uses something the decoder does not know.
    Unsupported(String),
    /// The stream is damaged.
    Damaged(String),
}

/// One access unit for a decoder.
pub(super) struct Input<'a> {
    /// Parameter sets and slices in the format of annex B.
    pub(super) annex_b: &'a [u8],
    /// The picture parameter sets among them, header byte included.
    pub(super) picture_parameter_sets: &'a [&'a [u8]],
    /// Decoding started at an instantaneous refresh and not at another kind of key picture.
    pub(super) from_refresh: bool,
}

/// Decodes access units.
pub(super) trait PictureDecoder: Send {
    /// Decodes one access unit; `None` when it holds no complete picture.
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<YuvFrame>, Failure>;
}

/// Makes a decoder in its initial state.
pub(super) type MakeDecoder = fn() -> Box<dyn PictureDecoder>;

/// The decoders in the order in which they are tried.
pub(super) const DECODERS: [(&str, MakeDecoder); 2] = [
    ("rusty_h264", || Box::new(RustyH264(rusty_h264_decoder::Decoder::new()))),
    ("rust_h264", || Box::new(RustH264(rust_h264::decoder::Decoder::new()))),
];

struct RustyH264(rusty_h264_decoder::Decoder);

impl PictureDecoder for RustyH264 {
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<YuvFrame>, Failure> {
        if let Some(reason) = rusty_h264_gets_wrong(input) {
            return Err(Failure::Unsupported(reason.to_owned()));
        }
        let frame = self.0.decode(input.annex_b).map_err(|error| match error {
            rusty_h264_decoder::DecodeError::Unsupported(_) => Failure::Unsupported(error.to_string()),
            _ => Failure::Damaged(error.to_string()),
        })?;
        frame.map(|frame| checked(frame.width, frame.height, [frame.y, frame.u, frame.v])).transpose()
    }
}

/// What version 0.17 of `rusty_h264` decodes to other pictures than FFmpeg does, or does not decode, without calling
/// it unsupported. Found by comparing a thousand random encodings; the other decoder gets these right.
fn rusty_h264_gets_wrong(input: &Input<'_>) -> Option<&'static str> {
    let constrained = input.picture_parameter_sets.iter().any(|nal| {
        let parsed = rusty_h264_decoder::Pps::parse(&unescape(&nal[1..]));
        parsed.is_ok_and(|set| set.constrained_intra_pred_flag)
    });
    if constrained {
        // With 8×8 transforms, which the flag often comes with, pixels differ.
        return Some("constrained intra prediction");
    }
    (!input.from_refresh).then_some("a start at a picture that is no IDR picture")
}

struct RustH264(rust_h264::decoder::Decoder);

impl PictureDecoder for RustH264 {
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<YuvFrame>, Failure> {
        for nal in rust_h264::nal::parse_annex_b(input.annex_b) {
            // The picture of the unit before was taken by the `flush` below, so nothing can come out here.
            let earlier = self.0.decode_nal(&nal).map_err(|error| match error {
                rust_h264::error::DecodeError::Unsupported(_) => Failure::Unsupported(error.to_string()),
                _ => Failure::Damaged(error.to_string()),
            })?;
            if earlier.is_some() {
                return Err(Failure::Damaged("an access unit holds more than one picture".to_owned()));
            }
        }
        let Some(frame) = self.0.flush() else { return Ok(None) };
        checked(frame.width as usize, frame.height as usize, [frame.y, frame.u, frame.v]).map(Some)
    }
}

/// Joins the planes if they have the sizes of 4:2:0 with 8 bits, on which everything later relies.
fn checked(width: usize, height: usize, planes: [Vec<u8>; 3]) -> Result<YuvFrame, Failure> {
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    let sizes = planes.each_ref().map(Vec::len);
    if width == 0 || height == 0 || sizes != [width * height, chroma, chroma] {
        return Err(Failure::Damaged(format!("planes of {sizes:?} bytes for {width}×{height} pixels")));
    }
    let [y, u, v] = planes;
    Ok(YuvFrame { width, height, y, u, v, colour: Colour::default(), interlaced: false })
}
