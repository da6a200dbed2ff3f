//! Bits and Exp-Golomb codes of H.264 and HEVC headers.

/// Reads bits, most significant first, out of a NAL unit payload whose escape bytes have been removed.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// One bit; `None` past the end.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// An unsigned number of `count` bits, at most 32.
    pub(crate) fn number(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    /// An unsigned Exp-Golomb code, `ue(v)` (H.264, 9.1).
    pub(crate) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            // Codes with more zeros do not fit the syntax elements of either standard.
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.number(zeros)?)
    }

    /// A signed Exp-Golomb code, `se(v)` (H.264, 9.1.1).
    pub(crate) fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }
}

/// Removes the emulation prevention bytes: in `00 00 03` the 3 is no data (H.264, 7.4.1.1).
pub(crate) fn unescape(payload: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut plain = Vec::with_capacity(payload.len());
    for &byte in payload {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_follow_table_9_2() {
        // 1 | 010 | 011 | 00100 | 00111, then zeros to the end.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0011, 0b1000_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.unsigned()).collect();
        assert_eq!(values, [0, 1, 2, 3, 6].map(Some));
        assert_eq!(bits.unsigned(), None, "the payload ends inside a code");
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.signed()).collect();
        assert_eq!(values, [0, 1, -1, 2, -2].map(Some));
    }

    #[test]
    fn escapes_are_removed_only_after_two_zeros() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 3, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 3, 0, 0, 0, 0]);
    }
}
