//! The decoder: `rusty_vp9`, one frame at a time.

use rusty_vp9::{DecodedFrame, Error, Vp9Decoder};

use super::header::{FrameHeader, frames};
use crate::decode::reader::{Failure, Input, SampleDecoder};
use crate::decode::yuv::{Picture, Siting, YuvFrame};

pub(super) struct RustyVp9 {
    decoder: Vp9Decoder,
    size: (usize, usize),
}

impl RustyVp9 {
    /// A decoder of pictures of one size.
    pub(super) fn new(size: (usize, usize)) -> Self {
        Self { decoder: Vp9Decoder::new(), size }
    }

    /// Refuses a frame of another size before memory is set aside for it.
    fn check(&self, frame: &[u8]) -> Result<(), Failure> {
        let header = FrameHeader::parse(frame);
        let header = header.ok_or_else(|| Failure::Damaged("the header of a frame is damaged".to_owned()))?;
        let ((width, height), (new_width, new_height)) = (self.size, header.size.unwrap_or(self.size));
        if (width, height) == (new_width, new_height) {
            return Ok(());
        }
        let what = format!("the size changes from {width}×{height} to {new_width}×{new_height}");
        Err(Failure::Unsupported(what))
    }
}

impl SampleDecoder for RustyVp9 {
    fn decode(&mut self, input: &Input<'_>) -> Result<Option<Picture>, Failure> {
        if input.starts {
            self.decoder = Vp9Decoder::new();
        }
        let mut shown = None;
        for frame in frames(input.bytes).map_err(Failure::Damaged)? {
            self.check(frame)?;
            self.decoder.push(frame, None).map_err(failure)?;
            match self.decoder.next_frame() {
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
