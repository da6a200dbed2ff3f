//! The trait for things that outlive a run.

use std::sync::Arc;

use crate::{BackwardStream, DType, Linear, LinearBlock, Result, Stream, Tensor, View, WeightFormat};

/// Makes what lives longer than one forward pass, and opens streams to run ops in.
pub trait Backend: Send + Sync {
    /// The name it can be opened by, with what it found: `cpu:avx512`, `cuda:0`.
    fn name(&self) -> &str;

    /// The element type of activations that suits linear layers of this precision here.
    fn activations(&self, format: WeightFormat) -> DType {
        format.dtype().unwrap_or(DType::F32)
    }

    /// The element type of what only linear layers of this precision read: outputs of norms and attention, and the inner
    /// activations of an MLP. A linear layer rounds its input to its own precision, so an op that writes it may do so at
    /// once, and the result is the same.
    fn linear_inputs(&self, format: WeightFormat) -> DType {
        self.activations(format)
    }

    /// The element type of queries, keys and values between linear layers of this precision, which attention alone reads.
    /// It is less than that of activations only where attention would round them anyway
    /// ([`crate::AttentionOptions::precision`]).
    fn attention_inputs(&self, format: WeightFormat) -> DType {
        self.activations(format)
    }

    /// Copies norm weights, position tables and the like; complete on return. Keeps the element type.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn upload(&self, data: &View<'_>) -> Result<Tensor>;

    /// Packs a linear layer from blocks stacked along the output features, whatever types they have on disk.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when blocks disagree; [`crate::Error::Unsupported`] for a format it lacks.
    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear>;

    /// Packs again in place, after an optimiser step changed the weights `(out, in)` and the bias `(out)`. As
    /// in [`LinearBlock`], a bias of `None` is all zeros.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the sizes differ from the layer's.
    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()>;

    /// Opens a stream.
    ///
    /// # Errors
    /// What the device says.
    fn stream(self: Arc<Self>) -> Result<Box<dyn Stream>>;

    /// Opens a stream that can also train.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where a backend only runs forward.
    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>>;
}
