//! How often the demo checkpoint is right on clips it has never seen.

use std::sync::Arc;

use demo::{Label, test_clips};
use kernels::Backend;
use videomae_preprocess::{Frames, sample};

use super::processors::DemoClassifier;

/// The share of held-out clips that has to be right.
pub const AT_LEAST: f64 = 0.95;

/// Clips to a forward pass: enough to keep every core busy, few enough to hold in memory at once.
const BATCH: usize = 20;

/// Right answers among the clips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    /// Clips whose label was found.
    pub right: usize,
    /// All clips.
    pub total: usize,
}

impl Accuracy {
    /// Classifies the 500 held-out clips.
    ///
    /// # Errors
    /// What sampling, processing and the model say.
    pub fn measure(backend: &Arc<dyn Backend>) -> Result<Self, String> {
        let demo = DemoClassifier::load(backend)?;
        let num_frames = demo.config().num_frames;
        let mut accuracy = Self::default();
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
                return Ok(accuracy);
            }
            let classes = demo.classes(&frames)?;
            accuracy.total += labels.len();
            let right = |(label, class): &(&Label, usize)| label.name() == demo.config().label(*class);
            accuracy.right += labels.iter().zip(classes).filter(right).count();
        }
    }

    /// The share of right answers.
    pub fn share(self) -> f64 {
        self.right as f64 / self.total as f64
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
