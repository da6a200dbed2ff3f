//! The sequence parameter set: picture size, sample format and colour, known before anything is decoded.

use crate::decode::nal::{Bits, unescape};
use crate::decode::yuv::Siting;

/// What this crate needs of a sequence parameter set (H.265, 7.3.2.2.1 and E.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) profile_idc: u32,
    /// 0 monochrome, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
    pub(super) chroma_format_idc: u32,
    /// Bits per luma and chroma sample.
    pub(super) bit_depth: (u32, u32),
    /// Pixels after cropping.
    pub(super) width: usize,
    /// Rows after cropping.
    pub(super) height: usize,
    /// The highest temporal layer, from 0.
    pub(super) top_layer: u8,
    /// Whether the range is full, if the stream says.
    pub(super) full_range: Option<bool>,
    /// The matrix code, if the stream says.
    pub(super) matrix: Option<u8>,
    /// Where chroma samples of 4:2:0 lie.
    pub(super) siting: Siting,
}

/// Bytes before the payload of a NAL unit.
const HEADER: usize = 2;

impl Sps {
    /// Reads the set out of a NAL unit of type 33, header included; `None` when it is damaged.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = unescape(nal.get(HEADER..)?);
        let mut bits = Bits::new(&payload);
        let _vps = bits.number(4)?;
        let top_layer = bits.number(3).filter(|&layers| layers < 7)?;
        let _nesting = bits.flag()?;
        let profile_idc = profile_tier_level(&mut bits, top_layer)?;
        let _id = bits.unsigned()?;
        let chroma_format_idc = bits.unsigned().filter(|&format| format <= 3)?;
        let separate_planes = chroma_format_idc == 3 && bits.flag()?;
        let size = (bits.unsigned()?, bits.unsigned()?);
        let (across, down) = match chroma_format_idc {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        // Conformance window: how much to cut at each edge, in chroma samples.
        let [left, right, top, bottom] = offsets(&mut bits)?;
        let bit_depth = (bits.unsigned()?.checked_add(8)?, bits.unsigned()?.checked_add(8)?);
        let order_bits = bits.unsigned()?.checked_add(4).filter(|&bits| bits <= 16)?;
        skip_coding_tools(&mut bits, top_layer)?;
        skip_references(&mut bits, order_bits)?;
        let _temporal_mvp_and_strong_smoothing = (bits.flag()?, bits.flag()?);
        let usability = if bits.flag()? { usability(&mut bits)? } else { Usability::default() };
        Some(Self {
            profile_idc,
            chroma_format_idc: if separate_planes { 0 } else { chroma_format_idc },
            bit_depth,
            width: cropped(size.0, left, right, across)?,
            height: cropped(size.1, top, bottom, down)?,
            top_layer: top_layer as u8,
            full_range: usability.full_range,
            matrix: usability.matrix,
            siting: usability.siting.unwrap_or(Siting::LEFT),
        })
    }
}

/// Samples left of `size` when both ends are cropped; `None` if none are.
fn cropped(size: u32, before: u32, after: u32, step: u64) -> Option<usize> {
    let cut = (u64::from(before) + u64::from(after)) * step;
    usize::try_from(u64::from(size).checked_sub(cut).filter(|&left| left > 0)?).ok()
}

/// An optional window: how much it cuts left, right, top and bottom.
fn offsets(bits: &mut Bits<'_>) -> Option<[u32; 4]> {
    if !bits.flag()? {
        return Some([0; 4]);
    }
    Some([bits.unsigned()?, bits.unsigned()?, bits.unsigned()?, bits.unsigned()?])
}

/// Reads the profile of the whole stream and skips those of its layers (H.265, 7.3.3).
fn profile_tier_level(bits: &mut Bits<'_>, top_layer: u32) -> Option<u32> {
    /// After the profile: compatibility flags, constraint flags and reserved bits.
    const REST_OF_PROFILE: u32 = 32 + 48;
    const LEVEL: u32 = 8;
    let _space_and_tier = bits.number(3)?;
    let profile_idc = bits.number(5)?;
    skip(bits, REST_OF_PROFILE + LEVEL)?;
    let mut present = Vec::new();
    for _ in 0..top_layer {
        present.push((bits.flag()?, bits.flag()?));
    }
    if top_layer > 0 {
        // The flags are padded to eight pairs.
        skip(bits, 2 * (8 - top_layer))?;
    }
    for (profile, level) in present {
        skip(bits, if profile { 8 + REST_OF_PROFILE } else { 0 } + if level { LEVEL } else { 0 })?;
    }
    Some(profile_idc)
}

fn skip(bits: &mut Bits<'_>, count: u32) -> Option<()> {
    (0..count).try_for_each(|_| bits.flag().map(drop))
}

/// Buffer sizes, block sizes, scaling lists and PCM.
fn skip_coding_tools(bits: &mut Bits<'_>, top_layer: u32) -> Option<()> {
    let for_all_layers = bits.flag()?;
    for _ in 0..=if for_all_layers { top_layer } else { 0 } {
        let _buffer_reorder_latency = (bits.unsigned()?, bits.unsigned()?, bits.unsigned()?);
    }
    for _block_size in 0..6 {
        bits.unsigned()?;
    }
    if bits.flag()? && bits.flag()? {
        skip_scaling_lists(bits)?;
    }
    let _asymmetric_partitions_and_offset_filter = (bits.flag()?, bits.flag()?);
    if bits.flag()? {
        let _pcm_bit_depths = bits.number(8)?;
        let _pcm_sizes = (bits.unsigned()?, bits.unsigned()?);
        let _pcm_loop_filter = bits.flag()?;
    }
    Some(())
}

/// Scaling lists (H.265, 7.3.4): four sizes of six matrices; of the largest size every third is there.
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for size in 0..4 {
        for _matrix in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !bits.flag()? {
                let _predicted_from = bits.unsigned()?;
                continue;
            }
            if size > 1 {
                let _dc = bits.signed()?;
            }
            for _coefficient in 0..(1 << (4 + 2 * size)).min(64) {
                bits.signed()?;
            }
        }
    }
    Some(())
}

/// Sets of short-term and long-term references.
fn skip_references(bits: &mut Bits<'_>, order_bits: u32) -> Option<()> {
    let count = bits.unsigned().filter(|&sets| sets <= 64)?;
    let mut pictures = 0;
    for set in 0..count {
        pictures = reference_set(bits, set > 0, pictures)?;
    }
    if bits.flag()? {
        for _ in 0..bits.unsigned().filter(|&pictures| pictures <= 32)? {
            let _order_and_use = (bits.number(order_bits)?, bits.flag()?);
        }
    }
    Some(())
}

/// Skips one short-term set (H.265, 7.3.7) and says how many pictures it has; `before` is that of the set before.
fn reference_set(bits: &mut Bits<'_>, may_predict: bool, before: u32) -> Option<u32> {
    if may_predict && bits.flag()? {
        let _sign_and_distance = (bits.flag()?, bits.unsigned()?);
        let mut kept = 0;
        for _ in 0..=before {
            let used = bits.flag()?;
            // A picture that the current one does not use may still be kept for a later one.
            kept += u32::from(used || bits.flag()?);
        }
        return Some(kept);
    }
    let (earlier, later) = (bits.unsigned()?, bits.unsigned()?);
    let pictures = earlier.checked_add(later).filter(|&pictures| pictures <= 32)?;
    for _ in 0..pictures {
        let _distance_and_use = (bits.unsigned()?, bits.flag()?);
    }
    Some(pictures)
}

/// What this crate needs of the video usability information.
#[derive(Default)]
struct Usability {
    full_range: Option<bool>,
    matrix: Option<u8>,
    siting: Option<Siting>,
}

/// Reads the first fields of the video usability information, where all that is needed stands (H.265, E.2.1).
fn usability(bits: &mut Bits<'_>) -> Option<Usability> {
    /// `aspect_ratio_idc` of a ratio spelled out in two 16-bit numbers.
    const EXTENDED_RATIO: u32 = 255;
    let mut found = Usability::default();
    if bits.flag()? && bits.number(8)? == EXTENDED_RATIO {
        bits.number(32)?;
    }
    if bits.flag()? {
        let _overscan_appropriate = bits.flag()?;
    }
    if bits.flag()? {
        let _video_format = bits.number(3)?;
        found.full_range = Some(bits.flag()?);
        if bits.flag()? {
            let _primaries_and_transfer = bits.number(16)?;
            found.matrix = u8::try_from(bits.number(8)?).ok();
        }
    }
    if bits.flag()? {
        // Of the top field, which is the picture when there are no fields; the bottom field's follows.
        found.siting = match bits.unsigned()? {
            0 => Some(Siting::LEFT),
            1 => Some(Siting::CENTRE),
            2 => Some(Siting { x: 0, y: 0 }),
            3 => Some(Siting { x: 1, y: 0 }),
            4 => Some(Siting { x: 0, y: 2 }),
            5 => Some(Siting { x: 1, y: 2 }),
            _ => None,
        };
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `hevc_10_bit_top_left.mp4` in the fixtures: x265 with everything that is read here.
    const SET: [u8; 44] = [
        0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
        0x1e, 0xa0, 0x20, 0x83, 0x13, 0x65, 0x95, 0x9a, 0xe4, 0xca, 0xe6, 0xe0, 0x40, 0x41, 0x36, 0xc2, 0x00,
        0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x32, 0x10,
    ];

    #[test]
    fn a_set_tells_format_size_colours_and_siting() {
        let expected = Sps {
            profile_idc: 2,
            chroma_format_idc: 1,
            bit_depth: (10, 10),
            width: 64,
            height: 48,
            top_layer: 0,
            full_range: Some(true),
            matrix: Some(9),
            siting: Siting { x: 0, y: 0 },
        };
        assert_eq!(Sps::parse(&SET), Some(expected));
    }

    #[test]
    fn a_set_that_is_cut_short_is_damaged() {
        // What follows the matrix and the siting, in byte 32, is not read.
        for length in 0..32 {
            assert_eq!(Sps::parse(&SET[..length]), None, "{length} bytes");
        }
    }
}
