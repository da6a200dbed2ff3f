//! Which backend decodes.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A backend, or the rule that picks one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decoder {
    /// The decoders of this crate, and the `ffmpeg` program for what they do not know or fail at.
    #[default]
    Auto,
    /// The decoders of this crate.
    Builtin,
    /// The `ffmpeg` program, a process of its own.
    Ffmpeg,
    /// The libraries of FFmpeg, inside this process: the fastest, for files that are trusted. Needs the feature `libav`.
    Libav,
}

impl Decoder {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Builtin, Self::Ffmpeg, Self::Libav];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Builtin => "builtin",
            Self::Ffmpeg => "ffmpeg",
            Self::Libav => "libav",
        }
    }
}

impl fmt::Display for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Decoder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|decoder| decoder.name() == text).ok_or_else(|| Error::Option {
            name: "decoder",
            expected: Self::ALL.map(Self::name).join(", "),
            found: format!("{text:?}"),
        })
    }
}
