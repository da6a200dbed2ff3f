//! GIF, decoded by the `gif` crate and composed here.
//!
//! A file is a canvas and pictures that are drawn on it one after the other, each on a part of it and with holes; what
//! is seen after each is a frame. The rules are those of FFmpeg, so of PyAV and torchcodec, bit for bit:
//!
//! - A canvas starts as the background colour, or white if the first picture has a transparent colour or the file has
//!   no palette of its own; areas that are cleared later become the same. (Pillow starts with other colours and clears
//!   to the transparent one, so that it differs where nothing covers the canvas. Where pictures cover it, as almost
//!   always, the two agree.)
//! - A picture that reaches past the border is cut; one that is larger than the canvas, or lies outside, is an error.
//! - A delay of 0 means a tenth of a second, any other is taken as it is (FFmpeg 5.1 takes 1 as 10 too, FFmpeg 8.1 does not).
//! - The file is shown once, whatever it says about repetition.
//!
//! In three rare cases a file gives other frames than through FFmpeg: pictures without any block between them are
//! frames of their own here, and but one frame there; the rows of an interlaced picture that reaches past the lower
//! border are dealt by its whole height here, and by what is visible there; and a damaged picture is an error here,
//! where FFmpeg leaves what was there.

mod canvas;

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroU64;
use std::path::Path;

use gif::{DecodeOptions, Decoder, DecodingError, Frame, MemoryLimit};

use self::canvas::Canvas;
use super::supervise::{Reporter, supervise};
use super::yuv::{Picture, RgbFrame};
use super::{Limits, Orientation, VideoInfo, VideoOptions, VideoReader, distinct, sniff};
use crate::{Error, Result};

/// Reads the frames of a GIF file.
struct GifReader {
    options: VideoOptions,
    info: VideoInfo,
    entries: Vec<Entry>,
}

/// What is known of a picture without decoding it.
#[derive(Clone, Copy)]
struct Entry {
    /// Hundredths of a second for which it is shown.
    delay: u32,
    /// Nothing before it matters.
    fresh_start: bool,
}

/// What a delay of 0 means, in hundredths of a second.
const DEFAULT_DELAY: u32 = 10;

/// Opens a GIF file and lists its pictures.
pub(super) fn open(path: &Path, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    let limits = options.limits;
    let damaged = |detail| Error::DamagedVideo { path: path.to_owned(), container: "gif", detail };
    let file = || sniff::open_file(path).map_err(|source| Error::Io { path: path.to_owned(), source });
    let (width, height) = size(&mut BufReader::new(file()?)).map_err(damaged)?;
    limits.check_picture(path, width, height)?;
    let file = file()?;
    let mut entries = Vec::new();
    let scan = move |reporter: &Reporter<Entry>| list(file, &limits, reporter);
    supervise(limits.per_picture, limits.per_read, scan, |entry| entries.push(entry)).map_err(damaged)?;
    let hundredths: u64 = entries.iter().map(|entry| u64::from(entry.delay)).sum();
    let last = entries.last().ok_or_else(|| Error::NoFrames { path: path.to_owned() })?;
    let span = hundredths - u64::from(last.delay);
    let info = VideoInfo {
        path: path.to_owned(),
        decoder: "builtin".to_owned(),
        container: "gif".to_owned(),
        codec: "gif".to_owned(),
        num_frames: entries.len(),
        width,
        height,
        orientation: Orientation::UPRIGHT,
        colour: None,
        frame_rate: (span > 0).then(|| (entries.len() - 1) as f64 * 100.0 / span as f64),
        duration: (span > 0).then_some(hundredths as f64 / 100.0),
    };
    Ok(Box::new(GifReader { options, info, entries }))
}

impl VideoReader for GifReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn times(&self) -> Vec<f64> {
        let mut hundredths = 0u64;
        let seconds = |entry: &Entry| {
            let start = hundredths as f64 / 100.0;
            hundredths += u64::from(entry.delay);
            start
        };
        self.entries.iter().map(seconds).collect()
    }

    fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Picture)) -> Result<()> {
        let path = &self.info.path;
        let wanted = distinct(path, indices, self.info.num_frames)?;
        let file = sniff::open_file(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let requested = wanted.len();
        let limits = self.options.limits;
        let mut job = Job { entries: self.entries.clone(), wanted, next: 0, limits };
        let mut decoded = 0;
        let receive = |(index, frame)| {
            each(index, &Picture::Rgb(frame));
            decoded += 1;
        };
        let end =
            supervise(limits.per_picture, limits.per_read, move |reporter| job.run(file, reporter), receive);
        end.map_err(|cause| Error::FramesMissing { path: path.clone(), decoded, requested, cause })
    }
}

/// Width and height of the canvas, before anything is set aside for it.
fn size(source: &mut impl std::io::Read) -> std::result::Result<(usize, usize), String> {
    let mut header = [0; 10];
    source.read_exact(&mut header).map_err(|_| "the file ends inside its header".to_owned())?;
    let at = |offset: usize| usize::from(u16::from_le_bytes([header[offset], header[offset + 1]]));
    match (at(6), at(8)) {
        (width, height) if width > 0 && height > 0 => Ok((width, height)),
        (width, height) => Err(format!("the canvas has {width}×{height} pixels")),
    }
}

/// Opens the decoder at the first picture.
fn decoder(file: File, limits: &Limits) -> std::result::Result<(Decoder<File>, Canvas), String> {
    let mut options = DecodeOptions::new();
    // One byte a pixel: the index of its colour.
    options.set_memory_limit(MemoryLimit::Bytes(
        NonZeroU64::new(limits.pixels as u64).unwrap_or(NonZeroU64::MIN),
    ));
    let decoder = options.read_info(file).map_err(|error| match error {
        DecodingError::UnexpectedEof => "the file ends before its first picture".to_owned(),
        other => other.to_string(),
    })?;
    let palette = decoder.global_palette().unwrap_or_default().to_vec();
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    let canvas = Canvas::new(width, height, palette, decoder.bg_color());
    Ok((decoder, canvas))
}

/// Reports each picture. A file may end after a picture or inside it, which is an error only when that one is wanted;
/// most programs forgive a missing end.
fn list(file: File, limits: &Limits, reporter: &Reporter<Entry>) -> std::result::Result<(), String> {
    let (mut decoder, canvas) = decoder(file, limits)?;
    for number in 0.. {
        let frame = match decoder.next_frame_info() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(DecodingError::UnexpectedEof) if number > 0 => return Ok(()),
            Err(error) => return Err(describe(number, &error)),
        };
        if !canvas.has_room_for(frame) {
            let Frame { left, top, width, height, .. } = frame;
            return Err(format!(
                "picture {number} has {width}×{height} pixels at ({left}, {top}) of {canvas}"
            ));
        }
        let delay = if frame.delay == 0 { DEFAULT_DELAY } else { u32::from(frame.delay) };
        let entry = Entry { delay, fresh_start: canvas.is_fresh_start(frame) };
        reporter.item(entry).map_err(|_| "the caller has given up".to_owned())?;
    }
    Ok(())
}

/// What failed, and in which picture.
fn describe(number: usize, error: &DecodingError) -> String {
    match error {
        DecodingError::UnexpectedEof => format!("picture {number}: the file ends inside it"),
        other => format!("picture {number}: {other}"),
    }
}

/// Composing some frames.
struct Job {
    entries: Vec<Entry>,
    /// The frames wanted, ascending.
    wanted: Vec<usize>,
    /// The picture that the decoder would give next.
    next: usize,
    limits: Limits,
}

impl Job {
    /// Reports each frame that is wanted.
    fn run(&mut self, file: File, reporter: &Reporter<(usize, RgbFrame)>) -> std::result::Result<(), String> {
        let (mut decoder, mut canvas) = decoder(file, &self.limits)?;
        let mut indices = Vec::new();
        for index in std::mem::take(&mut self.wanted) {
            let fresh = (self.next..=index).rev().find(|&earlier| self.entries[earlier].fresh_start);
            let start = fresh.unwrap_or(self.next);
            for number in self.next..=index {
                let frame = decoder.next_frame_info().map_err(|error| describe(number, &error))?;
                let frame = frame.filter(|frame| canvas.has_room_for(frame));
                let frame = frame.ok_or_else(|| format!("picture {number}: the file has changed"))?.clone();
                if number >= start {
                    indices.resize(usize::from(frame.width) * usize::from(frame.height), 0);
                    decoder.read_into_buffer(&mut indices).map_err(|error| describe(number, &error))?;
                    canvas.draw(&frame, &indices);
                }
                reporter.alive().map_err(|_| "the caller has given up".to_owned())?;
            }
            self.next = index + 1;
            let frame = canvas.frame();
            reporter.item((index, frame)).map_err(|_| "the caller has given up".to_owned())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canvas_without_pixels_is_refused() {
        let header = |width: u8| [b'G', b'I', b'F', b'8', b'9', b'a', width, 0, 3, 0];
        assert_eq!(size(&mut &header(2)[..]), Ok((2, 3)));
        assert_eq!(size(&mut &header(0)[..]), Err("the canvas has 0×3 pixels".to_owned()));
        assert_eq!(size(&mut &header(2)[..9]), Err("the file ends inside its header".to_owned()));
    }
}
