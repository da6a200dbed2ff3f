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
    /// Width and height, unless they are those of a frame that this one refers to.
    pub(super) size: Option<(usize, usize)>,
}

/// What all frames up to the next key frame have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyFrame {
    /// 4:2:0.
    pub(super) subsampled: bool,
    /// `color_space`.
    pub(super) colour_space: u32,
    pub(super) full_range: bool,
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
        let mut header = Self { profile, shown: true, key: None, size: None };
        let show_existing = bits.flag()?;
        if show_existing {
            return Some(header);
        }
        let inter = bits.flag()?;
        header.shown = bits.flag()?;
        let error_resilient = bits.flag()?;
        if !inter {
            let key = KeyFrame::parse(&mut bits, profile)?;
            // The size that follows is of no use for a format that is refused.
            header.size = if key.subsampled { Some(size(&mut bits)?) } else { None };
            header.key = Some(key);
            return Some(header);
        }
        let intra_only = !header.shown && bits.flag()?;
        if !error_resilient {
            let _reset_frame_context = bits.number(2)?;
        }
        header.size = if intra_only {
            if profile > 0 {
                KeyFrame::parse(&mut bits, profile)?;
            } else {
                sync_code(&mut bits)?;
            }
            let _refresh_frame_flags = bits.number(8)?;
            Some(size(&mut bits)?)
        } else {
            // Which slots it goes to, and of each of the three references the slot and a sign.
            let _slots = bits.number(8 + 3 * (3 + 1))?;
            let as_reference = bits.flag()? || bits.flag()? || bits.flag()?;
            if as_reference { None } else { Some(size(&mut bits)?) }
        };
        Some(header)
    }
}

impl KeyFrame {
    fn parse(bits: &mut Bits<'_>, profile: u32) -> Option<Self> {
        const RGB: u32 = 7;
        sync_code(bits)?;
        let _twelve_bits = profile >= 2 && bits.flag()?;
        let colour_space = bits.number(3)?;
        if colour_space == RGB {
            return Some(Self { subsampled: false, colour_space, full_range: true });
        }
        let full_range = bits.flag()?;
        // The even profiles have no other format; the odd ones have any other, and spell it out.
        Some(Self { subsampled: profile.is_multiple_of(2), colour_space, full_range })
    }
}

fn sync_code(bits: &mut Bits<'_>) -> Option<()> {
    const SYNC_CODE: u32 = 0x49_83_42;
    bits.number(24).filter(|&code| code == SYNC_CODE).map(drop)
}

fn size(bits: &mut Bits<'_>) -> Option<(usize, usize)> {
    Some((bits.number(16)? as usize + 1, bits.number(16)? as usize + 1))
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
        let key = KeyFrame { subsampled: true, colour_space: 2, full_range: true };
        let header = FrameHeader { profile: 0, shown: true, key: Some(key), size: Some((66, 49)) };
        assert_eq!(FrameHeader::parse(&bytes), Some(header));
        assert_eq!(FrameHeader::parse(&bytes[..6]), None, "cut inside the size");
        // Profile 2 (the low bit comes first), 12 bits, unknown colours, limited range.
        let bytes = packed(&format!("10 01 0 0 0 0 {sync} 1 000 0 0000000000000000 0000000000000001"));
        let key = KeyFrame { colour_space: 0, full_range: false, ..key };
        let header = FrameHeader { profile: 2, shown: false, key: Some(key), size: Some((1, 2)) };
        assert_eq!(FrameHeader::parse(&bytes), Some(header));
        let damaged = packed("10 00 0 0 1 0 01001001 10000011 01000011 010 1");
        assert_eq!(FrameHeader::parse(&damaged), None, "wrong sync code");
    }

    #[test]
    fn other_frames_tell_their_size_unless_it_is_that_of_a_reference() {
        let (sync, size) = ("01001001 10000011 01000010", "0000000001000001 0000000000110000");
        let references = "00000001 000 0 001 0 010 1";
        for (bits, shown, size) in [
            // Inter, shown, no error resilience, no reset of contexts; the size of the second reference.
            (format!("10 00 0 1 1 0 00 {references} 01"), true, None),
            (format!("10 00 0 1 1 1 {references} 000 {size}"), true, Some((66, 49))),
            // Hidden and intra-only, with and without error resilience.
            (format!("10 00 0 1 0 1 1 {sync} 00000001 {size}"), false, Some((66, 49))),
            (format!("10 00 0 1 0 0 1 00 {sync} 00000001 {size}"), false, Some((66, 49))),
            // A slot is shown.
            ("10 00 1 011".to_owned(), true, None),
        ] {
            let expected = FrameHeader { profile: 0, shown, key: None, size };
            assert_eq!(FrameHeader::parse(&packed(&bits)), Some(expected), "{bits}");
        }
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
