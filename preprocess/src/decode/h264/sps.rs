//! The sequence parameter set: picture size, sample format and colour, known before anything is decoded.

use crate::decode::nal::{Bits, unescape};

/// What this crate needs of a sequence parameter set (H.264, 7.3.2.1.1 and E.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    pub(super) profile_idc: u8,
    /// 0 monochrome, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
    pub(super) chroma_format_idc: u32,
    /// Bits per luma and chroma sample.
    pub(super) bit_depth: (u32, u32),
    /// Pixels after cropping.
    pub(super) width: usize,
    /// Rows after cropping.
    pub(super) height: usize,
    /// Whether rows or columns are cut at the left or the top.
    pub(super) cropped_at_origin: bool,
    /// How slice headers are read, and what they say of interlacing.
    pub(super) fields: Fields,
    /// Whether the range is full, if the stream says.
    pub(super) full_range: Option<bool>,
    /// The matrix code, if the stream says.
    pub(super) matrix: Option<u8>,
}

/// Whether and how pictures may consist of two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// Bits of `frame_num` in a slice header.
    pub(super) frame_num_bits: u32,
    /// Every picture is a progressive frame.
    pub(super) frame_mbs_only: bool,
    /// A frame may mix frame and field macroblocks.
    pub(super) mb_adaptive: bool,
}

/// Rows and columns cut at each edge, in chroma samples.
#[derive(Default)]
struct Crop {
    left: u32,
    right: u32,
    top: u32,
    bottom: u32,
}

impl Sps {
    /// Reads the set out of a NAL unit of type 7, header byte included; `None` when it is damaged.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = unescape(nal.get(1..)?);
        let (&[profile_idc, _constraints, _level], _) = payload.split_first_chunk()?;
        let mut bits = Bits::new(payload.get(3..)?);
        let _id = bits.unsigned()?;
        let (chroma_format_idc, bit_depth) = sample_format(profile_idc, &mut bits)?;
        let frame_num_bits = bits.unsigned()?.checked_add(4).filter(|&bits| bits <= 16)?;
        skip_picture_order(&mut bits)?;
        let _max_num_ref_frames = bits.unsigned()?;
        let _gaps_allowed = bits.flag()?;
        let width_in_mbs = bits.unsigned()?.checked_add(1)?;
        let height_in_units = bits.unsigned()?.checked_add(1)?;
        let frame_mbs_only = bits.flag()?;
        let mb_adaptive = !frame_mbs_only && bits.flag()?;
        let _direct_8x8_inference = bits.flag()?;
        let crop = if bits.flag()? {
            let [left, right, top, bottom] =
                [bits.unsigned()?, bits.unsigned()?, bits.unsigned()?, bits.unsigned()?];
            Crop { left, right, top, bottom }
        } else {
            Crop::default()
        };
        let (full_range, matrix) = if bits.flag()? { colour(&mut bits)? } else { (None, None) };
        // With field coding a unit of height is a pair of macroblock rows, and a unit of cropping a pair of lines.
        let unit_rows = if frame_mbs_only { 1 } else { 2 };
        let crop_x = if matches!(chroma_format_idc, 1 | 2) { 2 } else { 1 };
        let crop_y = if chroma_format_idc == 1 { 2 * unit_rows } else { unit_rows };
        Some(Self {
            profile_idc,
            chroma_format_idc,
            bit_depth,
            width: cropped(width_in_mbs, 1, crop.left, crop.right, crop_x)?,
            height: cropped(height_in_units, unit_rows, crop.top, crop.bottom, crop_y)?,
            cropped_at_origin: crop.left > 0 || crop.top > 0,
            fields: Fields { frame_num_bits, frame_mbs_only, mb_adaptive },
            full_range,
            matrix,
        })
    }
}

/// Samples left of `units · rows` macroblocks of 16 when both ends are cropped; `None` if none or if absurd.
fn cropped(units: u32, rows: u32, before: u32, after: u32, step: u32) -> Option<usize> {
    let coded = u64::from(units) * u64::from(rows) * 16;
    let cut = (u64::from(before) + u64::from(after)) * u64::from(step);
    usize::try_from(coded.checked_sub(cut).filter(|&left| left > 0)?).ok()
}

/// Chroma format and bit depths, which only the High profiles and their relatives spell out.
fn sample_format(profile_idc: u8, bits: &mut Bits<'_>) -> Option<(u32, (u32, u32))> {
    if !matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        return Some((1, (8, 8)));
    }
    let chroma_format_idc = bits.unsigned()?;
    if chroma_format_idc == 3 {
        let _separate_planes = bits.flag()?;
    }
    let depth = (bits.unsigned()?.checked_add(8)?, bits.unsigned()?.checked_add(8)?);
    let _lossless = bits.flag()?;
    if bits.flag()? {
        let lists = if chroma_format_idc == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some((chroma_format_idc, depth))
}

/// A scaling list ends early when the next scale would be zero (H.264, 7.3.2.1.1.1).
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let mut scale = 8i32;
    for _ in 0..size {
        scale = scale.wrapping_add(bits.signed()?).rem_euclid(256);
        if scale == 0 {
            break;
        }
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            let _log2_max_lsb = bits.unsigned()?;
        }
        1 => {
            let _always_zero = bits.flag()?;
            let _offsets = (bits.signed()?, bits.signed()?);
            for _ in 0..bits.unsigned()? {
                bits.signed()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Range and matrix, which come early in the video usability information.
fn colour(bits: &mut Bits<'_>) -> Option<(Option<bool>, Option<u8>)> {
    /// `aspect_ratio_idc` of a ratio spelled out in two 16-bit numbers.
    const EXTENDED_RATIO: u32 = 255;
    if bits.flag()? && bits.number(8)? == EXTENDED_RATIO {
        bits.number(32)?;
    }
    if bits.flag()? {
        let _overscan_appropriate = bits.flag()?;
    }
    if !bits.flag()? {
        return Some((None, None));
    }
    let _video_format = bits.number(3)?;
    let full_range = bits.flag()?;
    if !bits.flag()? {
        return Some((Some(full_range), None));
    }
    let _primaries_and_transfer = bits.number(16)?;
    Some((Some(full_range), u8::try_from(bits.number(8)?).ok()))
}
