//! `videomae classify`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use videomae::{Session, VideoInputs};

use crate::{
    arguments::Classify,
    checkpoint::{self, Loaded},
    clip,
    prediction::{self, Prediction, Timings},
};

pub(crate) fn run(options: &Classify) -> Result<()> {
    let progress = progress(options.videos.len());
    progress.set_message("loading the model");
    let (classifier, load) = timed(|| Classifier::open(options));
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
                progress.suspend(|| eprintln!("error: {error:#}"));
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
    loaded: Loaded,
    session: Session,
    num_frames: usize,
    top_k: usize,
}

impl Classifier {
    fn open(options: &Classify) -> Result<Self> {
        let backend = checkpoint::backend(&options.backend, options.threads)?;
        let loaded = checkpoint::load(&options.model, backend)?;
        let session = loaded.model.session()?;
        let num_frames = options.frames.map_or(loaded.model.config().num_frames, Into::into);
        Ok(Self { loaded, session, num_frames, top_k: options.top_k.into() })
    }

    fn classify(&mut self, video: &Path, load: Duration, progress: &ProgressBar) -> Result<Prediction> {
        let name = video.display().to_string();
        progress.set_message(format!("{name}: decoding"));
        let (clip, decode) = timed(|| clip::read(video, self.num_frames));
        let clip = clip?;
        progress.set_message(format!("{name}: preprocessing"));
        let (pixels, preprocess) = timed(|| self.loaded.processor.preprocess([&clip.frames]));
        let pixels = pixels.with_context(|| name.clone())?;
        progress.set_message(format!("{name}: running the model"));
        let inputs = VideoInputs::new(&pixels.data, pixels.shape);
        let (output, forward) = timed(|| self.loaded.model.forward(&mut self.session, &inputs));
        let logits = output.with_context(|| name.clone())?.logits.data;
        Ok(Prediction {
            video: name,
            frames: clip.indices,
            labels: prediction::top(self.loaded.model.config(), &logits, self.top_k),
            logits,
            timings: Timings { load, decode, preprocess, forward },
            description: clip.description,
        })
    }
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
