//! Memory of the device: one pool, from which every tensor and every packed weight is a block.
//!
//! The driver is slow to give memory and waits for the device when it takes some back, so it is asked for chunks, and
//! `arena` says which part of them is free. Memory that was given back may still be in use: by kernels under way, or by
//! launches that a queue has noted and not yet made. So before any of it is handed out again, or goes back to the driver,
//! there has to be a moment when no queue holds launches, and then one when the whole device is at rest. One wait serves
//! all that was given back until then; a forward that allocates nothing never waits.

use std::{sync::Arc, thread, time::Duration};

use cudarc::driver::{DriverError, result, sys};
use kernels_backend::{Error, Result, Shape};

use crate::{
    arena::{Arena, Block},
    device::Device,
};

/// What a kernel sees of memory: its address on the device.
pub(crate) type Address = sys::CUdeviceptr;

/// Bytes that the driver is asked for at once, or more for a larger tensor: 32 of its own pages of 2 MiB, in which most
/// tensors of a session of one clip and a few layers of weights find room. In the tests of the kernels each tensor has a
/// chunk of its own, so that the stand-in sees what is written beyond it and what is read before it was written.
const CHUNK: usize = if cfg!(test) { 0 } else { 64 << 20 };

/// Bytes that start at a multiple of 256; undefined at first.
pub(crate) struct Memory {
    pub(crate) device: Arc<Device>,
    pub(crate) address: Address,
    pub(crate) bytes: usize,
    block: Block,
}

impl Memory {
    /// `bytes` bytes for a tensor of shape `shape`, which an error names.
    pub(crate) fn new(device: &Arc<Device>, bytes: Option<usize>, shape: &Shape) -> Result<Self> {
        const OP: &str = "alloc";
        let refuse = |free| Error::OutOfMemory {
            backend: device.name.clone(),
            bytes: bytes.unwrap_or(usize::MAX),
            shape: shape.to_string(),
            free,
        };
        let bytes = bytes.filter(|&bytes| bytes <= MOST).ok_or_else(|| refuse(None))?;
        device.bind(OP)?;
        // Another stream notes launches for some microseconds; memory that was given back meanwhile is free soon.
        for patience in (0..100).rev() {
            let mut pool = device.pool();
            // An empty tensor has an address too.
            if let Some(block) = device.driver(OP, pool.take(bytes.max(1)))? {
                return Ok(Self { device: Arc::clone(device), address: block.address, bytes, block });
            }
            if patience == 0 || !pool.is_held_up() {
                return Err(refuse(pool.free()));
            }
            drop(pool);
            thread::sleep(Duration::from_millis(1));
        }
        unreachable!("the last attempt has returned")
    }
}

/// No device has more memory than this, and rounding it up does not overflow.
const MOST: usize = isize::MAX as usize;

impl Drop for Memory {
    fn drop(&mut self) {
        // Without the device its memory is gone too.
        if self.device.context.bind_to_thread().is_ok() {
            self.device.pool().give(self.block);
        }
    }
}

/// All memory that the driver gave for a device. Calls are made with the device bound to the thread.
pub(crate) struct Pool {
    /// What the driver is asked for at least.
    chunk: usize,
    arena: Arena,
    /// Whether memory was given back since the device was last at rest.
    in_use: bool,
    /// The queues that hold launches.
    noting: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { chunk: CHUNK, arena: Arena::default(), in_use: false, noting: 0 }
    }
}

impl Pool {
    /// At least `bytes` bytes, which is not zero; none if they cannot be had.
    fn take(&mut self, bytes: usize) -> std::result::Result<Option<Block>, DriverError> {
        if self.rest()
            && let Some(block) = self.arena.take(bytes)
        {
            return Ok(Some(block));
        }
        for chunk in [bytes.max(self.chunk), bytes] {
            // SAFETY: the size is not zero, and what is allocated is written before it is read, as the ops demand.
            match unsafe { result::malloc_sync(chunk) } {
                Ok(address) => return Ok(Some(self.arena.add(Block { address, bytes: chunk }, bytes))),
                Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => self.give_back(0),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn give(&mut self, block: Block) {
        self.arena.give(block);
        self.in_use = true;
        self.give_back(self.chunk);
    }

    /// Gives empty chunks back to the driver, but one of at most `kept` bytes, so that a tensor that comes and goes by
    /// itself does not ask the driver each time.
    fn give_back(&mut self, kept: usize) {
        let mut empty: Vec<_> = self.arena.empty().collect();
        if let Some(kept) = empty.iter().position(|chunk| chunk.bytes <= kept) {
            empty.swap_remove(kept);
        }
        if empty.is_empty() || !self.rest() {
            return;
        }
        for chunk in empty {
            self.arena.remove(chunk);
            // An error here is that of an earlier launch, which the next wait reports too.
            // SAFETY: the address is that of an allocation which nothing uses any more.
            let _ = unsafe { result::free_sync(chunk.address) };
        }
    }

    /// Whether nothing uses memory that was given back, after waiting for the device if need be. An error of an earlier
    /// launch means that nobody knows; it is reported to whoever waits for that stream.
    fn rest(&mut self) -> bool {
        self.in_use = self.in_use && (self.noting > 0 || result::ctx::synchronize().is_err());
        !self.in_use
    }

    /// Whether there may be more memory once the queues are empty.
    fn is_held_up(&self) -> bool {
        self.in_use && self.noting > 0
    }

    /// What the driver has and what is free here, if the driver tells.
    fn free(&self) -> Option<usize> {
        result::mem_get_info().ok().map(|(free, _)| free + self.arena.free())
    }

    /// A queue begins to hold launches.
    pub(crate) fn begin_noting(&mut self) {
        self.noting += 1;
    }

    /// It has made them.
    pub(crate) fn end_noting(&mut self) {
        self.noting -= 1;
        self.give_back(self.chunk);
    }

    /// Asks for chunks of another size from here on.
    #[cfg(test)]
    pub(crate) fn set_chunk(&mut self, chunk: usize) {
        self.chunk = chunk;
    }

    /// Gives everything back; nothing is taken.
    pub(crate) fn close(&mut self) {
        self.give_back(0);
    }
}
