//! FFmpeg's libraries inside this process: faster than the other decoders, for training on files that are trusted.
//!
//! What this crate finds the frames of (H.264, HEVC and VP9 in MP4, MOV, Matroska and WebM) is read as for its own
//! decoders, and FFmpeg's only decode the samples: the frame list, seeking and skipping are the same, so that nothing
//! but speed differs. Everything else goes through FFmpeg's demuxers and is decoded from the start, because neither
//! headers nor timestamps of other containers can be relied on. GIF and folders of pictures are read by this crate.
//!
//! A file that is not trusted should not come here: the libraries are C, and what a hostile file does to them it does
//! to this process. Sizes, time and the opening of other files are bounded all the same.

mod bitstream;
mod decoder;
mod demuxer;
mod picture;
mod sequence;
#[cfg(test)]
mod tests;
mod track;

use std::path::Path;
use std::sync::Once;

use ffmpeg_next::codec;
use ffmpeg_next::util::{error, log};

use self::sequence::SequenceReader;
use self::track::Libav;
use super::{VideoOptions, VideoReader, open_known};
use crate::{Error, Result};

/// Opens a file with the libraries.
pub(super) fn open(path: &Path, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    initialize();
    match open_known::<Libav>(path, options) {
        Err(Error::UnsupportedVideo { path, what, .. }) => {
            Ok(Box::new(SequenceReader::new(&path, options, &what)?))
        }
        opened => opened,
    }
}

/// Makes the libraries keep their messages to themselves, and their error codes readable.
fn initialize() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        error::register_all();
        log::set_level(log::Level::Quiet);
    });
}

/// The name and version of what decodes.
fn version() -> String {
    let version = codec::version();
    format!("libav (libavcodec {}.{}.{})", version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// What the libraries call an error, as a part of a sentence.
fn text(error: ffmpeg_next::Error) -> String {
    let words = error.to_string();
    let mut characters = words.chars();
    characters.next().map_or(words.clone(), |first| first.to_lowercase().chain(characters).collect())
}
