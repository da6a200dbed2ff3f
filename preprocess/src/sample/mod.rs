//! Which frames of a video to take.
//!
//! A [`SampleMode`] is a rule with a name; a [`Sampler`] is a rule with its numbers: T frames a clip, a stride, K clips
//! and a seed. It answers K lists of T places in a video of N frames. T is `num_frames`, r the stride, rand[a, b) a whole
//! number from a to b−1, and linspace is NumPy's: T numbers from the first to the last value, both included.
//!
//! | name | frames i = 0 … T−1 of clip c | source |
//! |---|---|---|
//! | `uniform` | ⌊i·N/T⌋ | `do_sample_frames` of the transformers video processor |
//! | `pipeline` | ⌊linspace(0, T·r−1)⌋, r = 1 | the video classification pipeline of transformers |
//! | `guide` | e = rand[T·r, N), ⌊linspace(e−T·r, e)⌋, at most e−1; r = 1 | `sample_frame_indices` of the transformers documentation |
//! | `pretrain` | s = rand[0, N−T·r+1) or 0, then steps of r while they stay inside; r = 4 | official pre-training (r = 2 for Something-Something) |
//! | `dense-train`, `dense-validation` | as `guide` with r = 4; a video of at most T·r frames: ⌊linspace(0, N)⌋ in N/r steps, the last frame repeated | official fine-tuning on Kinetics |
//! | `dense-test` | of the frames 0, r, 2r, … (the last repeated up to T) those from ⌊c·(len−T)/(K−1)⌋ on; one clip: from the middle; r = 4 | official test on Kinetics, K = 5 |
//! | `sparse-train`, `sparse-validation` | i·⌊N/T⌋ + rand[0, ⌊N/T⌋); frame 0 throughout when N < T | official fine-tuning on Something-Something |
//! | `sparse-test` | ⌊(i + c/K)·N/T⌋ | official test on Something-Something, K = 2 |
//! | `indices:3,7,…` | those | |
//! | `seconds:0.5,1,…` | the frame shown at each time after the first frame | |
//!
//! `dense` and `sparse` stand for `dense-test` and `sparse-test`. The official code draws at random in validation too.
//! The random modes make K independent draws.
//! The draws come from SplitMix64, so that a seed means the same frames on every machine.
//!
//! ```
//! use videomae_preprocess::sample::{SampleMode, Sampler};
//!
//! // The test protocol of the paper for Kinetics: 5 clips of 16 frames, 4 apart.
//! let sampler = Sampler { num_clips: 5, ..Sampler::new("dense".parse()?, 16) };
//! let clips = sampler.clips(300, None, 0)?;
//! assert_eq!((clips.len(), &clips[1][..3]), (5, &[56, 60, 64][..]));
//! # Ok::<(), videomae_preprocess::Error>(())
//! ```

mod clips;
mod formulas;
mod mode;

pub use clips::{Sampler, Times, union};
pub use formulas::{at_fps, uniform};
pub use mode::{SampleMode, Split};
