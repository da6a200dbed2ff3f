//! Decoding some frames of a track: what is read, what is skipped, where it starts.

use std::sync::Arc;

use super::codec::{Codec, Entry, Header, Refusal, Role};
use crate::decode::mp4::Source;
use crate::decode::supervise::Abandoned;
use crate::decode::track::{Sample, Track};
use crate::decode::yuv::Picture;

/// The samples to decode, and everything needed for it.
pub(crate) struct Job<C> {
    pub(super) source: Source,
    pub(crate) track: Arc<Track>,
    /// No sample before this one can be decoded.
    pub(crate) first_sample: usize,
    /// Which pictures are wanted: indices of samples, ascending.
    pub(crate) samples: Vec<u32>,
    pub(super) codec: Arc<C>,
    pub(crate) header: Header,
}

/// Why decoding stopped early.
pub(crate) enum Stop {
    /// Another decoder may know what this one does not.
    Unsupported(String),
    /// Nothing can help.
    Failed(String),
}

impl From<Abandoned> for Stop {
    fn from(_: Abandoned) -> Self {
        Self::Failed("the caller has given up".to_owned())
    }
}

/// How far a decoder has come.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    /// The sample that would be decoded next; `None` before the first.
    pub(crate) next: Option<usize>,
    /// The sample at which decoding started last.
    pub(crate) start: usize,
}

impl<C: Codec> Job<C> {
    /// Where a decoder is that has not begun.
    pub(crate) fn beginning(&self) -> Position {
        Position { next: None, start: self.first_sample }
    }

    /// Whether a picture is shown before the one at which decoding started although it follows it in the file: it may
    /// refer to what lies before the start. Nothing shown later refers to it.
    pub(crate) fn is_lost(&self, index: usize, start: usize) -> bool {
        index > start && self.track.samples[index].cts < self.track.samples[start].cts
    }

    /// Where to start so that `target` comes out right: at the last entry up to it, or where the decoder is.
    pub(crate) fn start_for(&mut self, target: usize, position: Position) -> Result<usize, Stop> {
        let bytes = self.read(target)?;
        let leading = self.role(&bytes, target)?.leading;
        let lowest = match position.next {
            Some(next) if !(leading && self.is_lost(target, position.start)) => next,
            _ => self.first_sample,
        };
        for index in (lowest + 1..=target).rev() {
            if self.track.samples[index].sync {
                let bytes = self.read(index)?;
                let usable = match self.role(&bytes, index)?.entry {
                    Entry::Clean => true,
                    Entry::Open => !(leading && self.is_lost(target, index)),
                    Entry::Doubtful | Entry::No => false,
                };
                if usable {
                    return Ok(index);
                }
            }
        }
        Ok(lowest)
    }

    /// Whether a picture that nobody wants may be left out, because no other refers to it.
    pub(crate) fn skips(&self, role: &Role) -> bool {
        role.disposable && role.layer >= self.header.top_layer
    }

    /// Checks the size and applies the container's part of the cropping and the colour tags.
    pub(crate) fn finish(&self, picture: Picture) -> Result<Picture, String> {
        let (found, (width, height)) = (picture.size(), self.header.decoded);
        if found != (width, height) {
            return Err(format!("the size changes from {width}×{height} to {}×{}", found.0, found.1));
        }
        Ok(picture.tagged(self.header.colour).crop(self.header.shown.0, self.header.shown.1))
    }

    pub(crate) fn read(&mut self, index: usize) -> Result<Vec<u8>, Stop> {
        let Sample { offset, size, .. } = self.track.samples[index];
        let read = self.source.read(offset, u64::from(size));
        read.map_err(|cause| failed(index, cause))
    }

    pub(crate) fn role(&self, bytes: &[u8], index: usize) -> Result<Role, Stop> {
        C::role(self.track.description(index), bytes).map_err(|refusal| match refusal {
            Refusal::Damaged(cause) => failed(index, cause),
            Refusal::Unsupported(what) => Stop::Unsupported(what),
        })
    }
}

/// Says which coded picture something is wrong with.
pub(crate) fn failed(index: usize, what: impl std::fmt::Display) -> Stop {
    Stop::Failed(format!("coded picture {index}: {what}"))
}
