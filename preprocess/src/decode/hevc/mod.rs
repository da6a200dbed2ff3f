//! HEVC (H.265), 4:2:0 with 8 or 10 bits a sample. The decoder takes other formats too, but with 12 bits some of its
//! pictures are not those of FFmpeg.

mod access_unit;
mod decoder;
mod sps;

use mp4_atom::Hvcc;

use self::access_unit::{SPS, Unit, role};
use self::decoder::RustH265;
use self::sps::Sps;
use super::mp4::Checked;
use super::nal;
use super::reader::{Codec, Header, Refusal, Role, SampleDecoder};
use super::track::{Configuration, Description};
use super::yuv::{Colour, Matrix, Siting};

/// What pictures are tagged with.
pub(super) struct Hevc {
    siting: Siting,
}

impl Codec for Hevc {
    const NAME: &'static str = "HEVC";
    // The last two are Dolby Vision, whose base layer is plain HEVC; the rest of it is ignored, as FFmpeg does.
    const CODINGS: &'static [&'static [u8; 4]] = &[b"hvc1", b"hev1", b"dvh1", b"dvhe"];
    const MAY_HIDE: bool = false;

    fn check(description: &Description) -> Checked<()> {
        match description.configuration {
            Configuration::Hevc(_) => Ok(()),
            _ => Err("the sample description has no hvcC box".to_owned()),
        }
    }

    fn role(description: &Description, sample: &[u8]) -> Result<Role, Refusal> {
        Ok(role(&units(description, sample)?))
    }

    fn open(description: &Description, sample: &[u8]) -> Result<(Self, Header), Refusal> {
        let sps = parameter_set(description, sample)?;
        let codec = format!("hevc ({})", profile_name(sps.profile_idc));
        let depth = sps.bit_depth.0;
        if sps.chroma_format_idc != 1 || sps.bit_depth.1 != depth || !matches!(depth, 8 | 10) {
            let format = ["4:0:0", "4:2:0", "4:2:2", "4:4:4"][sps.chroma_format_idc as usize];
            return Err(Refusal::Unsupported(format!(
                "{codec}: {format} with {depth} bits a sample (only 4:2:0 with 8 or 10 is)"
            )));
        }
        // What the container says of colours is overruled by a stream that says nothing, in FFmpeg and so here.
        let code = sps.matrix.map_or(UNSPECIFIED, u16::from);
        let matrix = Matrix::from_code(code)
            .ok_or_else(|| Refusal::Unsupported(format!("{codec}: colour matrix {code}")))?;
        let colour = Colour { matrix, full_range: sps.full_range.unwrap_or(false) };
        let size = (sps.width, sps.height);
        let top_layer = sps.top_layer;
        Ok((Self { siting: sps.siting }, Header { codec, decoded: size, shown: size, colour, top_layer }))
    }

    fn decoders(&self) -> Vec<(&'static str, Box<dyn SampleDecoder>)> {
        vec![("rust_h265", Box::new(RustH265::new(self.siting)))]
    }
}

/// The matrix code of a stream that does not say.
const UNSPECIFIED: u16 = 2;

/// The parameter set in force at the first picture: one inside the stream comes after those of the container.
fn parameter_set(description: &Description, sample: &[u8]) -> Checked<Sps> {
    let in_band = units(description, sample)?;
    let mut all = parameter_sets(description).chain(in_band);
    let last = all.by_ref().filter(|unit| unit.kind == SPS).last();
    let unit = last.ok_or("there is no sequence parameter set")?;
    Sps::parse(unit.bytes).ok_or_else(|| "the sequence parameter set is damaged".to_owned())
}

/// The units that the container keeps for all samples.
fn parameter_sets(description: &Description) -> impl Iterator<Item = Unit<'_>> {
    hvcc(description).arrays.iter().flat_map(|array| &array.nalus).filter_map(|bytes| Unit::parse(bytes))
}

/// The units of a sample that belong to the picture proper.
fn units<'a>(description: &Description, sample: &'a [u8]) -> Checked<Vec<Unit<'a>>> {
    let length_size = usize::from(hvcc(description).length_size_minus_one) + 1;
    Ok(nal::split(sample, length_size)?.into_iter().filter_map(Unit::parse).collect())
}

/// The configuration, whose presence was checked when the reader was made.
fn hvcc(description: &Description) -> &Hvcc {
    match &description.configuration {
        Configuration::Hevc(hvcc) => hvcc,
        _ => unreachable!("a description without an hvcC box was refused"),
    }
}

/// Profile names of H.265, annex A.
fn profile_name(profile_idc: u32) -> String {
    match profile_idc {
        1 => "Main".to_owned(),
        2 => "Main 10".to_owned(),
        3 => "Main Still Picture".to_owned(),
        4 => "Rext".to_owned(),
        other => format!("profile {other}"),
    }
}
