//! SIMD kernels for AVX-512, AVX2 and everything else.

mod activation;
mod attention;
mod backend;
mod gemm;
mod isa;
mod layer_norm;
mod loss;
mod math;
mod memory;
mod patches;
mod rows;
mod simd;
mod storage;
mod stream;
mod threads;
mod transfer;

#[cfg(test)]
mod tests;

pub use isa::{Isa, open};
