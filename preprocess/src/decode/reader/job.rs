//! Decoding some frames of a track: what is read, what is skipped, where it starts.

use std::sync::Arc;

use super::codec::{Codec, Entry, Failure, Header, Input, Refusal, Role, SampleDecoder};
use crate::decode::mp4::Source;
use crate::decode::supervise::{Abandoned, Reporter};
use crate::decode::track::{Sample, Track};
use crate::decode::yuv::Picture;

/// The samples to decode, and everything needed for it.
pub(super) struct Job<C> {
    pub(super) source: Source,
    pub(super) track: Arc<Track>,
    /// No sample before this one can be decoded.
    pub(super) first_sample: usize,
    /// Which pictures are wanted: indices of samples, ascending.
    pub(super) samples: Vec<u32>,
    pub(super) codec: Arc<C>,
    pub(super) header: Header,
}

/// Why decoding stopped early.
enum Stop {
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

/// A decoder and how far it has come.
struct Progress {
    decoder: Box<dyn SampleDecoder>,
    /// The sample that would be decoded next; `None` before the first.
    next: Option<usize>,
    /// The sample at which decoding started last.
    start: usize,
    /// Nothing has been decoded since that start.
    starts: bool,
    /// The description that the decoder knows.
    description: Option<u32>,
}

impl<C: Codec> Job<C> {
    /// Decodes the samples and reports each picture; a second decoder takes over what the first does not know.
    pub(super) fn run(&mut self, reporter: &Reporter<(u32, Picture)>) -> Result<(), String> {
        let mut done = 0;
        let mut tried = Vec::new();
        for (name, decoder) in self.codec.decoders() {
            let start = self.first_sample;
            let progress = Progress { decoder, next: None, start, starts: true, description: None };
            match self.run_with(progress, &mut done, reporter) {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(cause)) => return Err(cause),
                Err(Stop::Unsupported(what)) => tried.push(format!("{name}: {what}")),
            }
        }
        Err(format!("no decoder knows this kind of {} ({})", C::NAME, tried.join("; ")))
    }

    fn run_with(
        &mut self,
        mut progress: Progress,
        done: &mut usize,
        reporter: &Reporter<(u32, Picture)>,
    ) -> Result<(), Stop> {
        while let Some(&sample) = self.samples.get(*done) {
            let target = sample as usize;
            let start = self.start_for(target, &progress)?;
            if progress.next != Some(start) {
                progress.start = start;
                progress.starts = true;
            }
            for index in start..target {
                match self.decode(&mut progress, index, false) {
                    Err(Stop::Failed(_)) if self.is_lost(index, progress.start) => {}
                    result => drop(result?),
                }
                reporter.alive()?;
            }
            if let Some(picture) = self.decode(&mut progress, target, true)? {
                reporter.item((sample, picture))?;
            }
            *done += 1;
        }
        Ok(())
    }

    /// Whether a picture is shown before the one at which decoding started although it follows it in the file: it may
    /// refer to what lies before the start. Nothing shown later refers to it.
    fn is_lost(&self, index: usize, start: usize) -> bool {
        index > start && self.track.samples[index].cts < self.track.samples[start].cts
    }

    /// Where to start so that `target` comes out right: at the last entry up to it, or where the decoder is.
    fn start_for(&mut self, target: usize, progress: &Progress) -> Result<usize, Stop> {
        let bytes = self.read(target)?;
        let leading = self.role(&bytes, target)?.leading;
        let lowest = match progress.next {
            Some(next) if !(leading && self.is_lost(target, progress.start)) => next,
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

    /// Gives one sample to the decoder, unless nobody needs it.
    fn decode(
        &mut self,
        progress: &mut Progress,
        index: usize,
        wanted: bool,
    ) -> Result<Option<Picture>, Stop> {
        let bytes = self.read(index)?;
        let role = self.role(&bytes, index)?;
        progress.next = Some(index + 1);
        if role.disposable && role.layer >= self.header.top_layer && !wanted {
            return Ok(None);
        }
        let number = self.track.samples[index].description;
        let input = Input {
            bytes: &bytes,
            description: self.track.description(index),
            new_description: progress.description.replace(number) != Some(number),
            starts: std::mem::take(&mut progress.starts),
        };
        let failed = |what: String| Stop::Failed(format!("coded picture {index}: {what}"));
        match progress.decoder.decode(&input) {
            Ok(Some(picture)) => self.finish(picture).map(Some).map_err(failed),
            Ok(None) if (role.disposable || !role.shown) && !wanted => Ok(None),
            Ok(None) => Err(failed("slices are missing".to_owned())),
            Err(Failure::Unsupported(what)) => Err(Stop::Unsupported(what)),
            Err(Failure::Damaged(what)) => Err(failed(what)),
        }
    }

    /// Checks the size and applies the container's part of the cropping and the colour tags.
    fn finish(&self, picture: Picture) -> Result<Picture, String> {
        let (found, (width, height)) = (picture.size(), self.header.decoded);
        if found != (width, height) {
            return Err(format!("the size changes from {width}×{height} to {}×{}", found.0, found.1));
        }
        Ok(picture.tagged(self.header.colour).crop(self.header.shown.0, self.header.shown.1))
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>, Stop> {
        let Sample { offset, size, .. } = self.track.samples[index];
        let read = self.source.read(offset, u64::from(size));
        read.map_err(|cause| Stop::Failed(format!("coded picture {index}: {cause}")))
    }

    fn role(&self, bytes: &[u8], index: usize) -> Result<Role, Stop> {
        C::role(self.track.description(index), bytes).map_err(|refusal| match refusal {
            Refusal::Damaged(cause) => Stop::Failed(format!("coded picture {index}: {cause}")),
            Refusal::Unsupported(what) => Stop::Unsupported(what),
        })
    }
}
