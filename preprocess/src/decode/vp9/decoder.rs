//! The decoder: `rusty_vp9`, one frame at a time.

use rusty_vp9::{DecodedFrame, Error, Vp9Decoder};

use super::header::frames;
use crate::decode::reader::{Failure, Input, SampleDecoder};
use crate::decode::yuv::{Picture, Siting, YuvFrame};

pub(super) struct RustyVp9(Vp9Decoder);

impl RustyVp9 {
    pub(super) fn new() -> Self {
        Self(Vp9Decoder::new())
    }
}

impl SampleDecoder for RustyVp9 {
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<Picture>, Failure> {
        if input.starts {
            self.0 = Vp9Decoder::new();
        }
        let mut shown = None;
        for frame in frames(input.bytes).map_err(Failure::Damaged)? {
            self.0.push(frame, None).map_err(failure)?;
            match self.0.next_frame() {
                Ok(decoded) => shown = Some(picture(decoded).map_err(Failure::Damaged)?),
                // A frame that is not shown.
                Err(Error::Again) => {}
                Err(error) => return Err(failure(error)),
            }
        }
        Ok(shown)
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Unsupported(_) | Error::Unimplemented(_) => Failure::Unsupported(error.to_string()),
        _ => Failure::Damaged(error.to_string()),
    }
}

fn picture(frame: DecodedFrame) -> Result<Picture, String> {
    let size = (frame.width as usize, frame.height as usize);
    let found = frame.planes.len();
    let planes: [Vec<u8>; 3] = frame.planes.try_into().map_err(|_| format!("{found} planes of samples"))?;
    if frame.bit_depth == 8 {
        return YuvFrame::from_planes(size, planes).map(Picture::Yuv);
    }
    let words = |plane: Vec<u8>| plane.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
    let frame_planes = YuvFrame::from_planes(size, planes.map(words))?;
    Ok(Picture::DeepYuv { frame: frame_planes, bit_depth: frame.bit_depth, siting: Siting::CENTRE })
}
