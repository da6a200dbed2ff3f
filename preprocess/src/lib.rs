//! Video files in, `pixel_values` out.

mod error;
mod frames;

pub use error::{Error, Result};
pub use frames::Frames;
