//! How often the demo checkpoint is right on clips it has never seen, and what less precision changes.

use std::sync::Arc;

use demo::{Label, test_clips};
use kernels::{Backend, WeightFormat};
use videomae_preprocess::{Frames, sample};

use super::processors::DemoClassifier;

/// The share of held-out clips that has to be right.
pub const AT_LEAST: f64 = 0.95;

/// The share of held-out clips for which int8 has to find the same label as f32.
pub const SAME_AT_LEAST: f64 = 0.99;

/// Clips to a forward pass: enough to keep every core busy, few enough to hold in memory at once.
const BATCH: usize = 20;

/// The answers to the clips.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// What each clip shows, and what the model sees in it.
    labels: Vec<(&'static str, String)>,
}

impl Answers {
    /// Classifies the 500 held-out clips.
    ///
    /// # Errors
    /// What sampling, processing and the model say.
    pub fn of(backend: &Arc<dyn Backend>, format: WeightFormat) -> Result<Self, String> {
        let demo = DemoClassifier::load(backend, format)?;
        let num_frames = demo.config().num_frames;
        let mut answers = Self::default();
        let mut clips = test_clips();
        loop {
            let (labels, frames): (Vec<Label>, Vec<Frames>) = clips
                .by_ref()
                .take(BATCH)
                .map(|(label, clip)| Ok((label, sampled(&clip, num_frames)?)))
                .collect::<Result<Vec<_>, String>>()?
                .into_iter()
                .unzip();
            if labels.is_empty() {
                return Ok(answers);
            }
            let classes = demo.classes(&frames)?;
            let found = classes.into_iter().map(|class| demo.config().label(class));
            answers.labels.extend(labels.iter().map(|label| label.name()).zip(found));
        }
    }

    /// How many clips there are.
    pub fn total(&self) -> usize {
        self.labels.len()
    }

    /// How many answers are right.
    pub fn right(&self) -> usize {
        self.labels.iter().filter(|(shown, found)| shown == found).count()
    }

    /// How many answers are those of `other`.
    pub fn same_as(&self, other: &Self) -> usize {
        self.labels.iter().zip(&other.labels).filter(|(a, b)| a == b).count()
    }
}

/// `num_frames` frames of a rendered clip, as the program takes them of a file.
fn sampled(clip: &demo::Clip, num_frames: usize) -> Result<Frames, String> {
    let [total, height, width, _] = clip.shape();
    let indices = sample::uniform(num_frames, total).map_err(|e| e.to_string())?;
    let frames: Vec<&[u8]> = clip.frames().collect();
    let bytes = indices.iter().flat_map(|&index| frames[index]).copied().collect();
    Frames::new(bytes, num_frames, height, width).map_err(|e| e.to_string())
}
