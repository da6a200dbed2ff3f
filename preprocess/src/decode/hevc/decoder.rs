//! The decoder: `rust_h265`, one access unit at a time, in decoding order.

use rust_h265::{Decoder, Frame, NalUnit, NalUnitType, PixelData, error::DecodeError, nal::parse_nal};

use super::access_unit::{END_OF_SEQUENCE, PPS, SPS, Unit};
use super::{parameter_sets, units};
use crate::decode::reader::{Failure, Input, SampleDecoder};
use crate::decode::yuv::{Picture, Siting, YuvFrame};

pub(super) struct RustH265 {
    decoder: Decoder,
    siting: Siting,
}

impl RustH265 {
    /// A decoder for a stream whose chroma lies at `siting`.
    pub(super) fn new(siting: Siting) -> Self {
        Self { decoder: Decoder::new(), siting }
    }

    fn feed(&mut self, unit: &Unit<'_>) -> Result<(), Failure> {
        // The video parameter set is not needed to decode, so one that is odd does no harm; messages neither.
        if !(unit.is_slice() || matches!(unit.kind, SPS | PPS | END_OF_SEQUENCE)) {
            return Ok(());
        }
        match parse_nal(unit.bytes) {
            Some(nal) => self.give(&nal),
            None => Ok(()),
        }
    }

    fn give(&mut self, nal: &NalUnit<'_>) -> Result<(), Failure> {
        match self.decoder.decode_nal(nal) {
            // The picture of the sample before was taken by the flush, so that nothing can come out here.
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Failure::Damaged("a sample holds more than one picture".to_owned())),
            Err(error @ DecodeError::Unsupported(_)) => Err(Failure::Unsupported(error.to_string())),
            Err(error) => Err(Failure::Damaged(error.to_string())),
        }
    }
}

impl SampleDecoder for RustH265 {
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<Picture>, Failure> {
        // What is left of a sample that failed.
        while self.decoder.flush().is_some() {}
        if input.starts {
            // What comes next is the first picture of a sequence, whatever was decoded before; its leading pictures
            // are passed over.
            self.give(&NalUnit {
                nal_unit_type: NalUnitType::Eos,
                nuh_layer_id: 0,
                temporal_id: 0,
                rbsp: [].as_slice().into(),
                epb_positions: Vec::new(),
            })?;
        }
        if input.new_description {
            for unit in parameter_sets(input.description) {
                self.feed(&unit)?;
            }
        }
        for unit in units(input.description, input.bytes).map_err(Failure::Damaged)? {
            self.feed(&unit)?;
        }
        let frame = self.decoder.flush();
        let picture = frame.map(|frame| picture(frame, self.siting)).transpose().map_err(Failure::Damaged)?;
        if self.decoder.flush().is_some() {
            return Err(Failure::Damaged("a sample holds more than one picture".to_owned()));
        }
        Ok(picture)
    }
}

fn picture(frame: Frame, siting: Siting) -> Result<Picture, String> {
    let size = (frame.width as usize, frame.height as usize);
    match (frame.y, frame.u, frame.v) {
        (PixelData::U8(y), PixelData::U8(u), PixelData::U8(v)) => {
            YuvFrame::from_planes(size, [y, u, v]).map(Picture::Yuv)
        }
        (PixelData::U16(y), PixelData::U16(u), PixelData::U16(v)) => {
            let bit_depth = u32::from(frame.bit_depth);
            Ok(Picture::DeepYuv { frame: YuvFrame::from_planes(size, [y, u, v])?, bit_depth, siting })
        }
        _ => Err("luma and chroma samples of different depths".to_owned()),
    }
}
