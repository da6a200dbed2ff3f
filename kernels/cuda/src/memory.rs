//! Memory of the device.

use std::sync::Arc;

use cudarc::driver::{DriverError, result, sys};
use kernels_backend::{Error, Result, Shape};

use crate::device::Device;

/// What a kernel sees of memory: its address on the device.
pub(crate) type Address = sys::CUdeviceptr;

/// Bytes that start at a multiple of 256; undefined at first.
pub(crate) struct Memory {
    pub(crate) device: Arc<Device>,
    pub(crate) address: Address,
    pub(crate) bytes: usize,
}

impl Memory {
    /// `bytes` bytes for a tensor of shape `shape`, which an error names.
    pub(crate) fn new(device: &Arc<Device>, bytes: Option<usize>, shape: &Shape) -> Result<Self> {
        const OP: &str = "alloc";
        let refuse = || Error::OutOfMemory {
            backend: device.name.clone(),
            bytes: bytes.unwrap_or(usize::MAX),
            shape: shape.to_string(),
        };
        let bytes = bytes.ok_or_else(refuse)?;
        device.bind(OP)?;
        // An empty tensor has an address too.
        // SAFETY: the size is not zero, and what is allocated is written before it is read, as the ops demand.
        match unsafe { result::malloc_sync(bytes.max(1)) } {
            Ok(address) => Ok(Self { device: Arc::clone(device), address, bytes }),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Err(refuse()),
            Err(error) => Err(device.error(OP, &error)),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Whatever stream still uses the memory comes to rest first. An error here is that of an earlier launch, which
        // the next wait reports too, or means that the device is gone and its memory with it.
        if self.device.context.bind_to_thread().is_ok() {
            let _ = result::ctx::synchronize();
            // SAFETY: the address is that of an allocation which nothing uses any more.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}
