//! The CUDA backend, in a build with it.

use std::sync::Arc;

use kernels_backend::{Backend, Result};

/// The names of the GPUs of this machine; none where there is no driver.
pub(crate) fn devices() -> Vec<String> {
    // The reason is told by `check`.
    kernels_cuda::devices().unwrap_or_default()
}

/// Whether the device `ordinal` can run kernels; if not, why.
pub(crate) fn check(ordinal: usize) -> std::result::Result<(), String> {
    kernels_cuda::check(ordinal)
}

/// Opens the device `ordinal`.
pub(crate) fn open(ordinal: usize) -> Result<Arc<dyn Backend>> {
    kernels_cuda::open(ordinal)
}

/// Opens the device `ordinal` with the kernels for compute capability 9.0.
pub(crate) fn open_hopper(ordinal: usize) -> Result<Arc<dyn Backend>> {
    kernels_cuda::open_with(ordinal, kernels_cuda::Kernels::Hopper)
}
