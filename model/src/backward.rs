//! Training: losses with the gradient of every parameter and of the pixels.
//!
//! There is no tape. Each part of a model has a training forward, which keeps what its backward needs, and a
//! backward, which walks the same terms from last to first. Gradients of parameters accumulate in the
//! [`TrainingSession`] until they are zeroed, so that several batches can make one optimiser step.

mod classification;
mod encoder;
mod gradients;
mod layer;
mod pretraining;
mod session;
mod stack;

pub use gradients::Gradients;
pub use session::TrainingSession;
