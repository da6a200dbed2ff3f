//! The rule of `auto`: the decoders of this crate, and the `ffmpeg` program for what they do not know or fail at.
//!
//! A decoder that fails in the middle may have met damage, or a kind of stream that it does not know. The program is
//! asked for the rest, and has to agree: it must find as many frames of the same size, and say nothing of errors on the
//! way to those asked for, so that nothing is made up in place of what is damaged. When it fails as well, the error
//! names both causes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ffmpeg::{self, FfmpegReader};
use super::yuv::Picture;
use super::{Limits, VideoInfo, VideoOptions, VideoReader, builtin};
use crate::{Error, Result};

/// Opens a file with whatever can read it.
pub(super) fn open(path: &Path, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    let program = ffmpeg::program();
    let (path, first) = match builtin(path, options) {
        Ok(reader) => return Ok(Box::new(FallbackReader::new(reader, options, program))),
        Err(Error::UnsupportedVideo { path, what, .. }) => (path, what),
        Err(error) => return Err(error),
    };
    match program.map(|program| FfmpegReader::new(program, &path, options)) {
        Ok(Ok(reader)) => Ok(Box::new(reader)),
        Ok(Err(Error::UnsupportedVideo { path, what, fix })) => {
            Err(Error::UnsupportedVideo { path, what: format!("{first}; {what}"), fix })
        }
        Ok(Err(error)) => Err(error),
        Err(fix) => Err(Error::UnsupportedVideo { path, what: first, fix }),
    }
}

/// A reader of this crate, and the program in its place once it has failed.
struct FallbackReader {
    first: Box<dyn VideoReader>,
    second: Option<FfmpegReader>,
    /// Where the program is, or what to do to have one.
    program: std::result::Result<PathBuf, String>,
    options: VideoOptions,
    info: VideoInfo,
}

impl FallbackReader {
    fn new(
        first: Box<dyn VideoReader>,
        options: VideoOptions,
        program: std::result::Result<PathBuf, String>,
    ) -> Self {
        let info = first.info().clone();
        Self { first, second: None, program, options, info }
    }

    /// Opens the file with the program, if it sees the same video.
    fn open_second(&self, program: PathBuf) -> std::result::Result<FfmpegReader, String> {
        // Pictures have to come as they are coded, as the first reader gives them.
        let options = VideoOptions { autorotate: false, ..self.options };
        let second =
            FfmpegReader::strict(program, &self.info.path, options).map_err(|error| match error {
                Error::UnsupportedVideo { what, .. } => what,
                other => format!("ffmpeg: {other}"),
            })?;
        let shape = |info: &VideoInfo, (width, height): (usize, usize)| {
            format!("{} frames of {width}×{height} pixels", info.num_frames)
        };
        // Turning back what is turned.
        let expected = shape(&self.info, self.info.orientation.turned((self.info.width, self.info.height)));
        let found = shape(second.info(), (second.info().width, second.info().height));
        match found == expected {
            true => Ok(second),
            false => Err(format!("ffmpeg finds {found}, expected {expected}")),
        }
    }
}

impl VideoReader for FallbackReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn times(&self) -> Vec<f64> {
        self.first.times()
    }

    fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Picture)) -> Result<()> {
        if let Some(second) = &mut self.second {
            return second.read_pictures(indices, each);
        }
        let mut given = BTreeSet::new();
        let first = self.first.read_pictures(indices, &mut |index, picture| {
            given.insert(index);
            each(index, picture);
        });
        let (Err(Error::FramesMissing { requested, cause, .. }), Ok(program)) = (&first, &self.program)
        else {
            return first;
        };
        let missing = |decoded: usize, second: String| Error::FramesMissing {
            path: self.info.path.clone(),
            decoded: given.len() + decoded,
            requested: *requested,
            cause: format!("{cause}; {second}"),
        };
        let mut second = self.open_second(program.clone()).map_err(|cause| missing(0, cause))?;
        let left: Vec<usize> = indices.iter().copied().filter(|index| !given.contains(index)).collect();
        second.read_pictures(&left, each).map_err(|error| match error {
            Error::FramesMissing { decoded, cause, .. } => missing(decoded, format!("with ffmpeg: {cause}")),
            other => other,
        })?;
        self.info.decoder = format!("{} (builtin: {cause})", second.info().decoder);
        self.second = Some(second);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoder, open_video_with};
    use crate::{Frames, read_frames};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/video").join(name)
    }

    fn installed() -> Option<PathBuf> {
        let found = ffmpeg::find(None, std::env::var_os("PATH"));
        found.inspect_err(|_| eprintln!("skipped: there is no ffmpeg program here")).ok()
    }

    fn builtin_reader(path: &Path) -> Box<dyn VideoReader> {
        let options = VideoOptions { decoder: Decoder::Builtin, ..VideoOptions::default() };
        open_video_with(path, options).unwrap()
    }

    fn read_all(reader: &mut dyn VideoReader) -> Result<Frames> {
        let all: Vec<usize> = (0..reader.info().num_frames).collect();
        read_frames(reader, &all)
    }

    /// Gives the first frames, and fails at the others.
    struct Failing(Box<dyn VideoReader>, usize);

    impl VideoReader for Failing {
        fn info(&self) -> &VideoInfo {
            self.0.info()
        }

        fn limits(&self) -> &Limits {
            self.0.limits()
        }

        fn times(&self) -> Vec<f64> {
            self.0.times()
        }

        fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Picture)) -> Result<()> {
            let known: Vec<usize> = indices.iter().copied().filter(|&index| index < self.1).collect();
            self.0.read_pictures(&known, each)?;
            Err(Error::FramesMissing {
                path: self.info().path.clone(),
                decoded: known.len(),
                requested: indices.len(),
                cause: "an odd slice".to_owned(),
            })
        }
    }

    #[test]
    fn the_program_gives_what_the_first_reader_fails_at() {
        let Some(program) = installed() else { return };
        for name in ["high_b_frames.mp4", "rotated_90.mp4", "interlaced.mp4"] {
            let expected = read_all(&mut *builtin_reader(&fixture(name))).unwrap();
            let failing = Box::new(Failing(builtin_reader(&fixture(name)), 2));
            let mut reader = FallbackReader::new(failing, VideoOptions::default(), Ok(program.clone()));
            assert!(read_all(&mut reader).unwrap() == expected, "{name}: some from each");
            let decoder = &reader.info().decoder;
            assert!(
                decoder.starts_with("ffmpeg ") && decoder.ends_with(" (builtin: an odd slice)"),
                "{decoder}"
            );
            assert!(read_all(&mut reader).unwrap() == expected, "{name}: all from the program");
        }
    }

    #[test]
    fn without_a_program_the_first_cause_is_the_error() {
        let failing = Box::new(Failing(builtin_reader(&fixture("baseline.mp4")), 3));
        let mut reader = FallbackReader::new(failing, VideoOptions::default(), Err("install it".to_owned()));
        let error = read_all(&mut reader).unwrap_err().to_string();
        assert!(error.ends_with("3 of 20 frames could be decoded: an odd slice"), "{error}");
    }

    #[test]
    fn a_damaged_file_fails_twice_and_both_causes_are_named() {
        let Some(program) = installed() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let bytes = std::fs::read(fixture("moov_first.mp4")).unwrap();
        let mut flipped = bytes.clone();
        // In the middle of the coded pictures, which come last.
        let middle = bytes.len() * 3 / 5;
        flipped[middle..middle + 40].fill(0xa5);
        for bytes in [&bytes[..bytes.len() * 9 / 10], &flipped] {
            std::fs::write(&path, bytes).unwrap();
            let mut reader =
                FallbackReader::new(builtin_reader(&path), VideoOptions::default(), Ok(program.clone()));
            let error = read_all(&mut reader).unwrap_err().to_string();
            assert!(
                error.contains("frames could be decoded: coded picture ")
                    && error.contains("; ffmpeg finds "),
                "{error}"
            );
        }
    }
}
