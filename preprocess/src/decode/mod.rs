//! Video files to frames.
//!
//! A backend implements [`VideoReader`]: it knows a container and a codec, numbers the frames as a player shows them,
//! and gives pictures as YUV planes, with as many bits a sample as were coded. Turning them into RGB, and turning
//! sideways pictures upright, is done here, in one place for all backends, so that the result does not depend on the
//! backend.
//!
//! [`Decoder`] picks the backend: the decoders of this crate, in pure Rust, which know H.264, HEVC and VP9 in MP4, MOV,
//! Matroska and WebM, GIF, and folders of pictures; or for what they do not know or fail at the `ffmpeg` program, named
//! by `VIDEOMAE_FFMPEG` or found in `PATH`. With the feature `libav` it can also be FFmpeg's libraries in this process,
//! on request only: they are the fastest and know everything, but a hostile file could harm the process.

mod choice;
mod fallback;
mod ffmpeg;
mod gif;
mod h264;
mod hevc;
mod images;
#[cfg_attr(not(feature = "libav"), path = "libav_absent.rs")]
mod libav;
mod limits;
mod matroska;
mod mp4;
mod nal;
mod orientation;
mod reader;
mod rgb;
mod sniff;
mod supervise;
mod times;
mod track;
mod vp9;
mod yuv;

use std::path::{Path, PathBuf};

pub use self::choice::Decoder;
pub use self::limits::Limits;
pub use self::orientation::Orientation;
pub use self::yuv::{Colour, Matrix, Picture, RgbFrame, Siting, YuvFrame};

use self::h264::H264;
use self::hevc::Hevc;
use self::mp4::Source;
use self::reader::{Builtin, Codec, Engine, TrackReader};
use self::sniff::Container;
use self::track::{NoTrack, Track};
use self::vp9::Vp9;
use crate::sample::union;
use crate::{Error, Frames, Result};

/// An open video.
pub trait VideoReader: Send {
    /// What is known without decoding.
    fn info(&self) -> &VideoInfo;

    /// What the file may ask for.
    fn limits(&self) -> &Limits;

    /// When each frame is shown, in seconds after the first: as many as there are frames, ascending. A folder of
    /// pictures without a frame rate counts the frames.
    fn times(&self) -> Vec<f64>;

    /// Decodes the frames `indices`, in any order, and passes each distinct one to `each` with its index, as soon as
    /// it is decoded: not in the order asked for. Pictures come as coded: not turned by [`VideoInfo::orientation`].
    ///
    /// # Errors
    /// [`Error::FrameIndex`] for an index that does not exist, [`Error::FramesMissing`] when a frame cannot be
    /// decoded; what `each` was given before remains right.
    fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Picture)) -> Result<()>;
}

/// What is known of a video without decoding it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VideoInfo {
    /// The file.
    pub path: PathBuf,
    /// What decodes it.
    pub decoder: String,
    /// The container's name.
    pub container: String,
    /// The codec and its profile.
    pub codec: String,
    /// Frames that a player shows, counted in the index and not taken from a header.
    pub num_frames: usize,
    /// Width in pixels, after turning.
    pub width: usize,
    /// Height in pixels, after turning.
    pub height: usize,
    /// How pictures are turned after decoding.
    pub orientation: Orientation,
    /// What the samples mean; `None` for pictures that are RGB already.
    pub colour: Option<Colour>,
    /// Frames a second on average; `None` for a single frame.
    pub frame_rate: Option<f64>,
    /// Seconds from the first frame to the end of the last; `None` for a single frame.
    pub duration: Option<f64>,
}

/// How to open a video.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct VideoOptions {
    /// Turn pictures as the container says. On by default, as in every player.
    pub autorotate: bool,
    /// What decodes.
    pub decoder: Decoder,
    /// Frames a second, for a folder of pictures, which does not tell.
    pub frame_rate: Option<f64>,
    /// What the file may ask for.
    pub limits: Limits,
}

impl Default for VideoOptions {
    fn default() -> Self {
        Self { autorotate: true, decoder: Decoder::Auto, frame_rate: None, limits: Limits::default() }
    }
}

/// Opens a video with the default options.
///
/// # Errors
/// As [`open_video_with`].
pub fn open_video(path: impl AsRef<Path>) -> Result<Box<dyn VideoReader>> {
    open_video_with(path, VideoOptions::default())
}

/// Opens a video: finds its frames and checks that they can be decoded.
///
/// # Errors
/// Says what the file is when it is no video, what is wrong with it when it is damaged, and what to do when its
/// container or codec is not supported.
pub fn open_video_with(path: impl AsRef<Path>, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    let path = path.as_ref();
    check_frame_rate(path, options.frame_rate)?;
    match options.decoder {
        Decoder::Builtin => builtin(path, options),
        Decoder::Ffmpeg => {
            // The program's own words for a missing file or a folder are less clear.
            sniff::open_file(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
            ffmpeg::open(path, options)
        }
        Decoder::Libav => libav::open(path, options),
        // There is no other reader of folders.
        Decoder::Auto if path.is_dir() => builtin(path, options),
        Decoder::Auto => fallback::open(path, options),
    }
}

/// Refuses a frame rate that makes no sense, or for a file, which tells its own.
fn check_frame_rate(path: &Path, frame_rate: Option<f64>) -> Result<()> {
    let wrong = |expected: &str, rate| {
        let (expected, found) = (expected.to_owned(), format!("{rate} for {}", path.display()));
        Err(Error::Option { name: "frame_rate", expected, found })
    };
    match frame_rate {
        Some(rate) if !(rate.is_finite() && rate > 0.0) => wrong("a positive number", rate),
        Some(rate) if !path.is_dir() => wrong("none for a file, which tells its own", rate),
        _ => Ok(()),
    }
}

/// Opens a video with the decoders of this crate.
fn builtin(path: &Path, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    open_known::<Builtin>(path, options)
}

/// Opens what this crate knows the container and the codec of; `E` decodes the codecs.
fn open_known<E: Engine>(path: &Path, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    if path.is_dir() {
        return images::open(path, options);
    }
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut source = Source::new(sniff::open_file(path).map_err(io)?).map_err(io)?;
    let (name, track) = match sniff::container(path, &mut source)? {
        Container::Gif => return gif::open(path, options),
        Container::Mp4 => ("mp4", Track::read(&mut source)),
        Container::Matroska => {
            ("matroska", matroska::read(sniff::open_file(path).map_err(io)?, &options.limits))
        }
    };
    let track = track.map_err(|cause| match cause {
        NoTrack::Damaged(detail) => Error::DamagedVideo { path: path.to_owned(), container: name, detail },
        NoTrack::NoVideo(tracks) => Error::NoVideoTrack { path: path.to_owned(), tracks },
        NoTrack::Unsupported(what) => {
            Error::UnsupportedVideo { path: path.to_owned(), what, fix: conversion_hint(path) }
        }
    })?;
    let coding = track.descriptions[0].coding;
    if H264::CODINGS.contains(&&coding) {
        return Ok(Box::new(TrackReader::<H264, E>::new(path, source, track, options)?));
    }
    if Hevc::CODINGS.contains(&&coding) {
        return Ok(Box::new(TrackReader::<Hevc, E>::new(path, source, track, options)?));
    }
    if Vp9::CODINGS.contains(&&coding) {
        return Ok(Box::new(TrackReader::<Vp9, E>::new(path, source, track, options)?));
    }
    Err(Error::UnsupportedVideo {
        path: path.to_owned(),
        what: format!("{} in MP4 ({SUPPORTED})", sniff::codec_name(coding)),
        fix: conversion_hint(path),
    })
}

/// What [`builtin`] knows, for messages about what it does not know.
const SUPPORTED: &str = "H.264, HEVC and VP9 are what is supported";

/// Decodes the frames `indices`, in that order and as often as they are named, to RGB.
///
/// # Errors
/// Those of [`VideoReader::read_pictures`], and [`Error::VideoLimit`] when the frames would take too much memory.
/// No frame is ever repeated or made up in place of one that cannot be decoded.
pub fn read_frames(reader: &mut dyn VideoReader, indices: &[usize]) -> Result<Frames> {
    let info = reader.info().clone();
    let (width, height, orientation) = (info.width, info.height, info.orientation);
    let size = width * height * 3;
    reader.limits().check_output(&info.path, indices.len(), size)?;
    let mut data = vec![0; indices.len() * size];
    let mut upright = vec![0; if orientation == Orientation::UPRIGHT { 0 } else { size }];
    reader.read_pictures(indices, &mut |index, picture| {
        let mut slots = (0..indices.len()).filter(|&slot| indices[slot] == index);
        let Some(first) = slots.next() else { return };
        let target = first * size..(first + 1) * size;
        if orientation == Orientation::UPRIGHT {
            to_rgb(picture, &mut data[target.clone()]);
        } else {
            to_rgb(picture, &mut upright);
            orientation.apply(&upright, picture.size(), &mut data[target.clone()]);
        }
        for slot in slots {
            data.copy_within(target.clone(), slot * size);
        }
    })?;
    Frames::new(data, indices.len(), height, width)
}

/// Writes a picture as RGB, `(height, width, 3)`.
fn to_rgb(picture: &Picture, target: &mut [u8]) {
    match picture {
        Picture::Yuv(frame) => rgb::yuv_to_rgb(frame, 8, Siting::CENTRE, target),
        Picture::DeepYuv { frame, bit_depth, siting } => rgb::yuv_to_rgb(frame, *bit_depth, *siting, target),
        Picture::Rgb(frame) => target.copy_from_slice(&frame.data),
    }
}

/// As [`read_frames`] for each clip, but decodes a frame that several clips share only once.
///
/// # Errors
/// As [`read_frames`].
pub fn read_clips(reader: &mut dyn VideoReader, clips: &[Vec<usize>]) -> Result<Vec<Frames>> {
    let all = union(clips);
    let frames = read_frames(reader, &all)?;
    if clips == [all.as_slice()] {
        return Ok(vec![frames]);
    }
    let (height, width) = (frames.height(), frames.width());
    let total = clips.iter().map(Vec::len).sum();
    reader.limits().check_output(&reader.info().path, total, height * width * 3)?;
    let take = |clip: &Vec<usize>| {
        let mut data = Vec::with_capacity(clip.len() * height * width * 3);
        for index in clip {
            let place = all.binary_search(index).expect("the union has every frame");
            data.extend_from_slice(frames.frame(place));
        }
        Frames::new(data, clip.len(), height, width)
    };
    clips.iter().map(take).collect()
}

/// The frames to decode for `indices`: ascending, each once.
fn distinct(path: &Path, indices: &[usize], num_frames: usize) -> Result<Vec<usize>> {
    let mut wanted = indices.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    match wanted.last() {
        Some(&index) if index >= num_frames => {
            Err(Error::FrameIndex { path: path.to_owned(), index, num_frames })
        }
        _ => Ok(wanted),
    }
}

/// How to make a file that can be read.
fn conversion_hint(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("convert it with: ffmpeg -i {} -c:v libx264 -pix_fmt yuv420p {stem}-h264.mp4", path.display())
}
