//! Access units: the NAL units of one coded picture, as MP4 stores them.

use super::sps::Fields;
use crate::decode::mp4::Checked;
use crate::decode::nal::{self, Bits, unescape};
use crate::decode::reader::{Entry, Role};

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
    pub(super) fn split(sample: &'a [u8], length_size: usize) -> Checked<Self> {
        Ok(Self { nals: nal::split(sample, length_size)? })
    }

    /// What the other pictures have to do with this one.
    pub(super) fn role(&self) -> Role {
        let entry = if self.is_idr() {
            Entry::Clean
        } else if self.is_recovery_point() {
            // A leading picture may be referred to by one that is shown later: the standard forbids it only in HEVC.
            Entry::Doubtful
        } else {
            Entry::No
        };
        let has_parameters = self.nals.iter().any(|nal| matches!(nal_type(nal), SPS | PPS));
        let disposable = self.is_disposable() && !has_parameters;
        // Which pictures refer to what is not told before their slices are decoded, hence any may be a leading one.
        Role { entry, disposable, layer: 0, leading: true, shown: true }
    }

    /// An instantaneous refresh: nothing after it refers to anything before it.
    pub(super) fn is_idr(&self) -> bool {
        self.nals.iter().any(|nal| nal_type(nal) == IDR_SLICE)
    }

    /// Decoding may start here although it is no IDR picture: an I picture, or one announced by a recovery point.
    fn is_recovery_point(&self) -> bool {
        self.nals.iter().any(|nal| nal_type(nal) == SEI && has_recovery_point(nal))
            || self.slices().all(is_intra) && self.slices().next().is_some()
    }

    /// No other picture refers to this one.
    fn is_disposable(&self) -> bool {
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
                nal::write(nal, target);
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
    fn an_instantaneous_refresh_is_a_clean_entry_and_not_disposable() {
        let role = AccessUnit { nals: vec![&[0x65, 1], &[9]] }.role();
        assert_eq!((role.entry, role.disposable), (Entry::Clean, false));
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
