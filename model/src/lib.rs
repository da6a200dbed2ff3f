//! Under construction.

mod backward;
pub mod checkpoint;
mod classification;
mod config;
mod decoder;
mod embeddings;
mod encoder;
mod error;
mod files;
mod inputs;
mod layer;
mod loss;
mod model;
mod outputs;
mod packer;
mod positions;
mod pretraining;
mod session;

pub use backward::{Gradients, TrainingSession};
pub use classification::{ClassificationOutput, VideoMAEForVideoClassification};
pub use config::{HiddenAct, ProblemType, Size, VideoMAEConfig};
pub use error::{Error, Result};
pub use inputs::{Labels, VideoInputs};
pub use model::{ModelOutput, VideoMAEModel};
pub use outputs::HostTensor;
pub use positions::sinusoid_table;
pub use pretraining::{PreTrainingOutput, VideoMAEForPreTraining};
pub use session::Session;
