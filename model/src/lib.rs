//! VideoMAE: masked autoencoders for video ([Tong et al. 2022](https://arxiv.org/abs/2203.12602)), reading and
//! writing the checkpoints of Hugging Face transformers, exact to the last layer.
//!
//! A clip is cut into *tubelets*: 16 × 16 pixels of two frames each, say. A linear layer makes each a *token*, a
//! fixed table says where it lies, and a plain vision transformer does the rest. In pre-training the encoder sees
//! one token in ten and a small decoder predicts the pixels of the others; for classification, the decoder is
//! thrown away and a linear head reads the mean over all tokens.
//!
//! | model | returns |
//! |---|---|
//! | [`VideoMAEModel`] | one vector per token |
//! | [`VideoMAEForVideoClassification`] | one score per class, and the loss of [`Labels`] |
//! | [`VideoMAEForPreTraining`] | the pixels of masked tokens, and their loss |
//!
//! A model is weights packed for one [`Backend`](kernels_backend::Backend), which is chosen by name at run time;
//! nothing here names one. A [`Session`] is a stream of that backend with all activations, allocated by the first
//! forward of a shape. What goes in is [`VideoInputs`]: normalised pixels `(B, T, C, H, W)`, and what to do with
//! them.
//!
//! ```
//! use videomae::{
//!     Labels, Size, VideoInputs, VideoMAEConfig, VideoMAEForVideoClassification,
//!     checkpoint::{Architecture, FreshWeights, LoadOptions},
//! };
//!
//! let config = VideoMAEConfig {
//!     image_size: Size::square(8),
//!     patch_size: Size::square(4),
//!     num_frames: 4,
//!     hidden_size: 16,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 2,
//!     intermediate_size: 32,
//!     ..VideoMAEConfig::default()
//! }
//! .with_labels(["left", "right", "still"]);
//!
//! // A checkpoint would be `VideoMAEForVideoClassification::from_pretrained(directory, backend, &options)`.
//! let weights = FreshWeights::new(&config, Architecture::VideoClassification, 7)?;
//! let backend = kernels::open("reference")?;
//! let (model, report) =
//!     VideoMAEForVideoClassification::from_weights(config, &weights, backend, &LoadOptions::default())?;
//! assert!(report.missing.is_empty());
//!
//! let pixel_values = vec![0.5; 2 * 4 * 3 * 8 * 8]; // two clips
//! let inputs = VideoInputs::new(&pixel_values, [2, 4, 3, 8, 8]);
//! let mut session = model.session()?;
//! let output = model.forward(&mut session, &inputs)?;
//! assert_eq!(output.logits.shape[..], [2, 3]);
//!
//! // The gradient of every parameter, by its key.
//! let inputs = VideoInputs { labels: Some(Labels::Classes(&[0, 2])), ..inputs };
//! let mut training = model.training_session(0)?;
//! let (loss, gradients) = model.loss_and_gradients(&mut training, &inputs)?;
//! assert!(loss > 0.0 && gradients.get("classifier.weight").is_some());
//! # Ok::<(), videomae::Error>(())
//! ```
//!
//! Pitfalls:
//! - Pixels must have been normalised as the checkpoint's processor does it.
//! - No VideoMAE has a class token. Where `use_mean_pooling` is false, as in every published pre-training
//!   checkpoint, the head reads the top-left patch of the first frames.
//! - A mask must hide as many tokens in every clip.
//! - Any number of frames, height and width that the patches divide is taken, and positions are computed for it;
//!   how well a model does at a size it was not trained on is another question.
//!
//! Precision is a property of packed weights and activations, chosen when a model is loaded by
//! [`checkpoint::LoadOptions::format`]; model code is the same in f32, bf16, f16 and int8. A backend without a precision
//! refuses the load by name.
//!
//! Every layer is these seven ops, in this order, so that a wrapper of the stream can watch any of them:
//! `layer_norm`, `linear` (q, k and v at once), `attention`, `linear` (added to the residual), `layer_norm`,
//! `linear` (with activation), `linear` (added to the residual). What a layer's training forward and backward do
//! is written beside it; there is no tape.
//!
//! Features: `hub` downloads models by name ([`hub`]); without `mmap` checkpoints are read instead of mapped. Without
//! both the crate builds for WebAssembly.

// Models, from pixels to outputs.
mod classification;
mod decoder;
mod embeddings;
mod encoder;
mod layer;
mod loss;
mod model;
mod positions;
mod pretraining;

// What goes in, what comes out, where it lives in between.
mod fit;
mod inputs;
mod outputs;
mod session;

// Gradients.
mod backward;

// Configuration and weights.
pub mod checkpoint;
mod config;
mod error;
mod files;
#[cfg(feature = "hub")]
pub mod hub;
mod packer;

pub use backward::{Gradients, TrainingSession};
pub use classification::{ClassificationOutput, VideoMAEForVideoClassification};
pub use config::{ConfigOverrides, HiddenAct, ProblemType, Size, VideoMAEConfig};
pub use error::{Error, Result};
pub use inputs::{Labels, Pixels, VideoInputs};
pub use model::{ModelOutput, VideoMAEModel};
pub use outputs::HostTensor;
pub use positions::sinusoid_table;
pub use pretraining::{PreTrainingOutput, VideoMAEForPreTraining};
pub use session::Session;
