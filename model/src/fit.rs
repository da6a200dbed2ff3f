//! What to say when a batch does not fit into the memory of a device: how much it needs, and which batch would fit.

use std::sync::Arc;

use kernels_backend::{Error as KernelError, Shape, Stream, Tensor, recording::Recording};

use crate::{Error, Result, session::Session};

impl Session {
    /// Where a forward of `batch` clips failed for want of memory, and the backend knows its limit, the error that says what
    /// would fit; any other error as it is. `prepare` gives every activation of that forward its shape. The session is empty
    /// afterwards.
    ///
    /// Smaller batches are tried out, so that the answer holds whatever the backend does with memory: halving what is left
    /// takes seven allocations for a hundred clips.
    pub(crate) fn explain(
        &mut self,
        error: Error,
        batch: usize,
        prepare: impl FnOnce(&mut Session) -> Result<()>,
    ) -> Error {
        match self.out_of_memory(&error, batch, prepare) {
            Ok(Some(explained)) => explained,
            Ok(None) => error,
            Err(another) => another,
        }
    }

    fn out_of_memory(
        &mut self,
        error: &Error,
        batch: usize,
        prepare: impl FnOnce(&mut Session) -> Result<()>,
    ) -> Result<Option<Error>> {
        let Error::Kernel(KernelError::OutOfMemory { backend, free: Some(_), .. }) = error else {
            return Ok(None);
        };
        // On a backend that has no memory at all, every shape can be had.
        let mut plan = Self::new(Arc::new(Recording::default()))?;
        prepare(&mut plan)?;
        self.slots = Default::default();
        let mut room = |clips| room(&mut *self.stream, &plan, clips);
        let Some(free) = room(batch)? else { return Ok(None) };
        let (mut fits, mut too_many) = (0, batch);
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            match room(middle)? {
                None => fits = middle,
                Some(_) => too_many = middle,
            }
        }
        let tensors = plan.slots.tensors();
        let needed = tensors.map(|(tensor, _)| bytes(tensor.shape(), tensor)).sum();
        Ok(Some(Error::OutOfMemory { backend: backend.clone(), batch, needed, free, fits }))
    }
}

/// Allocates what `clips` clips need by a plan: nothing if it can be had, else how many bytes can.
fn room(stream: &mut dyn Stream, plan: &Session, clips: usize) -> Result<Option<u64>> {
    let mut held = Vec::new();
    let mut taken = 0;
    for (tensor, grows) in plan.slots.tensors() {
        let mut shape = tensor.shape().to_vec();
        if grows {
            shape[0] = clips;
        }
        let shape = Shape::new(&shape);
        match stream.alloc(shape, tensor.dtype(), tensor.layout()) {
            Ok(tensor) => {
                taken += bytes(&shape, &tensor);
                held.push(tensor);
            }
            Err(KernelError::OutOfMemory { free, .. }) => return Ok(Some(taken + free.unwrap_or(0) as u64)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn bytes(shape: &Shape, tensor: &Tensor) -> u64 {
    shape.elements() as u64 * tensor.dtype().size() as u64
}
