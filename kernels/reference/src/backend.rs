//! The backend: uploads, packing and streams.

use std::sync::Arc;

use kernels_backend::{
    Backend, BackwardStream, Layout, Linear, LinearBlock, Result, Stream, Tensor, View, WeightFormat, check,
};

use crate::{linear, memory, storage, stream::ReferenceStream};

/// The backend named `reference`. It holds nothing: every instance understands the tensors of every other.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceBackend;

impl ReferenceBackend {
    /// Opens the backend. Nothing can go wrong: it runs everywhere, on the thread that calls it.
    pub fn open() -> Arc<dyn Backend> {
        Arc::new(Self)
    }
}

impl Backend for ReferenceBackend {
    fn name(&self) -> &str {
        storage::NAME
    }

    fn upload(&self, data: &View<'_>) -> Result<Tensor> {
        let mut tensor = storage::alloc(*data.shape(), data.dtype(), Layout::Rows)?;
        memory::write(data, &mut tensor)?;
        Ok(tensor)
    }

    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear> {
        let (in_features, out_features) = check::linear_blocks(blocks)?;
        let packed = linear::Weights::pack(blocks, format);
        Ok(Linear::from_packed(in_features, out_features, format, packed))
    }

    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        linear::repack(linear, weight, bias)
    }

    fn stream(self: Arc<Self>) -> Result<Box<dyn Stream>> {
        Ok(Box::new(ReferenceStream))
    }

    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>> {
        Ok(Box::new(ReferenceStream))
    }
}
