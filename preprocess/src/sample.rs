//! Which frames of a video to take.

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
