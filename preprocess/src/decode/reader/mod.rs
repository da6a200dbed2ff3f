//! Reads frames of a track, whatever the codec: what is shown, where decoding starts, what is skipped.

mod codec;
mod engine;
pub(super) mod job;

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::codec::{Codec, Entry, Failure, Header, Input, Refusal, Role, SampleDecoder};
pub(super) use self::engine::{Builtin, Engine};
use self::job::Job;

use super::mp4::{Checked, Source};
use super::supervise::supervise;
use super::track::Track;
use super::yuv::Picture;
use super::{Limits, Orientation, VideoInfo, VideoOptions, VideoReader, conversion_hint};
use crate::{Error, Result};

/// Reads frames of a track coded with `C`, which `E` decodes.
pub(super) struct TrackReader<C, E> {
    path: PathBuf,
    source: Source,
    track: Arc<Track>,
    /// Where decoding can start at the earliest.
    first_sample: usize,
    codec: Arc<C>,
    header: Header,
    info: VideoInfo,
    options: VideoOptions,
    engine: PhantomData<E>,
}

impl<C: Codec, E: Engine> TrackReader<C, E> {
    /// Checks everything that can be known without decoding.
    pub(super) fn new(
        path: &Path,
        mut source: Source,
        mut track: Track,
        options: VideoOptions,
    ) -> Result<Self> {
        let container = track.container;
        let unsupported = |what: String| {
            let fix = conversion_hint(path);
            Error::UnsupportedVideo { path: path.to_owned(), what, fix }
        };
        let refused = |refusal| match refusal {
            Refusal::Damaged(detail) => Error::DamagedVideo { path: path.to_owned(), container, detail },
            Refusal::Unsupported(what) => unsupported(what),
        };
        check::<C>(&track, source.len()).map_err(refused)?;
        let first_sample = drop_unseen::<C>(&mut source, &mut track).map_err(refused)?;
        if track.shown.is_empty() {
            return Err(Error::NoFrames { path: path.to_owned() });
        }
        let bytes = read(&mut source, &track, first_sample).map_err(|detail| refused(detail.into()))?;
        let (codec, header) = C::open(track.description(first_sample), &bytes).map_err(refused)?;
        let orientation = if options.autorotate {
            let slanted = || {
                unsupported(format!("{}: turned by an angle that is no multiple of 90 degrees", header.codec))
            };
            track.orientation.ok_or_else(slanted)?
        } else {
            Orientation::UPRIGHT
        };
        options.limits.check_picture(path, header.decoded.0, header.decoded.1)?;
        let info = VideoInfo { decoder: E::name(), ..info(path, &track, &header, orientation) };
        let (path, track, codec) = (path.to_owned(), Arc::new(track), Arc::new(codec));
        let engine = PhantomData;
        Ok(Self { path, source, track, first_sample, codec, header, info, options, engine })
    }
}

impl<C: Codec + Sync, E: Engine> VideoReader for TrackReader<C, E> {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn times(&self) -> Vec<f64> {
        self.track.times()
    }

    fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Picture)) -> Result<()> {
        let mut wanted = Vec::with_capacity(indices.len());
        for index in super::distinct(&self.path, indices, self.track.shown.len())? {
            wanted.push((self.track.shown[index].sample, index));
        }
        wanted.sort_unstable();
        let mut samples: Vec<u32> = wanted.iter().map(|&(sample, _)| sample).collect();
        samples.dedup();
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut job = Job {
            source: self.source.try_clone().map_err(io)?,
            track: Arc::clone(&self.track),
            first_sample: self.first_sample,
            samples,
            codec: Arc::clone(&self.codec),
            header: self.header.clone(),
        };
        let mut given = 0;
        let receive = |(sample, picture): (u32, Picture)| {
            // An edit list may show one sample as several frames.
            let first = wanted.partition_point(|&(other, _)| other < sample);
            for &(_, index) in wanted[first..].iter().take_while(|(other, _)| *other == sample) {
                each(index, &picture);
                given += 1;
            }
        };
        let limits = self.options.limits;
        let work = move |reporter: &_| E::run(&mut job, reporter);
        let end = supervise(limits.per_picture, limits.per_read, work, receive);
        let missing = |cause| Error::FramesMissing {
            path: self.path.clone(),
            decoded: given,
            requested: wanted.len(),
            cause,
        };
        end.map_err(missing)?;
        if given < wanted.len() {
            return Err(missing("the decoder stopped early".to_owned()));
        }
        Ok(())
    }
}

/// Refuses tables that contradict each other, and samples that are not of this codec.
fn check<C: Codec>(track: &Track, file_len: u64) -> std::result::Result<(), Refusal> {
    track.check(file_len)?;
    for description in &track.descriptions {
        if !C::CODINGS.contains(&&description.coding) {
            let other = description.coding.escape_ascii();
            return Err(Refusal::Unsupported(format!("{} and \"{other}\" in one track", C::NAME)));
        }
        C::check(description)?;
    }
    Ok(())
}

fn read(source: &mut Source, track: &Track, index: usize) -> Checked<Vec<u8>> {
    let sample = track.samples[index];
    source.read(sample.offset, u64::from(sample.size))
}

fn role<C: Codec>(source: &mut Source, track: &Track, index: usize) -> std::result::Result<Role, Refusal> {
    let bytes = read(source, track, index)?;
    C::role(track.description(index), &bytes)
}

/// Removes the samples that show nothing, and the frames that cannot be decoded because the file starts in the middle
/// of a stream: everything before the first entry, and if that is an open one, the leading pictures that are shown
/// before it. FFmpeg drops the same.
fn drop_unseen<C: Codec>(source: &mut Source, track: &mut Track) -> std::result::Result<usize, Refusal> {
    if track.shown.is_empty() {
        return Ok(0);
    }
    let mut start = None;
    for index in (0..track.samples.len()).filter(|&index| track.samples[index].sync) {
        let entry = role::<C>(source, track, index)?.entry;
        if entry != Entry::No {
            start = Some((index, entry));
            break;
        }
    }
    let Some((start, entry)) = start else {
        return Err("there is no key frame to start decoding from".to_owned().into());
    };
    let mut seen = Vec::with_capacity(track.shown.len());
    for &frame in &track.shown {
        let index = frame.sample as usize;
        let early = entry != Entry::Clean && track.samples[index].cts < track.samples[start].cts;
        let keep =
            index >= start && (!(C::MAY_HIDE || early) || is_seen(role::<C>(source, track, index), early)?);
        if keep {
            seen.push(frame);
        }
    }
    track.shown = seen;
    Ok(start)
}

/// Whether a sample shows a frame; `early` when it is shown before the entry that it follows.
fn is_seen(role: std::result::Result<Role, Refusal>, early: bool) -> std::result::Result<bool, Refusal> {
    match role {
        Ok(role) => Ok(role.shown && !(early && role.leading)),
        // Reading it later says what is wrong, to those who want the frame; the others are spared.
        Err(Refusal::Damaged(_)) => Ok(true),
        Err(refusal) => Err(refusal),
    }
}

fn info(path: &Path, track: &Track, header: &Header, orientation: Orientation) -> VideoInfo {
    let (width, height) = orientation.turned(header.shown);
    let num_frames = track.shown.len();
    // The span from the first to the last shown picture covers one picture less than there are.
    let ends = track.shown.first().zip(track.shown.last());
    let span = ends.map_or(0, |(first, last)| last.time.saturating_sub(first.time));
    let seconds = span as f64 / f64::from(track.timescale.max(1));
    let frame_rate = (span > 0).then(|| (num_frames - 1) as f64 / seconds);
    let duration = frame_rate.map(|rate| num_frames as f64 / rate);
    VideoInfo {
        path: path.to_owned(),
        decoder: "builtin".to_owned(),
        container: track.container.to_owned(),
        codec: header.codec.clone(),
        num_frames,
        width,
        height,
        orientation,
        colour: Some(header.colour),
        frame_rate,
        duration,
    }
}
