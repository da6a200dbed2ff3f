//! Decoding some frames of a track: what is read, what is skipped, where it starts.

use std::sync::Arc;

use super::access_unit::{AccessUnit, PPS, SPS, nal_type, write_nal};
use super::decoders::{DECODERS, Failure, Input, PictureDecoder};
use super::{Picture, avc, length_size};
use crate::decode::mp4::{Sample, Source, Track};
use crate::decode::supervise::{Abandoned, Reporter};
use crate::decode::yuv::YuvFrame;

/// The samples to decode, and everything needed for it.
pub(super) struct Job {
    pub(super) source: Source,
    pub(super) track: Arc<Track>,
    /// No sample before this one can be decoded.
    pub(super) first_sample: usize,
    /// Which pictures are wanted: indices of samples, ascending.
    pub(super) samples: Vec<u32>,
    pub(super) picture: Picture,
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
    decoder: Box<dyn PictureDecoder>,
    /// The sample that would be decoded next; `None` before the first.
    next: Option<usize>,
    /// The description whose parameter sets the decoder has.
    description: Option<u32>,
    /// Whether the first picture it was given was an instantaneous refresh.
    from_refresh: Option<bool>,
}

impl Job {
    /// Decodes the samples and reports each picture; a second decoder takes over what the first does not know.
    pub(super) fn run(&mut self, reporter: &Reporter<(u32, YuvFrame)>) -> Result<(), String> {
        let mut done = 0;
        let mut tried = Vec::new();
        for (name, make) in DECODERS {
            let progress = Progress { decoder: make(), next: None, description: None, from_refresh: None };
            match self.run_with(progress, &mut done, reporter) {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(cause)) => return Err(cause),
                Err(Stop::Unsupported(what)) => tried.push(format!("{name}: {what}")),
            }
        }
        Err(format!("no decoder knows this kind of H.264 ({})", tried.join("; ")))
    }

    fn run_with(
        &mut self,
        mut progress: Progress,
        done: &mut usize,
        reporter: &Reporter<(u32, YuvFrame)>,
    ) -> Result<(), Stop> {
        while let Some(&sample) = self.samples.get(*done) {
            let target = sample as usize;
            for index in self.start_for(target, progress.next)?..target {
                match self.decode(&mut progress, index, false) {
                    Err(Stop::Failed(_)) if self.is_undecodable(index) => {}
                    result => drop(result?),
                }
                reporter.alive()?;
            }
            let frame = self.decode(&mut progress, target, true)?;
            progress.next = Some(target + 1);
            if let Some(frame) = frame {
                reporter.item((sample, frame))?;
            }
            *done += 1;
        }
        Ok(())
    }

    /// Whether a picture follows the first one in the file but is shown before it: in a file that was cut at a key
    /// picture it may refer to pictures that were cut off. It is no frame of the video, and nothing shown later
    /// refers to it.
    fn is_undecodable(&self, index: usize) -> bool {
        self.track.samples[index].cts < self.track.samples[self.first_sample].cts
    }

    /// Where to start so that `target` comes out right: at the last instantaneous refresh up to it, or where the
    /// decoder is. Other key pictures would do if everybody marked them truthfully.
    fn start_for(&mut self, target: usize, next: Option<usize>) -> Result<usize, Stop> {
        let lowest = next.unwrap_or(self.first_sample);
        for index in (lowest + 1..=target).rev() {
            if self.track.samples[index].sync {
                let bytes = self.read(index)?;
                if self.split(&bytes, index)?.is_idr() {
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
    ) -> Result<Option<YuvFrame>, Stop> {
        let bytes = self.read(index)?;
        let unit = self.split(&bytes, index)?;
        let has_parameters = unit.nals.iter().any(|nal| matches!(nal_type(nal), SPS | PPS));
        if unit.is_disposable() && !has_parameters && !wanted {
            return Ok(None);
        }
        let mut annex_b = Vec::with_capacity(bytes.len() + 64);
        let mut parameter_sets = Vec::new();
        let description = self.track.samples[index].description;
        if progress.description.replace(description) != Some(description) {
            let avc = avc(&self.track, index);
            parameter_sets.extend(avc.sequence_parameter_sets.iter().chain(&avc.picture_parameter_sets));
            parameter_sets.retain(|nal| !nal.is_empty());
            parameter_sets.iter().for_each(|nal| write_nal(nal, &mut annex_b));
        }
        unit.write_annex_b(&mut annex_b);
        let all = parameter_sets.into_iter().map(Vec::as_slice).chain(unit.nals.iter().copied());
        let picture_parameter_sets: Vec<&[u8]> = all.filter(|nal| nal_type(nal) == PPS).collect();
        let from_refresh = *progress.from_refresh.get_or_insert(unit.is_idr());
        let input =
            Input { annex_b: &annex_b, picture_parameter_sets: &picture_parameter_sets, from_refresh };
        let failed = |what: String| Stop::Failed(format!("coded picture {index}: {what}"));
        match progress.decoder.decode(&input) {
            Ok(Some(mut frame)) => {
                frame.interlaced = unit.is_interlaced(self.picture.fields);
                self.finish(frame).map(Some).map_err(failed)
            }
            Ok(None) if unit.is_disposable() && !wanted => Ok(None),
            Ok(None) => Err(failed("slices are missing".to_owned())),
            Err(Failure::Unsupported(what)) => Err(Stop::Unsupported(what)),
            Err(Failure::Damaged(what)) => Err(failed(what)),
        }
    }

    /// Checks the size and applies the container's part of the cropping and the colour tags.
    fn finish(&self, mut frame: YuvFrame) -> Result<YuvFrame, String> {
        let (width, height) = self.picture.decoded;
        if (frame.width, frame.height) != (width, height) {
            return Err(format!(
                "the size changes from {width}×{height} to {}×{}",
                frame.width, frame.height
            ));
        }
        frame.colour = self.picture.colour;
        Ok(frame.crop(self.picture.shown.0, self.picture.shown.1))
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>, Stop> {
        let Sample { offset, size, .. } = self.track.samples[index];
        let read = self.source.read(offset, u64::from(size));
        read.map_err(|cause| Stop::Failed(format!("coded picture {index}: {cause}")))
    }

    fn split<'a>(&self, bytes: &'a [u8], index: usize) -> Result<AccessUnit<'a>, Stop> {
        let split = AccessUnit::split(bytes, length_size(&self.track, index));
        split.map_err(|cause| Stop::Failed(format!("coded picture {index}: {cause}")))
    }
}
