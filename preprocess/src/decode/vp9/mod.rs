//! VP9, 4:2:0: profiles 0 (8 bits a sample) and 2 (10 or 12).
//!
//! A frame adapts the entropy coder and the motion vectors of the next one, whether it is referred to or not; so
//! everything from the last key frame on is decoded.

mod decoder;
mod header;

use self::decoder::RustyVp9;
use self::header::{FrameHeader, KeyFrame, frames};
use super::mp4::Checked;
use super::reader::{Codec, Entry, Header, Refusal, Role, SampleDecoder};
use super::track::Description;
use super::yuv::{Colour, Matrix};

/// What every picture has to be.
pub(super) struct Vp9 {
    size: (usize, usize),
}

impl Codec for Vp9 {
    const NAME: &'static str = "VP9";
    const CODINGS: &'static [&'static [u8; 4]] = &[b"vp09"];
    // A sample may hold nothing but a picture for others to refer to.
    const MAY_HIDE: bool = true;

    fn check(_description: &Description) -> Checked<()> {
        Ok(())
    }

    fn role(_description: &Description, sample: &[u8]) -> Result<Role, Refusal> {
        let headers = headers(sample)?;
        let shown = headers.iter().filter(|header| header.shown).count();
        if shown > 1 {
            // Layers of different sizes, for conferences: FFmpeg shows each as a frame.
            return Err(Refusal::Unsupported(format!("vp9: {shown} shown pictures in one sample")));
        }
        let entry =
            if headers.first().is_some_and(|header| header.key.is_some()) { Entry::Clean } else { Entry::No };
        Ok(Role { entry, disposable: false, layer: 0, leading: false, shown: shown > 0 })
    }

    fn open(_description: &Description, sample: &[u8]) -> Result<(Self, Header), Refusal> {
        let headers = headers(sample)?;
        let first = headers.first().and_then(|header| Some((header.profile, header.key?)));
        let Some((profile, key)) = first else {
            return Err(Refusal::Damaged("the first picture is no key frame".to_owned()));
        };
        let codec = format!("vp9 (Profile {profile})");
        let KeyFrame { colour_space, full_range, .. } = key;
        let Some(size) = headers[0].size else {
            return Err(Refusal::Unsupported(format!("{codec}: another format than 4:2:0")));
        };
        let matrix = matrix(colour_space)
            .ok_or_else(|| Refusal::Unsupported(format!("{codec}: colour space {colour_space}")))?;
        let colour = Colour { matrix, full_range };
        Ok((Self { size }, Header { codec, decoded: size, shown: size, colour, top_layer: 0 }))
    }

    fn decoders(&self) -> Vec<(&'static str, Box<dyn SampleDecoder>)> {
        vec![("rusty_vp9", Box::new(RustyVp9::new(self.size)))]
    }
}

/// The headers of all frames of a sample.
fn headers(sample: &[u8]) -> Checked<Vec<FrameHeader>> {
    let parse =
        |frame: &[u8]| FrameHeader::parse(frame).ok_or_else(|| "the header of a frame is damaged".to_owned());
    frames(sample)?.into_iter().map(parse).collect()
}

/// The matrix of a `color_space` (VP9, 7.2.2); what the container says is overruled by a stream that says nothing, in
/// FFmpeg and so here.
fn matrix(colour_space: u32) -> Option<Matrix> {
    match colour_space {
        // Unknown, BT.601, and SMPTE 170M with the same weights.
        0 | 1 | 3 => Some(Matrix::Bt601),
        2 => Some(Matrix::Bt709),
        4 => Some(Matrix::Smpte240m),
        5 => Some(Matrix::Bt2020),
        _ => None,
    }
}
