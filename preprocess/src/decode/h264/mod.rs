//! H.264.

mod access_unit;
mod decoders;
mod sps;

use mp4_atom::Avcc;

use self::access_unit::{AccessUnit, nal_type};
use self::decoders::{DECODERS, UnitDecoder};
use self::sps::{Fields, Sps};
use super::mp4::Checked;
use super::reader::{Codec, Header, Refusal, Role, SampleDecoder};
use super::track::{Configuration, Description};
use super::yuv::{Colour, Matrix};

/// What slice headers are read with.
pub(super) struct H264 {
    fields: Fields,
}

impl Codec for H264 {
    const NAME: &'static str = "H.264";
    const CODINGS: &'static [&'static [u8; 4]] = &[b"avc1", b"avc2", b"avc3", b"avc4"];
    const MAY_HIDE: bool = false;

    fn check(description: &Description) -> Checked<()> {
        match description.configuration {
            Configuration::Avc(_) => Ok(()),
            _ => Err("the sample description has no avcC box".to_owned()),
        }
    }

    fn role(description: &Description, sample: &[u8]) -> Result<Role, Refusal> {
        Ok(AccessUnit::split(sample, length_size(description))?.role())
    }

    fn open(description: &Description, sample: &[u8]) -> Result<(Self, Header), Refusal> {
        let sps = parameter_set(description, sample)?;
        let codec = format!("h264 ({})", profile_name(sps.profile_idc));
        if sps.chroma_format_idc > 1 || sps.bit_depth != (8, 8) {
            let format = ["4:0:0", "4:2:0", "4:2:2", "4:4:4"].get(sps.chroma_format_idc as usize);
            let format = format.copied().unwrap_or("an unknown chroma format");
            let depth = sps.bit_depth.0;
            return Err(Refusal::Unsupported(format!(
                "{codec}: {format} with {depth} bits a sample (only 4:2:0 with 8 is)"
            )));
        }
        let colour = colour(&sps, description)
            .map_err(|code| Refusal::Unsupported(format!("{codec}: colour matrix {code}")))?;
        let decoded = (sps.width, sps.height);
        let shown = shown_size(&sps, description);
        Ok((Self { fields: sps.fields }, Header { codec, decoded, shown, colour, top_layer: 0 }))
    }

    fn decoders(&self) -> Vec<(&'static str, Box<dyn SampleDecoder>)> {
        let make = |&(name, make): &(&'static str, decoders::Make)| {
            let decoder: Box<dyn SampleDecoder> = Box::new(UnitDecoder::new(make(), self.fields));
            (name, decoder)
        };
        DECODERS.iter().map(make).collect()
    }
}

/// The parameter set in force at the first picture: one inside the stream comes after those of the container.
fn parameter_set(description: &Description, sample: &[u8]) -> Checked<Sps> {
    let unit = AccessUnit::split(sample, length_size(description))?;
    let in_band = unit.nals.iter().copied().filter(|nal| nal_type(nal) == access_unit::SPS);
    let in_header = avc(description).sequence_parameter_sets.iter().map(Vec::as_slice);
    let nal = in_header.chain(in_band).last().ok_or("there is no sequence parameter set")?;
    Sps::parse(nal).ok_or_else(|| "the sequence parameter set is damaged".to_owned())
}

/// Matrix and range; the error is a matrix code that is not supported.
fn colour(sps: &Sps, description: &Description) -> Result<Colour, u16> {
    /// The matrix code of a stream that does not say.
    const UNSPECIFIED: u16 = 2;
    let (tagged_matrix, tagged_range) = description.colour.unwrap_or((UNSPECIFIED, None));
    let code = sps.matrix.map_or(tagged_matrix, u16::from);
    let matrix = Matrix::from_code(code).ok_or(code)?;
    Ok(Colour { matrix, full_range: sps.full_range.or(tagged_range).unwrap_or(false) })
}

/// The container may cut the picture within its last macroblocks; FFmpeg obeys if the stream cuts nothing at the top
/// left. This is the only way to an odd size.
fn shown_size(sps: &Sps, description: &Description) -> (usize, usize) {
    let decoded = (sps.width, sps.height);
    let asked = (usize::from(description.size.0), usize::from(description.size.1));
    let within = |asked: usize, decoded: usize| {
        asked > 0 && asked <= decoded && asked.next_multiple_of(16) == decoded.next_multiple_of(16)
    };
    let obey = !sps.cropped_at_origin && within(asked.0, decoded.0) && within(asked.1, decoded.1);
    if obey { asked } else { decoded }
}

/// The configuration, whose presence was checked when the reader was made.
fn avc(description: &Description) -> &Avcc {
    match &description.configuration {
        Configuration::Avc(avc) => avc,
        _ => unreachable!("a description without an avcC box was refused"),
    }
}

/// Bytes in the length before each NAL unit.
fn length_size(description: &Description) -> usize {
    usize::from(avc(description).length_size)
}

/// Profile names of H.264, annex A.
fn profile_name(profile_idc: u8) -> String {
    match profile_idc {
        66 => "Baseline".to_owned(),
        77 => "Main".to_owned(),
        88 => "Extended".to_owned(),
        100 => "High".to_owned(),
        110 => "High 10".to_owned(),
        122 => "High 4:2:2".to_owned(),
        244 => "High 4:4:4 Predictive".to_owned(),
        other => format!("profile {other}"),
    }
}
