//! Frame headers, as far as they tell what is shown, where decoding can start, and what key frames look like.

use crate::decode::mp4::Checked;
use crate::decode::nal::Bits;

/// The start of an uncompressed header (VP9, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) profile: u32,
    /// The frame, or an earlier one that it names, is shown.
    pub(super) shown: bool,
    /// What a key frame says.
    pub(super) key: Option<KeyFrame>,
}

/// What all frames up to the next key frame have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyFrame {
    /// Bits per sample.
    pub(super) bit_depth: u32,
    /// 4:2:0.
    pub(super) subsampled: bool,
    /// `color_space`.
    pub(super) colour_space: u32,
    pub(super) full_range: bool,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl FrameHeader {
    /// Reads the header; `None` when it is damaged.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        /// `frame_marker`, the first two bits of every frame.
        const MARKER: u32 = 2;
        let mut bits = Bits::new(frame);
        bits.number(2).filter(|&marker| marker == MARKER)?;
        let profile = bits.number(1)? + 2 * bits.number(1)?;
        if profile == 3 {
            bits.flag().filter(|&reserved| !reserved)?;
        }
        let show_existing = bits.flag()?;
        if show_existing {
            return Some(Self { profile, shown: true, key: None });
        }
        let inter = bits.flag()?;
        let shown = bits.flag()?;
        let _error_resilient = bits.flag()?;
        let key = if inter { None } else { Some(KeyFrame::parse(&mut bits, profile)?) };
        Some(Self { profile, shown, key })
    }
}

impl KeyFrame {
    fn parse(bits: &mut Bits<'_>, profile: u32) -> Option<Self> {
        const SYNC_CODE: u32 = 0x49_83_42;
        const RGB: u32 = 7;
        bits.number(24).filter(|&code| code == SYNC_CODE)?;
        let deeper = profile >= 2 && bits.flag()?;
        let bit_depth = match (profile, deeper) {
            (0 | 1, _) => 8,
            (_, false) => 10,
            (_, true) => 12,
        };
        let colour_space = bits.number(3)?;
        let (full_range, subsampled) = if colour_space == RGB {
            (true, false)
        } else {
            let full_range = bits.flag()?;
            // Only the odd profiles have a choice.
            (full_range, profile.is_multiple_of(2) || bits.flag()? && bits.flag()?)
        };
        if !profile.is_multiple_of(2) && !subsampled {
            // The size that follows is of no use for a format that is refused.
            return Some(Self { bit_depth, subsampled, colour_space, full_range, width: 1, height: 1 });
        }
        if !profile.is_multiple_of(2) {
            let _reserved = bits.flag()?;
        }
        let (width, height) = (bits.number(16)? as usize + 1, bits.number(16)? as usize + 1);
        Some(Self { bit_depth, subsampled, colour_space, full_range, width, height })
    }
}

/// Splits a sample into frames: one, or those that the index at the end of a superframe lists (VP9, annex B).
pub(super) fn frames(sample: &[u8]) -> Checked<Vec<&[u8]>> {
    let Some(sizes) = superframe_index(sample) else { return Ok(vec![sample]) };
    let mut frames = Vec::with_capacity(sizes.len());
    let mut rest = sample;
    for size in sizes {
        let Some((frame, after)) = rest.split_at_checked(size) else {
            return Err(format!("a frame of {size} bytes in a superframe, {} are left", rest.len()));
        };
        // A frame of no bytes was dropped by the encoder.
        if !frame.is_empty() {
            frames.push(frame);
        }
        rest = after;
    }
    Ok(frames)
}

/// The sizes of the frames of a superframe.
fn superframe_index(sample: &[u8]) -> Option<Vec<usize>> {
    let &marker = sample.last()?;
    if marker >> 5 != 0b110 {
        return None;
    }
    let count = usize::from(marker & 7) + 1;
    let bytes = usize::from(marker >> 3 & 3) + 1;
    // The marker stands at both ends of the index.
    let index = sample.get(sample.len().checked_sub(2 + bytes * count)?..)?;
    if index[0] != marker {
        return None;
    }
    let little_endian =
        |size: &[u8]| size.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte));
    Some(index[1..=bytes * count].chunks_exact(bytes).map(little_endian).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs a text of bits, ended by zeros.
    fn packed(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|byte| *byte != b' ').map(|byte| byte - b'0').collect();
        bits.chunks(8)
            .map(|chunk| chunk.iter().enumerate().fold(0, |byte, (at, bit)| byte | bit << (7 - at)))
            .collect()
    }

    #[test]
    fn a_key_frame_tells_its_size_and_colours() {
        let sync = "01001001 10000011 01000010";
        // Marker, profile 0, no show_existing, key frame, shown, no error resilience; BT.709, full range; 66×49.
        let bytes = packed(&format!("10 00 0 0 1 0 {sync} 010 1 0000000001000001 0000000000110000"));
        let key = KeyFrame {
            bit_depth: 8,
            subsampled: true,
            colour_space: 2,
            full_range: true,
            width: 66,
            height: 49,
        };
        assert_eq!(FrameHeader::parse(&bytes), Some(FrameHeader { profile: 0, shown: true, key: Some(key) }));
        assert_eq!(FrameHeader::parse(&bytes[..6]), None, "cut inside the size");
        // Profile 2 (the low bit comes first), 12 bits, unknown colours, limited range.
        let bytes = packed(&format!("10 01 0 0 0 0 {sync} 1 000 0 0000000000000000 0000000000000001"));
        let key = KeyFrame { bit_depth: 12, colour_space: 0, full_range: false, width: 1, height: 2, ..key };
        assert_eq!(
            FrameHeader::parse(&bytes),
            Some(FrameHeader { profile: 2, shown: false, key: Some(key) })
        );
        let damaged = packed("10 00 0 0 1 0 01001001 10000011 01000011 010 1");
        assert_eq!(FrameHeader::parse(&damaged), None, "wrong sync code");
    }

    #[test]
    fn a_superframe_is_split_by_its_index() {
        // Two frames with sizes in one byte: marker 110 00 001.
        let sample = [1, 2, 3, 9, 0xc1, 3, 1, 0xc1];
        assert_eq!(frames(&sample), Ok(vec![&[1, 2, 3][..], &[9]]));
        let long = [1, 2, 3, 9, 0xc1, 3, 200, 0xc1];
        assert_eq!(frames(&long), Err("a frame of 200 bytes in a superframe, 5 are left".to_owned()));
        // A last byte that looks like a marker, without its twin.
        assert_eq!(frames(&[1, 2, 3, 9, 0, 3, 1, 0xc1]).map(|frames| frames.len()), Ok(1));
    }
}
