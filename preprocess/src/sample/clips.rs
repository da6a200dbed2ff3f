//! A rule with its numbers.

use super::SampleMode;
use super::Split::Test;
use super::formulas::{Window, at_times, sparse_test, sparse_train, uniform};
use crate::random::SplitMix64;
use crate::{Error, Result};

/// Chooses the frames of K clips.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    /// The rule.
    pub mode: SampleMode,
    /// T, frames a clip.
    pub num_frames: usize,
    /// r, frames from one to the next; `None` for what the rule's source uses.
    pub stride: Option<usize>,
    /// K.
    pub num_clips: usize,
    /// What the random rules draw from.
    pub seed: u64,
}

/// When the frames of a video are shown, in seconds after the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times<'a> {
    /// The start of each frame, ascending.
    pub starts: &'a [f64],
    /// The end of the last; infinite for a picture that stands still.
    pub end: f64,
}

/// Longer clips and strides than any video; their product stays far from overflow.
const MOST: usize = 1 << 24;

impl Sampler {
    /// One clip, the rule's own stride, seed 0.
    pub fn new(mode: SampleMode, num_frames: usize) -> Self {
        Self { mode, num_frames, stride: None, num_clips: 1, seed: 0 }
    }

    /// The frames of each clip, in a video of `total` frames: K lists of T.
    ///
    /// `times` are needed for [`SampleMode::Seconds`] only. `sample` is the number of the draw: a training loop that
    /// counts its samples can go on after a restart where it stopped.
    ///
    /// # Errors
    /// [`Error::Sampling`] when the video is too short for a rule that does not repeat frames, when a number of the
    /// sampler is zero or is one that the rule has no use for, and when a frame or time is not in the video.
    pub fn clips(&self, total: usize, times: Option<Times<'_>>, sample: u64) -> Result<Vec<Vec<usize>>> {
        self.check(total)?;
        let mut random = SplitMix64::new(self.seed, sample);
        (0..self.num_clips).map(|clip| self.clip(total, times, clip, &mut random)).collect()
    }

    fn clip(
        &self,
        total: usize,
        times: Option<Times<'_>>,
        clip: usize,
        random: &mut SplitMix64,
    ) -> Result<Vec<usize>> {
        let num_frames = self.num_frames;
        let stride = self.stride.or(self.mode.default_stride()).unwrap_or(1);
        let window = Window { num_frames, stride };
        match &self.mode {
            SampleMode::Uniform => uniform(num_frames, total),
            SampleMode::Pipeline => window.first(total),
            SampleMode::Guide => window.anywhere(total, random),
            SampleMode::Pretrain => Ok(window.pretrain(total, random)),
            SampleMode::Dense(Test) => Ok(window.dense_test(total, clip, self.num_clips)),
            SampleMode::Dense(_) => window.dense(total, random),
            SampleMode::Sparse(Test) => Ok(sparse_test(num_frames, total, clip, self.num_clips)),
            SampleMode::Sparse(_) => Ok(sparse_train(num_frames, total, random)),
            SampleMode::Indices(list) => match list.iter().find(|&&index| index >= total) {
                Some(index) => {
                    Err(invalid(format!("frames from 0 to {}", total - 1), format!("frame {index}")))
                }
                None => Ok(list.clone()),
            },
            SampleMode::Seconds(list) => {
                let times = times.ok_or_else(|| {
                    invalid("a video that says when its frames are shown", "one that does not".to_owned())
                })?;
                at_times(list, times.starts, times.end)
            }
        }
    }

    fn check(&self, total: usize) -> Result<()> {
        let mode = &self.mode;
        if total == 0 {
            return Err(invalid("a video with frames", "none".to_owned()));
        }
        for (name, number) in [
            ("frames a clip", self.num_frames),
            ("as the stride", self.stride.unwrap_or(1)),
            ("clips", self.num_clips),
        ] {
            if !(1..=MOST).contains(&number) {
                return Err(invalid(format!("from 1 to {MOST} {name}"), number.to_string()));
            }
        }
        if self.stride.is_some() && mode.default_stride().is_none() {
            return Err(invalid(format!("no stride with {mode}"), format!("{:?}", self.stride.unwrap_or(1))));
        }
        if self.num_clips > 1 && !mode.has_clips() {
            return Err(invalid(format!("one clip with {mode}"), self.num_clips.to_string()));
        }
        match mode.len_of_list() {
            Some(len) if len != self.num_frames => {
                Err(invalid(format!("{} frames a clip", self.num_frames), format!("{len} in {mode}")))
            }
            _ => Ok(()),
        }
    }
}

fn invalid(expected: impl Into<String>, found: String) -> Error {
    Error::Sampling { expected: expected.into(), found }
}

/// The distinct frames of some clips, ascending: what has to be decoded, once.
pub fn union(clips: &[Vec<usize>]) -> Vec<usize> {
    let mut all: Vec<usize> = clips.iter().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// One line of the table that `xtask/python/make_sampling_fixtures.py` computes with NumPy.
    #[derive(serde::Deserialize)]
    struct Case {
        mode: String,
        num_frames: usize,
        stride: Option<usize>,
        num_clips: usize,
        seed: u64,
        sample: u64,
        total: usize,
        /// `None` where NumPy, or the frame reader after it, fails.
        clips: Option<Vec<Vec<usize>>>,
    }

    #[test]
    fn every_rule_takes_the_frames_that_numpy_computes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/sampling/cases.json");
        let text = std::fs::read_to_string(path).expect("the fixture exists");
        let cases: Vec<Case> = serde_json::from_str(&text).expect("the fixture is what the script wrote");
        assert!(cases.len() > 500, "the table is complete");
        for case in cases {
            let Case { num_frames, stride, num_clips, seed, .. } = case;
            let mode: SampleMode = case.mode.parse().expect("a known name");
            let found =
                Sampler { mode, num_frames, stride, num_clips, seed }.clips(case.total, None, case.sample);
            let what = format!("{} T={num_frames} r={stride:?} K={num_clips} N={}", case.mode, case.total);
            match (found, case.clips) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{what}"),
                (Err(_), None) => {}
                (found, expected) => panic!("{what}: found {found:?}, expected {expected:?}"),
            }
        }
    }

    fn message(sampler: &Sampler, total: usize) -> String {
        sampler.clips(total, None, 0).unwrap_err().to_string()
    }

    #[test]
    fn numbers_that_a_rule_has_no_use_for_are_refused() {
        let uniform = Sampler::new(SampleMode::Uniform, 4);
        let with = |change: fn(&mut Sampler)| {
            let mut sampler = uniform.clone();
            change(&mut sampler);
            message(&sampler, 10)
        };
        assert_eq!(with(|s| s.stride = Some(2)), "sampling: expected no stride with uniform, found 2");
        assert_eq!(with(|s| s.num_clips = 2), "sampling: expected one clip with uniform, found 2");
        assert_eq!(
            with(|s| s.num_frames = 0),
            "sampling: expected from 1 to 16777216 frames a clip, found 0"
        );
        assert_eq!(
            with(|s| s.mode = SampleMode::Indices(vec![1, 2])),
            "sampling: expected 4 frames a clip, found 2 in indices:1,2"
        );
        assert_eq!(message(&uniform, 0), "sampling: expected a video with frames, found none");
        let list = Sampler::new(SampleMode::Indices(vec![1, 10]), 2);
        assert_eq!(message(&list, 10), "sampling: expected frames from 0 to 9, found frame 10");
    }

    #[test]
    fn a_time_means_the_frame_shown_then() {
        let times = Times { starts: &[0.0, 0.1, 0.5], end: 0.6 };
        let take = |list: &[f64], times| {
            let sampler = Sampler::new(SampleMode::Seconds(list.to_vec()), list.len());
            Ok::<_, String>(sampler.clips(3, times, 0).map_err(|error| error.to_string())?.remove(0))
        };
        assert_eq!(take(&[0.0, 0.09, 0.1, 0.4999, 0.5, 0.59], Some(times)), Ok(vec![0, 0, 1, 1, 2, 2]));
        assert!(take(&[0.6], Some(times)).unwrap_err().ends_with("where the video ends, found 0.6 s"));
        assert!(take(&[0.1], None).unwrap_err().contains("says when its frames are shown"));
    }

    proptest! {
        #[test]
        fn frames_are_inside_the_video_and_the_same_for_the_same_seed(
            name in prop::sample::select(SampleMode::NAMES.to_vec()),
            num_frames in 1usize..40, stride in 1usize..9, num_clips in 1usize..6, total in 1usize..400, seed: u64,
        ) {
            let mode: SampleMode = name.parse().unwrap();
            let stride = mode.default_stride().map(|_| stride);
            let num_clips = if mode.has_clips() { num_clips } else { 1 };
            let sampler = Sampler { mode, num_frames, stride, num_clips, seed };
            if let Ok(clips) = sampler.clips(total, None, 7) {
                prop_assert_eq!(clips.len(), num_clips);
                for clip in &clips {
                    prop_assert_eq!(clip.len(), num_frames);
                    prop_assert!(clip.is_sorted() && clip.iter().all(|&index| index < total));
                }
                prop_assert!(union(&clips).is_sorted_by(|a, b| a < b));
                prop_assert_eq!(sampler.clips(total, None, 7).unwrap(), clips);
            }
        }
    }
}
