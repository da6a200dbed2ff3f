//! The two decoders behind one trait.
//!
//! `rusty_h264` is the faster one and takes progressive 4:2:0; `rust_h264` takes interlaced and monochrome video too.

use super::access_unit::{AccessUnit, PPS, nal_type};
use super::sps::Fields;
use super::{avc, length_size};
use crate::decode::nal::{self, unescape};
use crate::decode::reader::{Failure, Input, SampleDecoder};
use crate::decode::yuv::{Picture, YuvFrame};

/// Prepares samples for one of the decoders.
pub(super) struct UnitDecoder {
    decoder: Box<dyn AnnexB>,
    fields: Fields,
    /// Whether the first picture it was given was an instantaneous refresh.
    from_refresh: Option<bool>,
}

impl UnitDecoder {
    pub(super) fn new(decoder: Box<dyn AnnexB>, fields: Fields) -> Self {
        Self { decoder, fields, from_refresh: None }
    }
}

impl SampleDecoder for UnitDecoder {
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<Picture>, Failure> {
        let unit =
            AccessUnit::split(input.bytes, length_size(input.description)).map_err(Failure::Damaged)?;
        let mut annex_b = Vec::with_capacity(input.bytes.len() + 64);
        let mut parameter_sets = Vec::new();
        if input.new_description {
            let avc = avc(input.description);
            parameter_sets.extend(avc.sequence_parameter_sets.iter().chain(&avc.picture_parameter_sets));
            parameter_sets.retain(|nal| !nal.is_empty());
            parameter_sets.iter().for_each(|nal| nal::write(nal, &mut annex_b));
        }
        unit.write_annex_b(&mut annex_b);
        let all = parameter_sets.into_iter().map(Vec::as_slice).chain(unit.nals.iter().copied());
        let picture_parameter_sets: Vec<&[u8]> = all.filter(|nal| nal_type(nal) == PPS).collect();
        let from_refresh = *self.from_refresh.get_or_insert(unit.is_idr());
        let coded =
            Coded { annex_b: &annex_b, picture_parameter_sets: &picture_parameter_sets, from_refresh };
        let frame = self.decoder.decode(&coded)?;
        let interlaced = unit.is_interlaced(self.fields);
        Ok(frame.map(|frame| Picture::Yuv(YuvFrame { interlaced, ..frame })))
    }
}

/// One access unit for a decoder.
pub(super) struct Coded<'a> {
    /// Parameter sets and slices in the format of annex B.
    annex_b: &'a [u8],
    /// The picture parameter sets among them, header byte included.
    picture_parameter_sets: &'a [&'a [u8]],
    /// Decoding started at an instantaneous refresh and not at another kind of key picture.
    from_refresh: bool,
}

/// Decodes access units in the format of annex B.
pub(super) trait AnnexB: Send {
    /// Decodes one access unit; `None` when it holds no complete picture.
    fn decode(&mut self, input: &Coded<'_>) -> Result<Option<YuvFrame>, Failure>;
}

/// Makes a decoder in its initial state.
pub(super) type Make = fn() -> Box<dyn AnnexB>;

/// The decoders in the order in which they are tried.
pub(super) const DECODERS: [(&str, Make); 2] = [
    ("rusty_h264", || Box::new(RustyH264(rusty_h264_decoder::Decoder::new()))),
    ("rust_h264", || Box::new(RustH264(rust_h264::decoder::Decoder::new()))),
];

struct RustyH264(rusty_h264_decoder::Decoder);

impl AnnexB for RustyH264 {
    fn decode(&mut self, input: &Coded<'_>) -> Result<Option<YuvFrame>, Failure> {
        if let Some(reason) = rusty_h264_gets_wrong(input) {
            return Err(Failure::Unsupported(reason.to_owned()));
        }
        let frame = self.0.decode(input.annex_b).map_err(|error| match error {
            rusty_h264_decoder::DecodeError::Unsupported(_) => Failure::Unsupported(error.to_string()),
            _ => Failure::Damaged(error.to_string()),
        })?;
        let planes = frame
            .map(|frame| YuvFrame::from_planes((frame.width, frame.height), [frame.y, frame.u, frame.v]));
        planes.transpose().map_err(Failure::Damaged)
    }
}

/// What version 0.17 of `rusty_h264` decodes to other pictures than FFmpeg does, or does not decode, without calling
/// it unsupported. Found by comparing a thousand random encodings; the other decoder gets these right.
fn rusty_h264_gets_wrong(input: &Coded<'_>) -> Option<&'static str> {
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

impl AnnexB for RustH264 {
    fn decode(&mut self, input: &Coded<'_>) -> Result<Option<YuvFrame>, Failure> {
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
        let size = (frame.width as usize, frame.height as usize);
        YuvFrame::from_planes(size, [frame.y, frame.u, frame.v]).map(Some).map_err(Failure::Damaged)
    }
}
