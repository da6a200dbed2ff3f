//! What decodes the samples of a track.

use super::codec::{Codec, Failure, Input, SampleDecoder};
use super::job::{Job, Position, Stop, failed};
use crate::decode::supervise::Reporter;
use crate::decode::yuv::Picture;

/// A family of decoders, one for each codec.
pub(crate) trait Engine: Send + 'static {
    /// For people.
    fn name() -> String;

    /// Decodes the samples that `job` asks for and reports each picture, in any order, with the index of its sample.
    ///
    /// # Errors
    /// Says which coded picture cannot be decoded, and why.
    fn run<C: Codec>(job: &mut Job<C>, reporter: &Reporter<(u32, Picture)>) -> Result<(), String>;
}

/// The decoders that each [`Codec`] names, in pure Rust.
pub(crate) struct Builtin;

impl Engine for Builtin {
    fn name() -> String {
        "builtin".to_owned()
    }

    /// A second decoder takes over what the first does not know.
    fn run<C: Codec>(job: &mut Job<C>, reporter: &Reporter<(u32, Picture)>) -> Result<(), String> {
        let mut done = 0;
        let mut tried = Vec::new();
        for (name, decoder) in job.codec.decoders() {
            let progress = Progress { decoder, position: job.beginning(), starts: true, description: None };
            match run_with(job, progress, &mut done, reporter) {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(cause)) => return Err(cause),
                Err(Stop::Unsupported(what)) => tried.push(format!("{name}: {what}")),
            }
        }
        Err(format!("no decoder knows this kind of {} ({})", C::NAME, tried.join("; ")))
    }
}

/// A decoder and how far it has come.
struct Progress {
    decoder: Box<dyn SampleDecoder>,
    position: Position,
    /// Nothing has been decoded since the last start.
    starts: bool,
    /// The description that the decoder knows.
    description: Option<u32>,
}

fn run_with<C: Codec>(
    job: &mut Job<C>,
    mut progress: Progress,
    done: &mut usize,
    reporter: &Reporter<(u32, Picture)>,
) -> Result<(), Stop> {
    while let Some(&sample) = job.samples.get(*done) {
        let target = sample as usize;
        let start = job.start_for(target, progress.position)?;
        if progress.position.next != Some(start) {
            progress.position.start = start;
            progress.starts = true;
        }
        for index in start..target {
            match decode(job, &mut progress, index, false) {
                Err(Stop::Failed(_)) if job.is_lost(index, progress.position.start) => {}
                result => drop(result?),
            }
            reporter.alive()?;
        }
        if let Some(picture) = decode(job, &mut progress, target, true)? {
            reporter.item((sample, picture))?;
        }
        *done += 1;
    }
    Ok(())
}

/// Gives one sample to the decoder, unless nobody needs it.
fn decode<C: Codec>(
    job: &mut Job<C>,
    progress: &mut Progress,
    index: usize,
    wanted: bool,
) -> Result<Option<Picture>, Stop> {
    let bytes = job.read(index)?;
    let role = job.role(&bytes, index)?;
    progress.position.next = Some(index + 1);
    if job.skips(&role) && !wanted {
        return Ok(None);
    }
    let number = job.track.samples[index].description;
    let input = Input {
        bytes: &bytes,
        description: job.track.description(index),
        new_description: progress.description.replace(number) != Some(number),
        starts: std::mem::take(&mut progress.starts),
    };
    match progress.decoder.decode(&input) {
        Ok(Some(picture)) => job.finish(picture).map(Some).map_err(|what| failed(index, what)),
        Ok(None) if (role.disposable || !role.shown) && !wanted => Ok(None),
        Ok(None) => Err(failed(index, "slices are missing")),
        Err(Failure::Unsupported(what)) => Err(Stop::Unsupported(what)),
        Err(Failure::Damaged(what)) => Err(failed(index, what)),
    }
}
