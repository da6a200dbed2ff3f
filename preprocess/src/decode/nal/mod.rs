//! Network abstraction layer units, the packets of H.264 and HEVC.
//!
//! In MP4 and Matroska a sample holds the units of one picture, each after its length; decoders are given them with
//! start codes between (annex B of both standards).

mod bits;

pub(super) use self::bits::{Bits, unescape};

use super::mp4::Checked;

/// Splits a sample, in which each unit follows its length in `length_size` bytes.
///
/// # Errors
/// When a length reaches past the sample.
pub(super) fn split(sample: &[u8], length_size: usize) -> Checked<Vec<&[u8]>> {
    let mut units = Vec::new();
    let mut rest = sample;
    // FFmpeg ignores a tail too short for a length, which some muxers leave as padding.
    while let Some((length, after)) = rest.split_at_checked(length_size) {
        let length = length.iter().fold(0usize, |value, &byte| value << 8 | usize::from(byte));
        let Some((unit, next)) = after.split_at_checked(length) else {
            return Err(format!("a NAL unit of {length} bytes, {} are left", after.len()));
        };
        if !unit.is_empty() {
            units.push(unit);
        }
        rest = next;
    }
    Ok(units)
}

/// Appends one unit after a start code.
pub(super) fn write(unit: &[u8], target: &mut Vec<u8>) {
    target.extend_from_slice(&[0, 0, 0, 1]);
    target.extend_from_slice(unit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_past_the_sample_is_an_error() {
        let units = split(&[0, 2, 0x65, 1, 0, 0, 0, 1, 0x09], 2).unwrap();
        assert_eq!(units, [&[0x65, 1][..], &[9]]);
        let error = split(&[0, 0, 0, 5, 0x65], 4).err();
        assert_eq!(error.as_deref(), Some("a NAL unit of 5 bytes, 1 are left"));
    }
}
