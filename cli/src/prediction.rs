//! From logits to something a person, or a program, reads.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;
use videomae::{ProblemType, VideoMAEConfig};

/// What is told of one video; the fields of a line of `--json`.
#[derive(Serialize)]
pub(crate) struct Prediction {
    /// The path as given.
    pub(crate) video: String,
    /// The places of the frames in the video; of several clips, each place once.
    pub(crate) frames: Vec<usize>,
    /// One per class; the mean over the clips and their views.
    pub(crate) logits: Vec<f32>,
    /// The best, most likely first.
    pub(crate) labels: Vec<Label>,
    /// What each view of each clip gave, when there are several.
    #[serde(skip_serializing_if = "is_single")]
    pub(crate) clips: Vec<ClipPrediction>,
    /// Where the time went.
    pub(crate) timings: Timings,
    #[serde(skip)]
    pub(crate) description: String,
}

/// What is told of one view of one clip.
#[derive(Serialize)]
pub(crate) struct ClipPrediction {
    pub(crate) frames: Vec<usize>,
    /// Which of several views.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) view: Option<usize>,
    pub(crate) logits: Vec<f32>,
}

fn is_single(clips: &[ClipPrediction]) -> bool {
    clips.len() == 1
}

/// A class and how likely it is.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Label {
    pub(crate) label: String,
    pub(crate) score: f32,
}

/// Seconds per stage. `load` is the model's, the same in every line.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Timings {
    #[serde(serialize_with = "seconds")]
    pub(crate) load: Duration,
    #[serde(serialize_with = "seconds")]
    pub(crate) decode: Duration,
    #[serde(serialize_with = "seconds")]
    pub(crate) preprocess: Duration,
    #[serde(serialize_with = "seconds")]
    pub(crate) forward: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// What the reference's pipeline makes of logits: as they are for a regression, a probability each for a multi-label
/// problem, probabilities that sum to 1 otherwise.
pub(crate) fn scores(config: &VideoMAEConfig, logits: &[f32]) -> Vec<f32> {
    let problem = config.problem_type.or((logits.len() == 1).then_some(ProblemType::Regression));
    match problem {
        Some(ProblemType::Regression) => logits.to_vec(),
        Some(ProblemType::MultiLabelClassification) => {
            logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect()
        }
        _ => softmax(logits),
    }
}

/// The `top_k` best classes with their scores, best first.
pub(crate) fn top(config: &VideoMAEConfig, scores: &[f32], top_k: usize) -> Vec<Label> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // NaN sorts first: a broken model should look broken.
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.iter().take(top_k).map(|&id| Label { label: config.label(id), score: scores[id] }).collect()
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

impl Prediction {
    /// A short table: labels with scores and bars, then frames and times.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{} ({})\n", self.video, self.description);
        let width = self.labels.iter().map(|label| label.label.chars().count()).max().unwrap_or(0);
        for Label { label, score } in &self.labels {
            // Scores of a regression are no shares: no percentage, no bar.
            let is_share = (0.0..=1.0).contains(score);
            let shown = if is_share { format!("{:5.1} %", score * 100.0) } else { format!("{score:7.4}") };
            let bar = if is_share { "█".repeat((score * BAR).round() as usize) } else { String::new() };
            let _ = writeln!(text, "  {}", format!("{label:width$}  {shown}  {bar}").trim_end());
        }
        // All views of a clip have its frames.
        let clips: Vec<_> = self.clips.iter().filter(|clip| clip.view.unwrap_or(0) == 0).collect();
        for (number, clip) in clips.iter().enumerate() {
            let frames: Vec<String> = clip.frames.iter().map(usize::to_string).collect();
            let of_clip = if clips.len() == 1 { String::new() } else { format!(" of clip {}", number + 1) };
            let _ = writeln!(text, "  frames{of_clip} {}", frames.join(" "));
        }
        let Timings { load, decode, preprocess, forward } = self.timings;
        let _ = write!(
            text,
            "  load {}, decode {}, preprocess {}, forward {}",
            short(load),
            short(decode),
            short(preprocess),
            short(forward)
        );
        text
    }
}

/// The length of a bar that stands for certainty.
const BAR: f32 = 30.0;

fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> VideoMAEConfig {
        VideoMAEConfig::base().with_labels(["left", "right", "still"])
    }

    fn top(config: &VideoMAEConfig, logits: &[f32], top_k: usize) -> Vec<Label> {
        super::top(config, &scores(config, logits), top_k)
    }

    #[test]
    fn the_best_come_first_and_sum_to_one() {
        let labels = top(&config(), &[1.0, 3.0, 2.0], 5);
        let names: Vec<&str> = labels.iter().map(|label| label.label.as_str()).collect();
        assert_eq!(names, ["right", "still", "left"]);
        assert!((labels.iter().map(|label| label.score).sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(top(&config(), &[1.0, 3.0, 2.0], 1).len(), 1);
    }

    #[test]
    fn scores_follow_the_problem_type() {
        let mut multi = config();
        multi.problem_type = Some(ProblemType::MultiLabelClassification);
        assert_eq!(top(&multi, &[0.0, -200.0, -200.0], 1)[0].score, 0.5);
        let one = VideoMAEConfig::base().with_labels(["speed"]);
        assert_eq!(top(&one, &[7.5], 1), [Label { label: "speed".to_owned(), score: 7.5 }]);
    }

    #[test]
    fn large_logits_do_not_overflow_and_nan_is_shown() {
        assert_eq!(top(&config(), &[1e30, 0.0, 0.0], 1)[0].score, 1.0);
        assert!(top(&config(), &[0.0, f32::NAN, 0.0], 1)[0].score.is_nan());
    }
}
