//! The backend: what outlives a run.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use kernels_backend::{
    Backend, BackwardStream, DType, Layout, Linear, LinearBlock, Result, Shape, Stream, Tensor, View,
    WeightFormat, check,
};

use crate::{
    device::Device,
    kernel::Context,
    linear,
    memory::Memory,
    storage::{self, CudaStorage},
    stream::OpStream,
    transfer::{self, Staging},
};

/// A backend for one GPU.
pub(crate) struct CudaBackend {
    pub(crate) device: Arc<Device>,
    /// For uploads, which are complete when they return.
    loading: Arc<CudaStream>,
}

impl CudaBackend {
    /// A backend for a device that was opened.
    pub(crate) fn new(device: Arc<Device>) -> Result<Arc<Self>> {
        let loading = device.driver("stream", device.context.new_stream())?;
        Ok(Arc::new(Self { device, loading }))
    }

    /// Memory for a tensor.
    pub(crate) fn alloc(&self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        storage::check_layout("alloc", &shape, dtype, layout)?;
        let memory = Memory::new(&self.device, storage::bytes(&shape, dtype), &shape)?;
        Ok(Tensor::from_storage(shape, dtype, layout, CudaStorage { memory, integers: Vec::new() }))
    }

    fn loading(&self) -> Context<'_> {
        Context { device: &self.device, stream: &self.loading }
    }

    fn finish_loading(&self, op: &'static str) -> Result<()> {
        self.device.driver(op, self.loading.synchronize())
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &str {
        &self.device.name
    }

    fn upload(&self, data: &View<'_>) -> Result<Tensor> {
        let mut tensor = self.alloc(*data.shape(), data.dtype(), Layout::Rows)?;
        transfer::write(&self.loading(), &mut Staging::default(), data, &mut tensor)?;
        self.finish_loading("upload")?;
        Ok(tensor)
    }

    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear> {
        let (in_features, out_features) = check::linear_blocks(blocks)?;
        let packed = linear::Packed::new(&self.device, blocks, format, in_features, out_features)?;
        packed.upload(&self.loading(), blocks)?;
        self.finish_loading("pack_linear")?;
        Ok(Linear::from_packed(in_features, out_features, format, packed))
    }

    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        const OP: &str = "repack";
        // The optimiser may still be writing the weights, on a stream of its own.
        self.device.driver(OP, self.device.context.synchronize())?;
        linear::repack(&self.loading(), linear, weight, bias)?;
        self.finish_loading(OP)
    }

    fn stream(self: Arc<Self>) -> Result<Box<dyn Stream>> {
        Ok(Box::new(OpStream::new(self)?))
    }

    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>> {
        check::no_backward(&self.device.name)
    }
}
