//! `videomae classify`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use videomae::{Session, VideoMAEForVideoClassification};
use videomae_preprocess::{
    Frames, VideoOptions,
    sample::{Sampler, union},
};

use crate::{
    arguments::Classify,
    checkpoint::{self, Loaded},
    clip, failure,
    prediction::{self, ClipPrediction, Prediction, Timings},
    processing::Processing,
};

pub(crate) fn run(options: &Classify) -> Result<()> {
    let progress = progress(options.videos.len());
    progress.set_message("loading the model");
    let (classifier, load) = timed(|| Classifier::open(options, &progress));
    let mut classifier = classifier?;
    let mut failed = 0;
    for video in &options.videos {
        match classifier.classify(video, load, &progress) {
            Ok(prediction) => {
                let text = match options.json {
                    true => serde_json::to_string(&prediction)?,
                    false => prediction.to_text(),
                };
                progress.suspend(|| println!("{text}"));
            }
            Err(error) => {
                failed += 1;
                progress.suspend(|| eprintln!("error: {}", failure::text(&error)));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} of {} videos could not be classified", options.videos.len()),
    }
}

/// A model in a session, with what the command line chose.
struct Classifier {
    model: VideoMAEForVideoClassification,
    processing: Processing,
    session: Session,
    sampler: Sampler,
    decoding: VideoOptions,
    top_k: usize,
}

impl Classifier {
    fn open(options: &Classify, progress: &ProgressBar) -> Result<Self> {
        let backend = checkpoint::backend(&options.running.backend, options.running.threads)?;
        let Loaded { model, processor } = checkpoint::load(
            &options.model,
            options.revision.as_deref(),
            backend,
            options.running.dtype,
            progress,
        )?;
        let session = model.session()?;
        let processing = Processing::new(processor, &options.processing, model.config())?;
        let sampler = options.sampling.sampler(model.config().num_frames);
        let decoding = options.decoding.options();
        Ok(Self { model, processing, session, sampler, decoding, top_k: options.top_k.into() })
    }

    fn classify(&mut self, video: &Path, load: Duration, progress: &ProgressBar) -> Result<Prediction> {
        let name = video.display().to_string();
        progress.set_message(format!("{name}: decoding"));
        let (taken, decode) = timed(|| clip::read(video, &self.sampler, self.decoding));
        let taken = taken?;
        let mut timings = Timings { load, decode, preprocess: Duration::ZERO, forward: Duration::ZERO };
        let mut clips = Vec::new();
        for (frames, indices) in taken.clips.iter().zip(&taken.indices) {
            progress.set_message(format!("{name}: clip {} of {}", clips.len() + 1, taken.clips.len()));
            let views = self.run(frames, &mut timings).with_context(|| name.clone())?;
            let several = views.len() > 1;
            clips.extend(views.into_iter().enumerate().map(|(view, logits)| ClipPrediction {
                frames: indices.clone(),
                view: several.then_some(view),
                logits,
            }));
        }
        let config = self.model.config();
        // The mean of the scores, as the official evaluation has it, and not the scores of the mean.
        let scores = mean(clips.iter().map(|clip| prediction::scores(config, &clip.logits)));
        Ok(Prediction {
            video: name,
            frames: if clips.len() == 1 { clips[0].frames.clone() } else { union(&taken.indices) },
            logits: mean(clips.iter().map(|clip| clip.logits.clone())),
            labels: prediction::top(config, &scores, self.top_k),
            clips,
            timings,
            description: taken.description,
        })
    }

    /// The logits of each view of one clip.
    fn run(&mut self, frames: &Frames, timings: &mut Timings) -> Result<Vec<Vec<f32>>> {
        let (views, preprocess) = timed(|| self.processing.views(frames));
        let views = views?;
        let inputs = views.inputs();
        let (output, forward) = timed(|| self.model.forward(&mut self.session, &inputs));
        timings.preprocess += preprocess;
        timings.forward += forward;
        let logits = output?.logits;
        Ok(logits.data.chunks(logits.data.len() / inputs.shape[0]).map(<[f32]>::to_vec).collect())
    }
}

/// Element by element, of at least one list.
fn mean(lists: impl ExactSizeIterator<Item = Vec<f32>>) -> Vec<f32> {
    let count = lists.len() as f32;
    let sum = lists.reduce(|sum, list| sum.iter().zip(&list).map(|(a, b)| a + b).collect());
    sum.unwrap_or_default().iter().map(|total| total / count).collect()
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Drawn on standard error, and only on a terminal.
fn progress(videos: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}").expect("the template is valid");
    let bar = ProgressBar::new(videos as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
