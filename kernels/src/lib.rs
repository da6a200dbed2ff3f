//! Compute kernels for transformers on video, behind one trait and chosen by name at run time.
//!
//! This crate computes nothing: it finds a backend by name and re-exports what all of them share, from
//! [`kernels_backend`]. Code that runs models takes a [`Backend`] and never learns which one it is.
//!
//! ```
//! use kernels::{DType, Epilogue, Layout, LinearBlock, View, WeightFormat};
//!
//! # fn main() -> kernels::Result<()> {
//! let backend = kernels::open("auto")?;
//! let weight = View::f32([1, 2], &[3.0, 4.0])?;
//! let linear = backend.pack_linear(&[LinearBlock { weight, bias: None }], WeightFormat::F32)?;
//! let x = backend.upload(&View::f32([1, 2], &[10.0, 1.0])?)?;
//!
//! let mut stream = backend.stream()?;
//! let mut y = stream.alloc([1, 1].into(), DType::F32, Layout::Rows)?;
//! stream.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into())?;
//!
//! let mut result = [0.0];
//! stream.read(&y, &mut result)?;
//! assert_eq!(result, [34.0]);
//! # Ok(())
//! # }
//! ```
//!
//! | name | runs |
//! |---|---|
//! | `auto` | the fastest backend that this machine can run |
//! | `cpu` | SIMD kernels for the best instruction set of this processor |
//! | `cpu:portable`, `cpu:avx2`, `cpu:avx512`, `cpu:avx512bf16` | the same kernels for one instruction set |
//! | `cuda:0` | the first NVIDIA GPU, with the feature `cuda`; never chosen by `auto` |
//! | `cuda:0:90a` | the same with kernels for compute capability 9.0, which no GPU has run yet |
//! | `reference` | naive loops in f64: slow, exact, forward and backward |
//!
//! [`available`] lists them with the reason why one cannot run here. Pitfall: a tensor or packed weight belongs
//! to the backend that made it; another refuses it with [`Error::Foreign`].

#[cfg_attr(feature = "cuda", path = "cuda_enabled.rs")]
#[cfg_attr(not(feature = "cuda"), path = "cuda_disabled.rs")]
mod cuda;
mod registry;

pub use kernels_backend::*;
pub use kernels_cpu::Peak;
pub use registry::{BackendInfo, Options, available, open, open_with, peak};
