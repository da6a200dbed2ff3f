//! What every kernel backend shares: the traits, the tensors, the shape checks and the tolerances.
//!
//! A *backend* makes things that outlive a run (uploaded tables, packed weights); a *stream* runs ops in order.
//! Ops are few and big, because an op is the unit of fusion; each writes into a destination that the caller
//! owns, so a steady-state forward allocates nothing. Nothing here computes a model or knows of one, and
//! nothing here is unsafe.
//!
//! Model code holds `&mut dyn Stream` and never names a backend:
//!
//! ```
//! use kernels_backend::{Epilogue, LayerNorm, Linear, Result, Stream, Tensor};
//!
//! /// x += W·norm(x) + b
//! fn residual_block(
//!     s: &mut dyn Stream, norm: &LayerNorm, proj: &Linear, normed: &mut Tensor, x: &mut Tensor,
//! ) -> Result<()> {
//!     s.layer_norm((&*x).into(), norm, normed.into(), None)?;
//!     s.linear((&*normed).into(), proj, Epilogue::accumulate(), x.into())
//! }
//! ```
//!
//! Pitfalls: a tensor belongs to the backend that made it, and its bytes lie as that backend likes them
//! ([`Layout`] is a request, not a description); only [`Stream::read`] gives the canonical form. Contents are
//! undefined after [`Stream::alloc`] and [`Stream::resize`].
//!
//! NaN and infinities go through every op as IEEE arithmetic takes them (a NaN pixel gives NaN logits, never a
//! panic); denormals are neither flushed nor trapped.

mod activation;
mod backend;
mod backward;
pub mod check;
mod dtype;
mod error;
pub mod intercept;
mod linear;
mod ops;
pub mod recording;
mod rows;
mod shape;
pub mod stopwatch;
mod stream;
mod tensor;
pub mod tolerance;
mod view;

pub use activation::Activation;
pub use backend::Backend;
pub use backward::{BackwardStream, LayerNormGradients, LinearGradients};
pub use dtype::DType;
pub use error::{Error, Result};
pub use linear::{Linear, LinearBlock, PackedWeights, WeightFormat};
pub use ops::{AttentionOptions, Dropout, Epilogue, LayerNorm, PatchGeometry, PatchTargets, Write};
pub use rows::{RowDims, Rows, RowsMut};
pub use shape::Shape;
pub use stream::{Stream, enter};
pub use tensor::{Layout, Storage, Tensor};
pub use view::View;
