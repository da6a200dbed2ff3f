//! The NAL units of one coded picture, and what their headers tell of it.

use crate::decode::reader::{Entry, Role};

/// NAL unit types (H.265, table 7-1). Below 16, even types are pictures to which no other one of their temporal layer
/// refers.
const RASL: std::ops::RangeInclusive<u8> = 8..=9;
const BLA: std::ops::RangeInclusive<u8> = 16..=18;
const IDR: std::ops::RangeInclusive<u8> = 19..=20;
const CRA: u8 = 21;
const FIRST_INTRA: u8 = 16;
const FIRST_PARAMETER_SET: u8 = 32;
pub(super) const SPS: u8 = 33;
pub(super) const PPS: u8 = 34;
pub(super) const END_OF_SEQUENCE: u8 = 36;

/// One NAL unit of the base layer: its type and temporal layer, and all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit<'a> {
    pub(super) kind: u8,
    pub(super) layer: u8,
    pub(super) bytes: &'a [u8],
}

impl<'a> Unit<'a> {
    /// Reads the header; `None` for what is damaged, or is of another layer, where some files keep depth or alpha.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let &[first, second] = bytes.first_chunk()?;
        let forbidden = first >> 7;
        let layer_id = (first & 1) << 5 | second >> 3;
        let layer = (second & 7).checked_sub(1)?;
        (forbidden == 0 && layer_id == 0).then_some(Self { kind: first >> 1 & 63, layer, bytes })
    }

    /// A part of a coded picture.
    pub(super) fn is_slice(&self) -> bool {
        self.kind < FIRST_PARAMETER_SET
    }
}

/// What the other pictures have to do with this one.
pub(super) fn role(units: &[Unit<'_>]) -> Role {
    let Some(slice) = units.iter().find(|unit| unit.is_slice()) else {
        return Role { entry: Entry::No, disposable: false, layer: 0, leading: false, shown: true };
    };
    let entry = match slice.kind {
        kind if IDR.contains(&kind) => Entry::Clean,
        // A picture at which somebody cut is like the first of a file: its leading pictures are not shown.
        kind if kind == CRA || BLA.contains(&kind) => Entry::Open,
        _ => Entry::No,
    };
    let unreferred = slice.kind < FIRST_INTRA && slice.kind % 2 == 0;
    let only_slices = units.iter().all(|unit| !matches!(unit.kind, SPS | PPS | END_OF_SEQUENCE));
    Role {
        entry,
        disposable: unreferred && only_slices,
        layer: slice.layer,
        // The other kind of leading pictures refers to nothing before the entry.
        leading: RASL.contains(&slice.kind),
        shown: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(kind: u8, layer: u8) -> [u8; 3] {
        [kind << 1, layer + 1, 0x80]
    }

    fn role_of(kinds: &[(u8, u8)]) -> Role {
        let bytes: Vec<_> = kinds.iter().map(|&(kind, layer)| unit(kind, layer)).collect();
        role(&bytes.iter().filter_map(|bytes| Unit::parse(bytes)).collect::<Vec<_>>())
    }

    #[test]
    fn roles_follow_table_7_1() {
        let (trail_n, trail_r, radl_n, rasl_n, rasl_r, bla, idr, cra) = (0, 1, 6, 8, 9, 16, 19, 21);
        for (kind, entry, disposable, leading) in [
            (trail_n, Entry::No, true, false),
            (trail_r, Entry::No, false, false),
            (radl_n, Entry::No, true, false),
            (rasl_n, Entry::No, true, true),
            (rasl_r, Entry::No, false, true),
            (bla, Entry::Open, false, false),
            (idr, Entry::Clean, false, false),
            (cra, Entry::Open, false, false),
        ] {
            let expected = Role { entry, disposable, layer: 2, leading, shown: true };
            assert_eq!(role_of(&[(35, 0), (kind, 2)]), expected, "type {kind}");
        }
        assert!(!role_of(&[(PPS, 0), (trail_n, 0)]).disposable, "a later picture may need the parameters");
    }

    #[test]
    fn units_of_other_layers_and_damaged_headers_are_left_out() {
        assert_eq!(Unit::parse(&[0x40, 0x01, 7]).map(|unit| (unit.kind, unit.layer)), Some((32, 0)));
        for bytes in [&[0x40, 0x09][..], &[0x41, 0x01], &[0xc0, 0x01], &[0x40, 0x00], &[0x40]] {
            assert_eq!(Unit::parse(bytes), None, "{bytes:?}");
        }
    }
}
