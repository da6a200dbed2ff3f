//! CUDA kernels for NVIDIA GPUs of compute capability 8.0 and up. A driver is all that a user needs.
//!
//! An op is two files of one name: `layer_norm.rs` checks and launches, `layer_norm.cu` computes. `cargo xtask cuda`
//! compiles the kernels to PTX, which is committed under `ptx/` and embedded; the driver makes machine code of it when a
//! kernel is first used, and keeps that in its own cache. The driver's library is opened at run time, so everything
//! builds on a machine without it, and [`open`] says there that it is missing.
//!
//! ```
//! use kernels_backend::{DType, Epilogue, Layout, LinearBlock, View, WeightFormat};
//!
//! # fn main() -> kernels_backend::Result<()> {
//! let backend = match kernels_cuda::open(0) {
//!     Ok(backend) => backend,
//!     Err(error) => return Ok(println!("{error}")), // no GPU here
//! };
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
//! - Tensors are f32, bf16, f16, i32 or u8 in memory, in any mixture; arithmetic is f32 and rounds once, on the way out. f32 is
//!   f32, never tf32.
//! - The same bits on every run: every sum has a fixed order.
//! - An op allocates nothing, copies nothing to or from the host and waits for nothing. Indices come from the host only,
//!   through [`kernels_backend::Stream::write`], so they are checked on the host's own copy.
//!
//! # From ops to the device
//!
//! - Inside [`kernels_backend::Stream::enter`] launches are noted and made at its end, or before anything that has to come
//!   after them. From its third time on, a forward of one shape and type is one launch of a CUDA graph; what it reads may
//!   change from one to the next (`queue.rs`, `graph.rs`). Before another stream reads what was written there, wait for
//!   the first by [`kernels_backend::Stream::synchronize`].
//! - All memory of a device comes from one pool, in few large chunks; freeing a tensor waits for nothing (`memory.rs`,
//!   `arena.rs`). Where there is too little, the error says how much is free.
//! - What goes to the device or comes back passes through two page-locked buffers that take turns, so that a write returns
//!   before the device has it (`staging.rs`).
//! - An error of a kernel shows in whatever waits for it next, as on any GPU.
//!
//! # Tests on a machine without a GPU
//!
//! `stand-in/` holds a `libcuda.so.1` of our own, which runs the same `.cu` files on the processor: a fiber for each
//! thread, memory that starts as NaN and lies between guards, work and copies that are late as on a device, and orders of
//! threads that a seed chooses. It also counts calls, and can have little memory. Where a real GPU is there, the same tests run on it.
//!
//! # Adding an op
//!
//! 1. `src/<op>.cu`: a structure of parameters and a `KERNEL(threads, blocks, <op>, …)`, opening with its formula, its tiling
//!    and the versions tried. Headers shared by ops are in `device/`; `ptx.h` is the only one with inline PTX, and each of
//!    its primitives has a body for the GPU and one for the processor.
//! 2. `src/<op>.rs`: the same structure as `#[repr(C)]` and `NoUninit`, and
//!    `const OP: Kernel<Parameters> = Kernel::new("<file>", "<kernel>")`; checks, then `ctx.launch`. The size of the
//!    structure is compared with the PTX when the kernel is loaded. Add the `mod` below and the line in `stream.rs`.
//! 3. `cargo xtask cuda`, and commit `ptx/`. A kernel that spills registers is refused. A file `<op>_90a.cu` is compiled
//!    for compute capability 9.0 only.
//! 4. A property test against the reference in `src/tests/`. It runs with several seeds; `src/tests/planted.rs` then proves
//!    that each barrier and each wait of the kernel is needed.

mod arena;
mod backend;
mod device;
mod graph;
mod kernel;
mod memory;
#[path = "../ptx/mod.rs"]
mod ptx;
mod queue;
mod staging;
mod storage;
mod stream;
mod tma;
mod transfer;

// The ops, and what they share.
mod attention;
mod attention_90a;
mod attention_probabilities;
mod bce_with_logits_loss;
mod broadcast_rows;
mod cast;
mod cross_entropy_loss;
mod gather_rows;
mod layer_norm;
mod linear;
mod linear_90a;
mod mean_loss;
mod mean_tokens;
mod mse_loss;
mod normalize_levels;
mod patch_targets;
mod patches;
mod patchify;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use kernels_backend::{Backend, Error, Result};

/// The names of the GPUs of this machine, in the order of their numbers.
///
/// # Errors
/// Why there are none: no driver, or what it says.
pub fn devices() -> std::result::Result<Vec<String>, String> {
    device::names()
}

/// Which kernels run linear layers and attention in bf16 or f16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Those for compute capability 8.0 and up.
    #[default]
    Ampere,
    /// Those for compute capability 9.0, where they apply. No GPU has run them yet.
    Hopper,
}

impl Kernels {
    /// The name of the backend that uses them on GPU number `ordinal`.
    fn backend_name(self, ordinal: usize) -> String {
        match self {
            Self::Ampere => format!("cuda:{ordinal}"),
            Self::Hopper => format!("cuda:{ordinal}:90a"),
        }
    }
}

/// Whether GPU number `ordinal` can run the kernels.
///
/// # Errors
/// Why not.
pub fn check(ordinal: usize) -> std::result::Result<(), String> {
    device::check(ordinal)
}

/// Opens GPU number `ordinal` as the backend `cuda:<ordinal>`.
///
/// # Errors
/// [`Error::Unavailable`] without a driver, without that GPU, or where it is too old.
pub fn open(ordinal: usize) -> Result<Arc<dyn Backend>> {
    open_with(ordinal, Kernels::default())
}

/// As [`open`], with a choice of kernels: `cuda:<ordinal>` or `cuda:<ordinal>:90a`.
///
/// # Errors
/// As [`open`]; also where the GPU cannot run these kernels.
pub fn open_with(ordinal: usize, kernels: Kernels) -> Result<Arc<dyn Backend>> {
    let name = kernels.backend_name(ordinal);
    let device =
        device::Device::open(ordinal, kernels).map_err(|reason| Error::Unavailable { name, reason })?;
    Ok(backend::CudaBackend::new(device)?)
}
