//! Stands in for the CUDA backend in a build without it, with the same functions.

use std::sync::Arc;

use kernels_backend::{Backend, Error, Result};

const REASON: &str = "not compiled in";

/// The names of the GPUs of this machine; here, none is asked for.
pub(crate) fn devices() -> Vec<String> {
    Vec::new()
}

/// Whether the device `ordinal` can run kernels; here, why not.
pub(crate) fn check(_ordinal: usize) -> std::result::Result<(), String> {
    Err(REASON.to_owned())
}

/// Opens the device `ordinal`; here, refuses.
pub(crate) fn open(ordinal: usize) -> Result<Arc<dyn Backend>> {
    Err(Error::Unavailable { name: format!("cuda:{ordinal}"), reason: REASON.to_owned() })
}

/// Opens the device `ordinal` with the kernels for compute capability 9.0; here, refuses.
pub(crate) fn open_hopper(ordinal: usize) -> Result<Arc<dyn Backend>> {
    Err(Error::Unavailable { name: format!("cuda:{ordinal}:90a"), reason: REASON.to_owned() })
}
