//! Checkpoints: reading them in every dialect, reporting what was found, starting afresh, writing.
//!
//! A [`WeightSource`] is where tensors come from; [`Checkpoint`] is one on disk, [`WeightMap`] one in memory,
//! [`FreshWeights`] one that draws them. A [`WeightLoader`] compares a source with what a model needs, before
//! anything is packed, and hands the tensors out by scope.

mod archive;
#[cfg_attr(feature = "mmap", path = "checkpoint/bytes_mapped.rs")]
#[cfg_attr(not(feature = "mmap"), path = "checkpoint/bytes_read.rs")]
mod bytes;
mod fresh;
mod inspect;
mod keys;
mod loader;
mod open;
mod original;
mod plan;
mod recognize;
mod report;
mod safetensors;
mod save;
mod source;
mod torch;

pub use fresh::FreshWeights;
pub use inspect::{Inspection, TensorFacts, Use, inspect};
pub use loader::{LoadOptions, Scope, WeightLoader};
pub use open::Checkpoint;
#[cfg(feature = "hub")]
pub(crate) use open::read_index;
pub use original::OriginalWeights;
pub use plan::{Architecture, Init, Part, TensorSpec};
pub use recognize::{Layout, Recognized};
pub use report::{LoadReport, Mismatch};
pub use save::{SaveOptions, save_pretrained};
pub use source::{TensorInfo, WeightData, WeightMap, WeightSource};
pub use torch::{StoredMask, read_mask};
