//! Frames that only decoding counts: everything from the first on is decoded, once to count and once to read.
//!
//! An AVI file with B-frames has no time on a third of its packets, a program stream may start in the middle of a
//! group of pictures, and headers lie; what comes out of the decoder is what there is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::decoder::DecoderOptions;
use super::demuxer::{Demuxer, Heading};
use super::{picture, version};
use crate::decode::supervise::{Abandoned, Reporter, supervise};
use crate::decode::yuv::{Colour, Picture};
use crate::decode::{
    Limits, Orientation, VideoInfo, VideoOptions, VideoReader, conversion_hint, distinct, sniff, times,
};
use crate::{Error, Result};

/// Reads frames of any file that the libraries know.
pub(super) struct SequenceReader {
    options: VideoOptions,
    info: VideoInfo,
    times: Vec<f64>,
    /// The time of each frame as the container has it.
    stamps: Arc<Vec<i64>>,
    /// Width and height as coded.
    size: (usize, usize),
}

/// What is seen while frames are counted.
enum Seen {
    Heading(Heading),
    /// The first frame.
    Colour(Colour),
    /// When a frame is shown.
    Frame(i64),
}

impl SequenceReader {
    /// Decodes the file once and counts its frames. `other` says why the readers of this crate do not know it.
    pub(super) fn new(path: &Path, options: VideoOptions, other: &str) -> Result<Self> {
        let unsupported = |what: &str| Error::UnsupportedVideo {
            path: path.to_owned(),
            what: format!("{other}; with libav: {what}"),
            fix: conversion_hint(path),
        };
        let limits = options.limits;
        let (mut heading, mut colour, mut frames) = (None, None, Vec::new());
        let receive = |seen| match seen {
            Seen::Heading(found) => heading = Some(found),
            Seen::Colour(found) => colour = Some(found),
            Seen::Frame(time) => frames.push(time),
        };
        // A player counts what is damaged too; whoever asks for it is told.
        let end = run(path, &limits, false, receive, move |demuxer, heading, reporter| {
            count(demuxer, heading, &limits, reporter)
        })?;
        let heading = heading.ok_or_else(|| unsupported(end.as_ref().err().map_or("", String::as_str)))?;
        let (width, height) = heading.size;
        limits.check_picture(path, width, height)?;
        end.map_err(|cause| unsupported(&cause))?;
        if frames.is_empty() {
            return Err(Error::NoFrames { path: path.to_owned() });
        }
        let orientation = if options.autorotate {
            let slanted = || unsupported("turned by an angle that is no multiple of 90 degrees");
            heading.orientation.ok_or_else(slanted)?
        } else {
            Orientation::UPRIGHT
        };
        let times = times::seconds(&frames, heading.time_base);
        let (frame_rate, duration) = times::rate(&times);
        let (width, height) = orientation.turned(heading.size);
        let info = VideoInfo {
            path: path.to_owned(),
            decoder: version(),
            container: heading.container,
            codec: heading.codec,
            num_frames: frames.len(),
            width,
            height,
            orientation,
            colour,
            frame_rate,
            duration,
        };
        Ok(Self { options, info, times, stamps: Arc::new(frames), size: heading.size })
    }
}

impl VideoReader for SequenceReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn times(&self) -> Vec<f64> {
        self.times.clone()
    }

    fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Picture)) -> Result<()> {
        let wanted = distinct(&self.info.path, indices, self.info.num_frames)?;
        let (requested, size, stamps) = (wanted.len(), self.size, Arc::clone(&self.stamps));
        let mut given = 0;
        let receive = |(index, picture): (usize, Picture)| {
            each(index, &picture);
            given += 1;
        };
        let end = run(&self.info.path, &self.options.limits, true, receive, move |demuxer, _, reporter| {
            read(demuxer, &wanted, size, &stamps, reporter)
        })?;
        let path = &self.info.path;
        end.map_err(|cause| Error::FramesMissing { path: path.clone(), decoded: given, requested, cause })
    }
}

/// Opens the file and does `work` with it, on a thread that is watched. `strict` as in [`DecoderOptions`].
///
/// # Errors
/// The outer one when the file cannot be opened, the inner one when it cannot be decoded.
fn run<T: Send + 'static>(
    path: &Path,
    limits: &Limits,
    strict: bool,
    receive: impl FnMut(T),
    work: impl FnOnce(Demuxer, Heading, &Reporter<T>) -> std::result::Result<(), String> + Send + 'static,
) -> Result<std::result::Result<(), String>> {
    let file = sniff::open_file(path).map_err(|source| Error::Io { path: PathBuf::from(path), source })?;
    let given_up = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&given_up);
    let options = DecoderOptions { max_pixels: limits.pixels, strict };
    let work = move |reporter: &Reporter<T>| {
        let (demuxer, heading) = Demuxer::open(file, options, told)?;
        work(demuxer, heading, reporter)
    };
    // What cannot be heard of for this long may be the search for the first frame.
    let end = supervise(limits.per_picture, limits.per_read, work, receive);
    given_up.store(true, Ordering::Relaxed);
    Ok(end)
}

fn count(
    mut demuxer: Demuxer,
    heading: Heading,
    limits: &Limits,
    reporter: &Reporter<Seen>,
) -> std::result::Result<(), String> {
    let (width, height) = heading.size;
    // The caller makes the error.
    let refused = limits.check_picture(Path::new(""), width, height).map_err(|error| error.to_string());
    reporter.item(Seen::Heading(heading)).map_err(nobody)?;
    refused?;
    let mut first = true;
    while demuxer.advance()? {
        if std::mem::take(&mut first) {
            let colour = picture::colour(demuxer.frame())?;
            reporter.item(Seen::Colour(colour)).map_err(nobody)?;
        }
        reporter.item(Seen::Frame(stamp(&demuxer))).map_err(nobody)?;
    }
    Ok(())
}

fn read(
    mut demuxer: Demuxer,
    wanted: &[usize],
    (width, height): (usize, usize),
    stamps: &[i64],
    reporter: &Reporter<(usize, Picture)>,
) -> std::result::Result<(), String> {
    let mut next = 0;
    for &index in wanted {
        while next <= index {
            if !demuxer.advance()? {
                return Err(format!("the stream ends after {next} frames, {index} was asked for"));
            }
            if stamps.get(next) != Some(&stamp(&demuxer)) {
                return Err(format!("frame {next} or one before it: parts of the stream are damaged"));
            }
            next += 1;
            reporter.alive().map_err(nobody)?;
        }
        if let Some(damage) = demuxer.damage() {
            return Err(format!("frame {index} or one before it: {damage}"));
        }
        let picture = picture::picture(demuxer.frame()).map_err(|what| format!("frame {index}: {what}"))?;
        let found = picture.size();
        if found != (width, height) {
            let found = format!("{}×{}", found.0, found.1);
            return Err(format!("frame {index}: the size changes from {width}×{height} to {found}"));
        }
        reporter.item((index, picture)).map_err(nobody)?;
    }
    Ok(())
}

/// When the last frame is shown; 0, that is with the first, if it does not tell.
fn stamp(demuxer: &Demuxer) -> i64 {
    demuxer.frame().timestamp().unwrap_or(0)
}

fn nobody(_: Abandoned) -> String {
    "the caller has given up".to_owned()
}
