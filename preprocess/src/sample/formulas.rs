//! The formulas behind the names.

use crate::random::SplitMix64;
use crate::{Error, Result};

/// `num_frames` frames spread evenly over the whole video: frame ⌊i·total/num_frames⌋ for i = 0, 1, ….
///
/// This is `do_sample_frames` of the transformers video processor.
///
/// # Errors
/// [`Error::Sampling`] when there are fewer frames than asked for, or none is asked for.
pub fn uniform(num_frames: usize, total_num_frames: usize) -> Result<Vec<usize>> {
    if num_frames == 0 || num_frames > total_num_frames {
        return Err(Error::Sampling {
            expected: format!("from 1 to {total_num_frames} frames, as many as the video has"),
            found: format!("{num_frames} frames asked for"),
        });
    }
    // The product is below 2¹²⁸, and the quotient below `total_num_frames`.
    Ok((0..num_frames)
        .map(|i| (i as u128 * total_num_frames as u128 / num_frames as u128) as usize)
        .collect())
}

/// As [`uniform`], with as many frames as `fps` frames a second make: max(1, ⌊total/video_fps·fps⌋).
///
/// # Errors
/// [`Error::Sampling`] when a rate is not a positive number, or `fps` is so much above `video_fps` that more frames
/// than the video has would be taken.
pub fn at_fps(fps: f64, total_num_frames: usize, video_fps: f64) -> Result<Vec<usize>> {
    for (name, rate) in [("fps", fps), ("the frame rate of the video", video_fps)] {
        if !(rate.is_finite() && rate > 0.0) {
            return Err(Error::Sampling {
                expected: "a positive number of frames a second".to_owned(),
                found: format!("{rate} as {name}"),
            });
        }
    }
    // A float beyond `usize::MAX` saturates in the conversion, and `uniform` refuses it.
    let num_frames = (total_num_frames as f64 / video_fps * fps) as usize;
    uniform(num_frames.max(1), total_num_frames)
}

/// A window of `num_frames · stride` frames, of which `num_frames` are taken: T and r in the table of the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) num_frames: usize,
    pub(super) stride: usize,
}

impl Window {
    /// T·r; both are small enough for their product, which [`super::Sampler`] checks.
    fn length(self) -> usize {
        self.num_frames * self.stride
    }

    /// The first frames.
    pub(super) fn first(self, total: usize) -> Result<Vec<usize>> {
        let indices: Vec<usize> = linspace(0, self.length() - 1, self.num_frames).collect();
        match indices.last() {
            Some(&last) if last >= total => Err(Error::Sampling {
                expected: format!("a video of at least {} frames", last + 1),
                found: format!("{total} frames"),
            }),
            _ => Ok(indices),
        }
    }

    /// A random place inside the video.
    pub(super) fn anywhere(self, total: usize, random: &mut SplitMix64) -> Result<Vec<usize>> {
        if total <= self.length() {
            return Err(Error::Sampling {
                expected: format!("a video of more than {} frames", self.length()),
                found: format!("{total} frames"),
            });
        }
        let end = self.length() + random.below(total - self.length());
        let places = linspace(end - self.length(), end, self.num_frames);
        Ok(places.map(|place| place.min(end - 1)).collect())
    }

    /// As [`Window::anywhere`], and for a video that is too short all of it, with the last frame repeated.
    pub(super) fn dense(self, total: usize, random: &mut SplitMix64) -> Result<Vec<usize>> {
        if total > self.length() {
            return self.anywhere(total, random);
        }
        let places = linspace(0, total, total / self.stride).chain(std::iter::repeat(total));
        Ok(places.take(self.num_frames).map(|place| place.min(total - 1)).collect())
    }

    /// Clip `clip` of `num_clips` at fixed places.
    pub(super) fn dense_test(self, total: usize, clip: usize, num_clips: usize) -> Vec<usize> {
        let kept = total.div_ceil(self.stride);
        let room = kept.saturating_sub(self.num_frames);
        let start = match num_clips {
            // The official formula divides by zero here.
            1 => room / 2,
            _ => (clip as f64 * (room as f64 / (num_clips - 1) as f64)) as usize,
        };
        (start..start + self.num_frames).map(|place| place.min(kept - 1) * self.stride).collect()
    }

    /// A random start; a step that would leave the video is not taken.
    pub(super) fn pretrain(self, total: usize, random: &mut SplitMix64) -> Vec<usize> {
        let starts = (total + 1).saturating_sub(self.length());
        let mut place = if starts > 0 { random.below(starts) } else { 0 };
        (0..self.num_frames)
            .map(|_| {
                let taken = place;
                // Counted from 1 in the official code, which therefore never steps onto the last frame.
                if place + 1 + self.stride < total {
                    place += self.stride;
                }
                taken
            })
            .collect()
    }
}

/// One random frame of each of `num_frames` parts of equal length.
pub(super) fn sparse_train(num_frames: usize, total: usize, random: &mut SplitMix64) -> Vec<usize> {
    match total / num_frames {
        0 => vec![0; num_frames],
        part => (0..num_frames).map(|i| i * part + random.below(part)).collect(),
    }
}

/// Clip `clip` of `num_clips` that interlock.
pub(super) fn sparse_test(num_frames: usize, total: usize, clip: usize, num_clips: usize) -> Vec<usize> {
    // In floating point, in this order, because the official code truncates what this gives.
    let tick = total as f64 / num_frames as f64;
    let shift = tick * clip as f64 / num_clips as f64;
    (0..num_frames).map(|i| ((shift + tick * i as f64) as usize).min(total - 1)).collect()
}

/// The frame shown at each time: the last one that starts no later.
pub(super) fn at_times(times: &[f64], starts: &[f64], end: f64) -> Result<Vec<usize>> {
    let place = |&time: &f64| match starts.partition_point(|&start| start <= time) {
        0 => Err(no_frame_at(time, end)),
        _ if time >= end => Err(no_frame_at(time, end)),
        after => Ok(after - 1),
    };
    times.iter().map(place).collect()
}

fn no_frame_at(time: f64, end: f64) -> Error {
    Error::Sampling {
        expected: format!("a time from 0 to below {end} s, where the video ends"),
        found: format!("{time} s"),
    }
}

/// `numpy.linspace(start, stop, num).astype(int64)`: the same operations in the same order, so the same truncation.
fn linspace(start: usize, stop: usize, num: usize) -> impl Iterator<Item = usize> {
    let steps = num.saturating_sub(1);
    let step = (stop - start) as f64 / steps.max(1) as f64;
    (0..num).map(move |i| if i == steps && i > 0 { stop } else { (i as f64 * step + start as f64) as usize })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_are_spread_over_the_whole_video() {
        assert_eq!(uniform(4, 10).unwrap(), [0, 2, 5, 7]);
        assert_eq!(uniform(3, 3).unwrap(), [0, 1, 2]);
        assert_eq!(uniform(1, usize::MAX).unwrap(), [0]);
    }

    #[test]
    fn a_rate_becomes_a_count() {
        assert_eq!(at_fps(2.0, 90, 30.0).unwrap().len(), 6);
        assert_eq!(at_fps(0.1, 3, 30.0).unwrap(), [0]);
        assert!(at_fps(60.0, 90, 30.0).is_err());
        assert!(at_fps(f64::NAN, 90, 30.0).is_err());
        assert!(at_fps(1.0, 90, 0.0).is_err());
        assert!(at_fps(f64::MAX, 90, 30.0).is_err());
    }

    #[test]
    fn too_few_frames_are_an_error() {
        assert_eq!(
            uniform(16, 12).unwrap_err().to_string(),
            "sampling: expected from 1 to 12 frames, as many as the video has, found 16 frames asked for"
        );
        assert!(uniform(0, 12).is_err());
    }

    proptest! {
        #[test]
        fn indices_rise_from_zero_and_stay_inside(total in 1usize..5_000, part in 0.0f64..1.0) {
            let indices = uniform(1 + (part * (total - 1) as f64) as usize, total).unwrap();
            prop_assert_eq!(indices[0], 0);
            prop_assert!(indices.is_sorted_by(|a, b| a < b));
            prop_assert!(indices.iter().all(|&i| i < total));
        }
    }
}
