//! Naive loops for every op, forward and backward: the executable specification of the kernels.
//!
//! Every other backend is compared with this one, so each op is written as its formula reads. The rules:
//!
//! - An op reads its operands, widens them to `f64`, computes in `f64` throughout and rounds each result
//!   **once**, to the type of the tensor it is stored in. There is no rounding between the product, the bias,
//!   the activation and the residual of a `linear`. So the specification is the exact result up to half a unit
//!   in the last place, and the whole error of a faster kernel is seen.
//! - Weights are rounded to their [`WeightFormat`](kernels_backend::WeightFormat) when they are packed; biases
//!   stay f32, activations have the type of their tensor.
//! - Exponentials and logarithms come from `libm`, not from the system, so results have the same bits on
//!   every machine. Everything runs on the calling thread.
//! - Memory that `alloc` and `resize` leave undefined holds NaN (an impossible index for integers), so that an
//!   op which reads it is found out.
//!
//! ```
//! use kernels_backend::{DType, LayerNorm, Layout, View};
//! use kernels_reference::ReferenceBackend;
//!
//! # fn main() -> kernels_backend::Result<()> {
//! let backend = ReferenceBackend::open();
//! let norm = LayerNorm {
//!     weight: backend.upload(&View::f32([2], &[1.0, 1.0])?)?,
//!     bias: backend.upload(&View::f32([2], &[0.0, 10.0])?)?,
//!     eps: 0.0,
//! };
//! let x = backend.upload(&View::f32([1, 2], &[3.0, 5.0])?)?;
//!
//! let mut stream = backend.stream()?;
//! let mut y = stream.alloc([1, 2].into(), DType::F32, Layout::Rows)?;
//! stream.layer_norm((&x).into(), &norm, (&mut y).into(), None)?;
//!
//! let mut result = [0.0; 2];
//! stream.read(&y, &mut result)?;
//! assert_eq!(result, [-1.0, 11.0]);
//! # Ok(())
//! # }
//! ```
//!
//! Pitfall: an `f64` sum is slow. This is for models of a few hundred tokens; a base model takes minutes.

mod arithmetic;
mod backend;
mod storage;
mod stream;

// One file per op, holding its forward and its backward.
mod activation;
mod attention;
mod bce_with_logits_loss;
mod broadcast_rows;
mod cast;
mod cross_entropy_loss;
mod dropout;
mod gather_rows;
mod layer_norm;
mod linear;
mod mean_tokens;
mod memory;
mod mse_loss;
mod normalize_levels;
mod patch_targets;
mod patchify;
mod quantize;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use backend::ReferenceBackend;
