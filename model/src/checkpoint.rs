//! Checkpoints: reading them in every dialect, reporting what was found, starting afresh, writing.
//!
//! A [`WeightSource`] is where tensors come from; [`Checkpoint`] is one on disk, [`WeightMap`] one in memory,
//! [`FreshWeights`] one that draws them. A [`WeightLoader`] compares a source with what a model needs, before
//! anything is packed, and hands the tensors out by scope.

mod fresh;
mod keys;
mod loader;
mod plan;
mod report;
mod source;

pub use fresh::FreshWeights;
pub use loader::{LoadOptions, Scope, WeightLoader};
pub use plan::{Architecture, Init, Part, TensorSpec};
pub use report::{LoadReport, Mismatch};
pub use source::{WeightData, WeightMap, WeightSource};
