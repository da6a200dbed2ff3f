//! H.264 in MP4 or MOV, in pure Rust.

mod access_unit;
mod bits;
mod decoders;
mod job;
mod sps;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mp4_atom::Avcc;

use self::access_unit::{AccessUnit, nal_type};
use self::job::Job;
use self::sps::{Fields, Sps};
use super::mp4::{Checked, Description, Source, Track};
use super::supervise::supervise;
use super::yuv::{Colour, Matrix, Picture as Decoded, YuvFrame};
use super::{Limits, Orientation, VideoInfo, VideoOptions, VideoReader, conversion_hint};
use crate::{Error, Result};

/// Sample entries whose samples are H.264 access units.
pub(crate) const CODINGS: [&[u8; 4]; 4] = [b"avc1", b"avc2", b"avc3", b"avc4"];

/// Reads frames of an H.264 track.
pub(crate) struct H264Reader {
    path: PathBuf,
    source: Source,
    track: Arc<Track>,
    /// Where decoding can start at the earliest.
    first_sample: usize,
    picture: Picture,
    info: VideoInfo,
    options: VideoOptions,
}

/// What every picture of the track has to be.
#[derive(Clone, Copy, Debug)]
struct Picture {
    /// Size after the cropping that the stream asks for.
    decoded: (usize, usize),
    /// Size after the cropping that the container asks for.
    shown: (usize, usize),
    colour: Colour,
    fields: Fields,
}

impl H264Reader {
    /// Checks everything that can be known without decoding.
    pub(crate) fn new(
        path: &Path,
        mut source: Source,
        mut track: Track,
        options: VideoOptions,
    ) -> Result<Self> {
        let container = track.container;
        let damaged = |detail| Error::DamagedVideo { path: path.to_owned(), container, detail };
        check_descriptions(&track, source.len()).map_err(damaged)?;
        let first_sample = drop_undecodable(&mut source, &mut track).map_err(damaged)?;
        if track.shown.is_empty() {
            return Err(Error::NoFrames { path: path.to_owned() });
        }
        let sps = parameter_set(&mut source, &track, first_sample).map_err(damaged)?;
        let codec = format!("h264 ({})", profile_name(sps.profile_idc));
        let unsupported = |what: String| {
            let fix = conversion_hint(path);
            Error::UnsupportedVideo { path: path.to_owned(), what: format!("{codec}: {what}"), fix }
        };
        if sps.chroma_format_idc > 1 || sps.bit_depth != (8, 8) {
            let format = ["4:0:0", "4:2:0", "4:2:2", "4:4:4"].get(sps.chroma_format_idc as usize);
            let format = format.copied().unwrap_or("an unknown chroma format");
            return Err(unsupported(format!(
                "{format} with {} bits a sample (only 4:2:0 with 8 is)",
                sps.bit_depth.0
            )));
        }
        let description = &track.descriptions[track.samples[first_sample].description as usize - 1];
        let picture = picture(&sps, description).map_err(unsupported)?;
        let orientation = if options.autorotate {
            let slanted = || unsupported("turned by an angle that is no multiple of 90 degrees".to_owned());
            track.orientation.ok_or_else(slanted)?
        } else {
            Orientation::UPRIGHT
        };
        options.limits.check_picture(path, sps.width, sps.height)?;
        let mut info = info(path, &track, codec, picture.shown, orientation);
        info.colour = Some(picture.colour);
        Ok(Self {
            path: path.to_owned(),
            source,
            track: Arc::new(track),
            first_sample,
            picture,
            info,
            options,
        })
    }
}

impl VideoReader for H264Reader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn times(&self) -> Vec<f64> {
        self.track.times()
    }

    fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Decoded)) -> Result<()> {
        let mut wanted = Vec::with_capacity(indices.len());
        for &index in indices {
            let frame = self.track.shown.get(index).ok_or_else(|| Error::FrameIndex {
                path: self.path.clone(),
                index,
                num_frames: self.track.shown.len(),
            })?;
            wanted.push((frame.sample, index));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut samples: Vec<u32> = wanted.iter().map(|&(sample, _)| sample).collect();
        samples.dedup();
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut job = Job {
            source: self.source.try_clone().map_err(io)?,
            track: Arc::clone(&self.track),
            first_sample: self.first_sample,
            samples,
            picture: self.picture,
        };
        let limits = self.options.limits;
        let mut given = 0;
        let receive = |(sample, frame): (u32, YuvFrame)| {
            let picture = Decoded::Yuv(frame);
            // An edit list may show one sample as several frames.
            while let Some(&(_, index)) = wanted.get(given).filter(|(other, _)| *other == sample) {
                each(index, &picture);
                given += 1;
            }
        };
        let end = supervise(limits.per_picture, limits.per_read, move |reporter| job.run(reporter), receive);
        let missing = |cause| Error::FramesMissing {
            path: self.path.clone(),
            decoded: given,
            requested: wanted.len(),
            cause,
        };
        end.map_err(missing)?;
        if given < wanted.len() {
            return Err(missing("the decoder stopped early".to_owned()));
        }
        Ok(())
    }
}

/// Refuses samples that refer to no H.264 description, and tables whose samples overlap.
fn check_descriptions(track: &Track, file_len: u64) -> Checked<()> {
    let mut total = 0u64;
    for (index, sample) in track.samples.iter().enumerate() {
        let description = (sample.description as usize).checked_sub(1);
        match description.and_then(|number| track.descriptions.get(number)) {
            Some(found) if found.avc.is_some() || !CODINGS.contains(&&found.coding) => {}
            Some(_) => return Err("the sample description has no avcC box".to_owned()),
            None => {
                return Err(format!("sample {index} has description {}, there is none", sample.description));
            }
        }
        // Samples past the end of a truncated file cost nothing; those inside it must not be the same bytes again
        // and again, or a small file could ask for any amount of work.
        if sample.offset.saturating_add(u64::from(sample.size)) <= file_len {
            total += u64::from(sample.size);
        }
    }
    if total > file_len {
        return Err(format!("the samples overlap: {total} bytes in a file of {file_len}"));
    }
    Ok(())
}

/// Removes the frames that cannot be decoded because the file starts in the middle of a stream: everything before the
/// first key picture, and the pictures that follow it in the file but are shown before it. FFmpeg drops the same.
fn drop_undecodable(source: &mut Source, track: &mut Track) -> Checked<usize> {
    if track.shown.is_empty() {
        return Ok(0);
    }
    let mut start = None;
    for (index, sample) in track.samples.iter().enumerate().filter(|(_, sample)| sample.sync) {
        let bytes = source.read(sample.offset, u64::from(sample.size))?;
        let unit = AccessUnit::split(&bytes, length_size(track, index))?;
        if unit.is_recovery_point() {
            start = Some((index, unit.is_idr()));
            break;
        }
    }
    let Some((start, idr)) = start else {
        return Err("there is no key frame to start decoding from".to_owned());
    };
    if start > 0 || !idr {
        let samples = &track.samples;
        track.shown.retain(|frame| {
            let index = frame.sample as usize;
            index >= start && samples[index].cts >= samples[start].cts
        });
    }
    Ok(start)
}

/// The parameter set in force at the first picture: one inside the stream comes after those of the container.
fn parameter_set(source: &mut Source, track: &Track, first_sample: usize) -> Checked<Sps> {
    let sample = track.samples[first_sample];
    let bytes = source.read(sample.offset, u64::from(sample.size))?;
    let unit = AccessUnit::split(&bytes, length_size(track, first_sample))?;
    let in_band = unit.nals.iter().copied().filter(|nal| nal_type(nal) == access_unit::SPS);
    let in_header = avc(track, first_sample).sequence_parameter_sets.iter().map(Vec::as_slice);
    let nal = in_header.chain(in_band).last().ok_or("there is no sequence parameter set")?;
    Sps::parse(nal).ok_or_else(|| "the sequence parameter set is damaged".to_owned())
}

/// Sizes and colour; the message names what is not supported.
fn picture(sps: &Sps, description: &Description) -> std::result::Result<Picture, String> {
    let (tagged_matrix, tagged_range) = description.colour.unwrap_or((UNSPECIFIED, None));
    let code = sps.matrix.map_or(tagged_matrix, u16::from);
    let matrix = Matrix::from_code(code).ok_or_else(|| format!("colour matrix {code}"))?;
    let full_range = sps.full_range.or(tagged_range).unwrap_or(false);
    let decoded = (sps.width, sps.height);
    let asked = (usize::from(description.size.0), usize::from(description.size.1));
    // The container may cut the picture within its last macroblocks; FFmpeg obeys if the stream cuts nothing at the
    // top left. This is the only way to an odd size.
    let within = |asked: usize, decoded: usize| {
        asked > 0 && asked <= decoded && asked.next_multiple_of(16) == decoded.next_multiple_of(16)
    };
    let obey = !sps.cropped_at_origin && within(asked.0, decoded.0) && within(asked.1, decoded.1);
    let shown = if obey { asked } else { decoded };
    Ok(Picture { decoded, shown, colour: Colour { matrix, full_range }, fields: sps.fields })
}

/// The matrix code of a stream that does not say.
const UNSPECIFIED: u16 = 2;

fn info(
    path: &Path,
    track: &Track,
    codec: String,
    size: (usize, usize),
    orientation: Orientation,
) -> VideoInfo {
    let (width, height) = orientation.turned(size);
    let num_frames = track.shown.len();
    // The span from the first to the last shown picture covers one picture less than there are.
    let ends = track.shown.first().zip(track.shown.last());
    let span = ends.map_or(0, |(first, last)| last.time.saturating_sub(first.time));
    let seconds = span as f64 / f64::from(track.timescale.max(1));
    let frame_rate = (span > 0).then(|| (num_frames - 1) as f64 / seconds);
    let duration = frame_rate.map(|rate| num_frames as f64 / rate);
    VideoInfo {
        path: path.to_owned(),
        decoder: "builtin".to_owned(),
        container: track.container.to_owned(),
        codec,
        num_frames,
        width,
        height,
        orientation,
        colour: None,
        frame_rate,
        duration,
    }
}

/// The configuration of sample `index`, whose presence was checked when the reader was made.
fn avc(track: &Track, index: usize) -> &Avcc {
    let description = &track.descriptions[track.samples[index].description as usize - 1];
    description.avc.as_ref().expect("every description in use was checked to have an avcC box")
}

/// Bytes in the length before each NAL unit of sample `index`.
fn length_size(track: &Track, index: usize) -> usize {
    usize::from(avc(track, index).length_size)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mp4::Sample;

    fn track(offsets: &[u64], size: u32, description: u32) -> Track {
        let sample = |&offset| Sample { offset, size, dts: 0, cts: 0, sync: true, description };
        let avc = Avcc::new(&[0x67, 66, 0, 10], &[0x68]).unwrap();
        let description = Description { coding: *b"avc1", avc: Some(avc), ..Description::default() };
        Track {
            container: "mp4",
            descriptions: vec![description],
            samples: offsets.iter().map(sample).collect(),
            shown: Vec::new(),
            timescale: 1,
            orientation: None,
        }
    }

    #[test]
    fn samples_that_share_bytes_are_refused() {
        assert_eq!(check_descriptions(&track(&[0, 60], 60, 1), 120), Ok(()));
        let shared = check_descriptions(&track(&[0, 10, 20], 60, 1), 120);
        assert_eq!(shared, Err("the samples overlap: 180 bytes in a file of 120".to_owned()));
        // Beyond the end they are a truncated file, which is another matter.
        assert_eq!(check_descriptions(&track(&[0, 60, 120], 60, 1), 120), Ok(()));
    }

    #[test]
    fn a_sample_without_a_description_is_refused() {
        for number in [0, 2] {
            let found = check_descriptions(&track(&[0], 1, number), 10);
            assert_eq!(found, Err(format!("sample 0 has description {number}, there is none")));
        }
    }
}
