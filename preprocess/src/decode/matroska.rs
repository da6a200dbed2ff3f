//! Matroska and WebM: the first video track, as the same lists of samples that MP4 gives.
//!
//! The demuxer reads a file from front to back, on a thread with a deadline; what is kept of each block is where its
//! bytes lie. Blocks are stored in decoding order and carry the time at which they are shown.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::rc::Rc;

use matroska_demuxer::{
    DemuxError, Frame, MatrixCoefficients, MatroskaFile, Range, TrackEntry, TrackType, Video,
};

use super::mp4::leaf;
use super::supervise::{Reporter, supervise};
use super::track::{Configuration, Description, NoTrack, Sample, Shown, Track};
use super::{Limits, Orientation, SUPPORTED};

/// Reads the first video track.
pub(super) fn read(file: File, limits: &Limits) -> Result<Track, NoTrack> {
    let mut found = None;
    let work = move |reporter: &Reporter<_>| {
        let track = index(file, reporter);
        reporter.item(track).map_err(|_| "the caller has given up".to_owned())
    };
    supervise(limits.per_picture, limits.per_read, work, |track| found = Some(track))?;
    found.unwrap_or_else(|| Err("the demuxer ended without an answer".to_owned().into()))
}

/// A file that tells where reading has come to.
struct Tracked {
    file: BufReader<File>,
    position: Rc<Cell<u64>>,
}

impl Read for Tracked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.position.set(self.position.get() + count as u64);
        Ok(count)
    }
}

impl Seek for Tracked {
    fn seek(&mut self, target: SeekFrom) -> std::io::Result<u64> {
        // A jump inside the buffer keeps it.
        let ahead = match target {
            SeekFrom::Start(to) => i64::try_from(i128::from(to) - i128::from(self.position.get())).ok(),
            SeekFrom::Current(by) => Some(by),
            SeekFrom::End(_) => None,
        };
        let to = match ahead.filter(|by| by.unsigned_abs() < 1 << 12) {
            Some(by) => {
                self.file.seek_relative(by)?;
                self.file.stream_position()?
            }
            None => self.file.seek(target)?,
        };
        self.position.set(to);
        Ok(to)
    }
}

/// What is wrong, found at a byte of the file.
fn tell(error: DemuxError, position: u64) -> String {
    match error {
        DemuxError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            format!("the file ends in the middle of an element, after byte {position}")
        }
        // Of these the crate would print the cause, and they have none.
        DemuxError::IoError(error) => error.to_string(),
        DemuxError::FromUtf8Error(error) => error.to_string(),
        DemuxError::TryFromIntError(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn index(file: File, reporter: &Reporter<Result<Track, NoTrack>>) -> Result<Track, NoTrack> {
    let position = Rc::new(Cell::new(0));
    let tracked = Tracked { file: BufReader::new(file), position: Rc::clone(&position) };
    let damaged = |error| NoTrack::Damaged(tell(error, position.get()));
    let mut demuxer = MatroskaFile::open(tracked).map_err(damaged)?;
    let entry = demuxer.tracks().iter().find(|track| track.track_type() == TrackType::Video);
    let entry = entry.ok_or_else(|| {
        let kinds = demuxer.tracks().iter().map(|track| format!("{:?}", track.track_type()).to_lowercase());
        NoTrack::NoVideo(kinds.collect())
    })?;
    let number = entry.track_number().get();
    let description = description(entry)?;
    let mut samples: Vec<Sample> = Vec::new();
    let mut frame = Frame::default();
    while demuxer.next_frame(&mut frame).map_err(damaged)? {
        if reporter.alive().is_err() {
            return Err("the caller has given up".to_owned().into());
        }
        let unshown = u32::try_from(frame.data.len()).ok().zip(i64::try_from(frame.timestamp).ok());
        let (size, cts) = unshown.ok_or_else(|| "a block is larger or later than any can be".to_owned())?;
        if frame.track == number {
            let offset = position.get() - u64::from(size);
            // A block of a group does not say whether it is a key frame; the decoder looks into those that may be.
            let sync = frame.is_keyframe.unwrap_or(true);
            samples.push(Sample { offset, size, dts: samples.len() as i64, cts, sync, description: 1 });
        }
    }
    let mut by_time: Vec<u32> = (0..samples.len() as u32).collect();
    // The sort is stable: equal times keep decoding order.
    by_time.sort_by_key(|&sample| samples[sample as usize].cts);
    let shown = by_time.iter().map(|&sample| Shown { sample, time: samples[sample as usize].cts }).collect();
    // Times count units of so many nanoseconds, a million as a rule.
    let ticks = 1_000_000_000 / demuxer.info().timestamp_scale().get();
    Ok(Track {
        container: if demuxer.ebml_header().doc_type() == "webm" { "webm" } else { "matroska" },
        descriptions: vec![description],
        samples,
        shown,
        timescale: u32::try_from(ticks.max(1)).unwrap_or(u32::MAX),
        orientation: Some(Orientation::UPRIGHT),
    })
}

fn description(entry: &TrackEntry) -> Result<Description, NoTrack> {
    let codec = entry.codec_id();
    if entry.content_encodings().is_some_and(|encodings| !encodings.is_empty()) {
        return Err(NoTrack::Unsupported(format!("{codec} with its blocks compressed or encrypted")));
    }
    let private = || entry.codec_private().ok_or_else(|| "the track has no CodecPrivate".to_owned());
    let (coding, configuration) = match codec {
        "V_MPEG4/ISO/AVC" => (b"avc1", Configuration::Avc(leaf(private()?)?)),
        "V_MPEGH/ISO/HEVC" => (b"hvc1", Configuration::Hevc(leaf(private()?)?)),
        "V_VP9" => (b"vp09", Configuration::None),
        _ => return Err(NoTrack::Unsupported(format!("{codec} ({SUPPORTED})"))),
    };
    let video = entry.video().ok_or_else(|| "the video track has no size".to_owned())?;
    let side = |pixels: u64| u16::try_from(pixels).unwrap_or(0);
    Ok(Description {
        coding: *coding,
        size: (side(video.pixel_width().get()), side(video.pixel_height().get())),
        configuration,
        colour: colour(video),
    })
}

/// The codes are those of ISO/IEC 23091-2, whose names the demuxer gives.
fn colour(video: &Video) -> Option<(u16, Option<bool>)> {
    let colour = video.colour()?;
    let code = match colour.matrix_coefficients() {
        None | Some(MatrixCoefficients::Unknown) => 2,
        Some(MatrixCoefficients::Identity) => 0,
        Some(MatrixCoefficients::Bt709) => 1,
        Some(MatrixCoefficients::Fcc73682) => 4,
        Some(MatrixCoefficients::Bt470bg) => 5,
        Some(MatrixCoefficients::Smpte170) => 6,
        Some(MatrixCoefficients::Smpte240) => 7,
        Some(MatrixCoefficients::YCoCg) => 8,
        Some(MatrixCoefficients::Bt2020Ncl) => 9,
        Some(MatrixCoefficients::Bt2020Cl) => 10,
        // Anything newer is refused later, as is every code without a linear conversion.
        Some(_) => 11,
    };
    let full_range = match colour.range() {
        Some(Range::Broadcast) => Some(false),
        Some(Range::Full) => Some(true),
        _ => None,
    };
    Some((code, full_range))
}
