//! The clips behind the demo checkpoint: one shape that moves in one of ten ways.
//!
//! [`render`] turns a [`Label`] and a seed into a two-second [`Clip`]. The seed alone chooses everything a
//! single frame can show (shape, colours, background, noise), the label chooses only how the shape moves, so a
//! classifier has to watch. Playing a `left` clip backwards gives a `right` clip, and likewise for the
//! other opposites ([`Label::reversed`]).
//!
//! ```
//! use demo::{Label, render};
//!
//! let clip = render(Label::Left, 7);
//! assert_eq!(clip.shape(), [32, 96, 128, 3]); // (T, H, W, RGB)
//! assert_eq!(clip, render(Label::Left, 7));
//! ```
//!
//! # Same bytes everywhere
//!
//! The arithmetic is integers and the IEEE 754 operations that must round correctly (`+ - * /`, square root,
//! floor); sines come from a polynomial of our own, never from the platform's library. Tests
//! pin the bytes.
//!
//! # Who may see which clip
//!
//! [`Split`] gives training, validation, test and fixture clips seeds that cannot collide. [`test_clips`] are the 500
//! clips on which the accuracy of the demo checkpoint is stated.

mod angle;
mod background;
mod clip;
mod label;
mod motion;
mod rng;
mod scene;
mod shape;
mod split;

pub use clip::{Clip, FRAMES_PER_SECOND, FrameSize, NUM_FRAMES};
pub use label::{Label, UnknownLabel};
pub use scene::{render, render_sized};
pub use split::{NUM_TEST_CLIPS, Split, test_clips};
