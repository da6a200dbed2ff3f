//! Access units: the NAL units of one coded picture, as MP4 stores them.

use super::bits::{Bits, unescape};
use super::sps::Fields;

/// NAL unit types this crate tells apart (H.264, table 7-1).
const SLICE: u8 = 1;
const PARTITIONS: std::ops::RangeInclusive<u8> = 2..=4;
const IDR_SLICE: u8 = 5;
const SEI: u8 = 6;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;

/// The NAL units of one picture.
pub(super) struct AccessUnit<'a> {
    pub(super) nals: Vec<&'a [u8]>,
}

impl<'a> AccessUnit<'a> {
    /// Splits a sample, in which each NAL unit follows its length in `length_size` bytes.
    ///
    /// # Errors
    /// When a length reaches past the sample.
    pub(super) fn split(sample: &'a [u8], length_size: usize) -> Result<Self, String> {
        let mut nals = Vec::new();
        let mut rest = sample;
        // FFmpeg ignores a tail too short for a length, which some muxers leave as padding.
        while let Some((length, after)) = rest.split_at_checked(length_size) {
            let length = length.iter().fold(0usize, |value, &byte| value << 8 | usize::from(byte));
            let Some((nal, next)) = after.split_at_checked(length) else {
                return Err(format!("a NAL unit of {length} bytes, {} are left", after.len()));
            };
            if !nal.is_empty() {
                nals.push(nal);
            }
            rest = next;
        }
        Ok(Self { nals })
    }

    /// An instantaneous refresh: nothing after it refers to anything before it.
    pub(super) fn is_idr(&self) -> bool {
        self.nals.iter().any(|nal| nal_type(nal) == IDR_SLICE)
    }

    /// Decoding may start here although it is no IDR picture: an I picture, or one announced by a recovery point.
    pub(super) fn is_recovery_point(&self) -> bool {
        self.is_idr()
            || self.nals.iter().any(|nal| nal_type(nal) == SEI && has_recovery_point(nal))
            || self.slices().all(is_intra) && self.slices().next().is_some()
    }

    /// No other picture refers to this one.
    pub(super) fn is_disposable(&self) -> bool {
        self.slices().all(|nal| nal[0] >> 5 & 3 == 0)
    }

    /// The picture was coded as two fields, or may have macroblocks that are. FFmpeg calls these interlaced, unless
    /// timing messages say otherwise, which are not read here.
    pub(super) fn is_interlaced(&self, fields: Fields) -> bool {
        !fields.frame_mbs_only
            && (fields.mb_adaptive || self.slices().next().is_some_and(|slice| is_field(slice, fields)))
    }

    /// Writes what a decoder needs with start codes between (H.264, annex B).
    pub(super) fn write_annex_b(&self, target: &mut Vec<u8>) {
        for nal in &self.nals {
            if matches!(nal_type(nal), SLICE..=IDR_SLICE | SPS | PPS) {
                write_nal(nal, target);
            }
        }
    }

    fn slices(&self) -> impl Iterator<Item = &'a [u8]> {
        self.nals.iter().copied().filter(|nal| {
            let kind = nal_type(nal);
            kind == SLICE || kind == IDR_SLICE || PARTITIONS.contains(&kind)
        })
    }
}

/// Appends one NAL unit after a start code.
pub(super) fn write_nal(nal: &[u8], target: &mut Vec<u8>) {
    target.extend_from_slice(&[0, 0, 0, 1]);
    target.extend_from_slice(nal);
}

/// The type of a NAL unit that has at least its header byte.
pub(super) fn nal_type(nal: &[u8]) -> u8 {
    nal[0] & 31
}

fn is_intra(slice: &[u8]) -> bool {
    // The two codes lie within the first 9 bytes whatever they are.
    let head = unescape(&slice[1..slice.len().min(16)]);
    let mut bits = Bits::new(&head);
    let _first_mb = bits.unsigned();
    // I and SI slices, and the codes that promise the same for all slices of the picture.
    matches!(bits.unsigned(), Some(2 | 4 | 7 | 9))
}

/// Reads `field_pic_flag` of a slice in a stream that has it.
fn is_field(slice: &[u8], fields: Fields) -> bool {
    let head = unescape(&slice[1..slice.len().min(24)]);
    let mut bits = Bits::new(&head);
    let _first_mb_type_parameters = (bits.unsigned(), bits.unsigned(), bits.unsigned());
    let _frame_num = bits.number(fields.frame_num_bits);
    bits.flag() == Some(true)
}

/// Looks for a recovery point at which all is right at once, among the messages of an SEI unit (H.264, 7.3.2.3.1).
fn has_recovery_point(nal: &[u8]) -> bool {
    /// `payloadType` of a recovery point.
    const RECOVERY_POINT: usize = 6;
    let payload = unescape(&nal[1..]);
    let mut rest = payload.as_slice();
    // Type and size are each a sum of bytes that ends with one below 255.
    let number = |rest: &mut &[u8]| {
        let full = rest.iter().take_while(|&&byte| byte == 255).count();
        let last = usize::from(*rest.get(full)?);
        *rest = &rest[full + 1..];
        Some(full * 255 + last)
    };
    // The last byte is the stop bit.
    while rest.len() > 1 {
        let Some((kind, size)) = number(&mut rest).zip(number(&mut rest)) else { return false };
        if kind == RECOVERY_POINT {
            // With another count the pictures become right little by little, and no picture is a key picture.
            return Bits::new(rest).unsigned() == Some(0);
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_past_the_sample_is_an_error() {
        let unit = AccessUnit::split(&[0, 2, 0x65, 1, 0, 0, 0, 1, 0x09], 2).unwrap();
        assert_eq!(unit.nals, [&[0x65, 1][..], &[9]]);
        assert!(unit.is_idr() && !unit.is_disposable());
        let error = AccessUnit::split(&[0, 0, 0, 5, 0x65], 4).err();
        assert_eq!(error.as_deref(), Some("a NAL unit of 5 bytes, 1 are left"));
    }

    #[test]
    fn a_recovery_point_is_found_behind_another_message() {
        let user_data = [6, 5, 2, 0xaa, 0xbb];
        let unit = |tail: &[u8]| {
            let nal = [&user_data[..], tail].concat();
            AccessUnit { nals: vec![nal.leak()] }.is_recovery_point()
        };
        assert!(unit(&[6, 1, 0xc4, 0x80]));
        assert!(!unit(&[1, 1, 0xc4, 0x80]));
        // recovery_frame_cnt is 1: ue(1) = 010.
        assert!(!unit(&[6, 1, 0x44, 0x80]));
        assert!(!unit(&[255, 255, 255]));
    }
}
