//! SIMD kernels for AVX-512, AVX2 and everything else. Linear layers are f32, bf16 or int8; all else is f32.
//!
//! One algorithm for each op, written once over a small set of vector operations (`simd/`) and compiled for each
//! instruction set; only the lanes of a vector and the height of a register tile differ. [`Isa`] names the
//! sets and says which of them this processor has; [`open`] is the only place where one is chosen.
//!
//! ```
//! use kernels_backend::{DType, Epilogue, Layout, LinearBlock, View, WeightFormat};
//! use kernels_cpu::{Isa, open};
//!
//! # fn main() -> kernels_backend::Result<()> {
//! let backend = open(Isa::best(), None)?;
//! let weight = View::f32([2, 3], &[1.0, 0.0, 0.0, 0.0, 2.0, 1.0])?;
//! let linear = backend.pack_linear(&[LinearBlock { weight, bias: None }], WeightFormat::F32)?;
//! let x = backend.upload(&View::f32([1, 3], &[1.0, 2.0, 3.0])?)?;
//!
//! let mut stream = backend.stream()?;
//! let mut y = stream.alloc([1, 2].into(), DType::F32, Layout::Rows)?;
//! stream.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into())?;
//!
//! let mut result = [0.0; 2];
//! stream.read(&y, &mut result)?;
//! assert_eq!(result, [1.0, 7.0]);
//! # Ok(())
//! # }
//! ```
//!
//! What holds for every op:
//! - The same bits on every run and for any number of threads. A task is a fixed piece of the output, and
//!   every sum has a fixed order, whatever tile or task it falls into. Different instruction sets differ in
//!   the last bits.
//! - Nothing is allocated once the largest shapes have been seen. Call ops inside
//!   [`kernels_backend::enter`], so that the thread pool is entered once.
//! - NaN and infinities go where IEEE arithmetic takes them. Denormal numbers are computed with; only
//!   exponentials below 2⁻¹²⁶ lose their digits or become zero.
//!
//! Pitfalls: packed weights belong to one instruction set, tensors to all of this crate. Tensors are `f32`, or
//! `i32` for indices, whatever the precision of the layers between them (but for what only they and attention read); weights of any type of file are brought to
//! the precision they are packed in. int8 takes a byte a weight everywhere, but only an instruction for bytes (VNNI)
//! makes it much faster than f32. This backend does not train.

mod backend;
mod heads;
mod isa;
mod memory;
mod operand;
mod peak;
mod simd;
mod storage;
mod stream;
mod threads;

// The ops, and what they compute with.
mod activation;
mod attention;
mod gemm;
mod layer_norm;
mod loss;
mod math;
mod patches;
mod rows;
mod transfer;

#[cfg(test)]
mod tests;

pub use isa::{Isa, open};
pub use peak::Peak;
