//! Everything that the decoders of this crate do not know, by the `ffmpeg` program.
//!
//! The program is a process of its own: what a hostile file does to it stays there, its memory and time are bounded,
//! and it is killed when it takes too long. It may read files and nothing else, and only through the demuxers of single files: a playlist could name
//! others. Frames are counted by decoding the file once when it is opened, since neither headers nor timestamps can be
//! relied on (an AVI file with B-frames has none on a third of its packets). Later reads decode in order and count
//! again.
//!
//! Pictures in 8-bit YUV 4:2:0 come as they are coded; FFmpeg itself turns anything else into RGB.

mod bounds;
pub(super) mod program;
mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub(super) use self::program::find;

use self::program::Program;
use self::report::Report;
use super::supervise::supervise;
use super::yuv::{Colour, Picture, RgbFrame, YuvFrame};
use super::{Limits, Orientation, VideoInfo, VideoOptions, VideoReader, distinct, times};
use crate::{Error, Result};

/// Reads frames through the program.
#[derive(Debug)]
pub(super) struct FfmpegReader {
    program: Program,
    options: VideoOptions,
    info: VideoInfo,
    times: Vec<f64>,
    format: Format,
}

/// What the program writes for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// 8-bit 4:2:0.
    Yuv { colour: Colour, interlaced: bool },
    /// 8-bit RGB.
    Rgb,
}

impl Format {
    /// The name to ask for.
    fn pixel_format(self) -> &'static str {
        match self {
            // A full range has a name of its own; asking for the other name would scale the samples.
            Self::Yuv { colour, .. } if colour.full_range => "yuvj420p",
            Self::Yuv { .. } => "yuv420p",
            Self::Rgb => "rgb24",
        }
    }

    fn bytes(self, width: usize, height: usize) -> usize {
        match self {
            Self::Yuv { .. } => width * height + 2 * width.div_ceil(2) * height.div_ceil(2),
            Self::Rgb => 3 * width * height,
        }
    }

    /// Splits what the program wrote.
    fn picture(self, width: usize, height: usize, bytes: Vec<u8>) -> Picture {
        match self {
            Self::Rgb => Picture::Rgb(RgbFrame { width, height, data: bytes }),
            Self::Yuv { colour, interlaced } => {
                let mut y = bytes;
                let mut u = y.split_off(width * height);
                let v = u.split_off(u.len() / 2);
                Picture::Yuv(YuvFrame { width, height, y, u, v, colour, interlaced })
            }
        }
    }
}

impl FfmpegReader {
    /// Decodes the file once and counts its frames.
    pub(super) fn new(program: PathBuf, path: &Path, options: VideoOptions) -> Result<Self> {
        Self::open(Program::new(program, path, &options), path, options)
    }

    /// As [`FfmpegReader::new`], but nothing that the program has to say of errors is passed over when frames are read.
    pub(super) fn strict(program: PathBuf, path: &Path, options: VideoOptions) -> Result<Self> {
        let mut program = Program::new(program, path, &options);
        program.strict = true;
        Self::open(program, path, options)
    }

    fn open(mut program: Program, path: &Path, options: VideoOptions) -> Result<Self> {
        let limits = options.limits;
        let refused = |what: String| Error::UnsupportedVideo {
            path: path.to_owned(),
            what: format!("ffmpeg cannot read it: {what}"),
            fix: "play it with another program to see whether it is whole".to_owned(),
        };
        let report = program.count().map_err(refused)?;
        if report.frames.is_empty() {
            return Err(Error::NoFrames { path: path.to_owned() });
        }
        let (width, height) = report.size.ok_or_else(|| refused("it does not tell the size".to_owned()))?;
        limits.check_picture(path, width, height)?;
        let times = report.times();
        let (frame_rate, duration) = times::rate(&times);
        let info = VideoInfo {
            path: path.to_owned(),
            decoder: format!("ffmpeg {}", report.version),
            container: report.container.clone(),
            codec: report.codec.clone(),
            num_frames: report.frames.len(),
            width,
            height,
            // The program has turned the pictures already.
            orientation: Orientation::UPRIGHT,
            colour: report.format.colour(),
            frame_rate,
            duration,
        };
        Ok(Self { program, options, info, times, format: report.format })
    }
}

impl VideoReader for FfmpegReader {
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
        let (width, height, format) = (self.info.width, self.info.height, self.format);
        let missing = |decoded, cause| Error::FramesMissing {
            path: self.info.path.clone(),
            decoded,
            requested: wanted.len(),
            cause,
        };
        let running = self.program.frames(&wanted, format.pixel_format());
        let (mut running, output) = running.map_err(|cause| missing(0, cause))?;
        let (size, count) = (format.bytes(width, height), wanted.len());
        let mut given = 0;
        let receive = |bytes: Vec<u8>| {
            each(wanted[given], &format.picture(width, height, bytes));
            given += 1;
        };
        let limits = self.options.limits;
        let work = move |reporter: &_| program::read_frames(output, size, count, reporter);
        // The first frame wanted may come after many that are not, of which nothing is heard.
        let end = supervise(limits.per_read, limits.per_read, work, receive);
        let said = running.finish();
        match end {
            Ok(()) if self.program.strict && !said.is_empty() => Err(missing(0, said)),
            Ok(()) => Ok(()),
            Err(cause) if said.is_empty() => Err(missing(given, cause)),
            Err(cause) => Err(missing(given, format!("{cause}; ffmpeg: {said}"))),
        }
    }
}

impl Format {
    /// What is known of the colours, for people.
    fn colour(self) -> Option<Colour> {
        match self {
            Self::Yuv { colour, .. } => Some(colour),
            Self::Rgb => None,
        }
    }
}

/// Opens a file with the program, wherever it is.
pub(super) fn open(path: &Path, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    match program() {
        Ok(program) => Ok(Box::new(FfmpegReader::new(program, path, options)?)),
        Err(fix) => Err(Error::UnsupportedVideo {
            path: path.to_owned(),
            what: "there is no ffmpeg program to read it with".to_owned(),
            fix,
        }),
    }
}

/// The variable that names the program.
const VARIABLE: &str = "VIDEOMAE_FFMPEG";

/// Where the program is, or what to do to have one.
pub(super) fn program() -> std::result::Result<PathBuf, String> {
    find(std::env::var_os(VARIABLE), std::env::var_os("PATH"))
}
