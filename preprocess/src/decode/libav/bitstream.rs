//! What FFmpeg's decoders take: NAL units with start codes between (annex B of H.264 and HEVC), parameter sets among
//! them, so that nothing but packets has to be handed over.

use ffmpeg_next::codec::{Id, packet::Packet};

use crate::decode::h264::H264;
use crate::decode::hevc::Hevc;
use crate::decode::mp4::Checked;
use crate::decode::nal;
use crate::decode::reader::Codec;
use crate::decode::track::{Configuration, Description};
use crate::decode::vp9::Vp9;

/// The decoder for a sample entry of MP4; `None` for one that [`super::open_known`] does not know either.
pub(super) fn codec(coding: [u8; 4]) -> Option<Id> {
    let known = [(H264::CODINGS, Id::H264), (Hevc::CODINGS, Id::HEVC), (Vp9::CODINGS, Id::VP9)];
    known.into_iter().find(|(codings, _)| codings.contains(&&coding)).map(|(_, id)| id)
}

/// A packet of sample `index`, whose picture comes back with this number as its time. With `parameters` the sets that
/// the container keeps come first.
pub(super) fn packet(
    index: usize,
    sample: &[u8],
    description: &Description,
    parameters: bool,
) -> Checked<Packet> {
    let (sets, length_size) = match &description.configuration {
        Configuration::None => return Ok(numbered(index, sample)),
        Configuration::Avc(avc) => {
            let sets = avc.sequence_parameter_sets.iter().chain(&avc.picture_parameter_sets);
            (sets.collect::<Vec<_>>(), usize::from(avc.length_size))
        }
        Configuration::Hevc(hvcc) => {
            let sets = hvcc.arrays.iter().flat_map(|array| &array.nalus);
            (sets.collect(), usize::from(hvcc.length_size_minus_one) + 1)
        }
    };
    // Start codes take as much room as most lengths do.
    let mut stream = Vec::with_capacity(sample.len() + 64);
    if parameters {
        sets.into_iter().filter(|set| !set.is_empty()).for_each(|set| nal::write(set, &mut stream));
    }
    nal::split(sample, length_size)?.into_iter().for_each(|unit| nal::write(unit, &mut stream));
    Ok(numbered(index, &stream))
}

fn numbered(index: usize, bytes: &[u8]) -> Packet {
    let mut packet = Packet::copy(bytes);
    packet.set_pts(Some(index as i64));
    packet
}
