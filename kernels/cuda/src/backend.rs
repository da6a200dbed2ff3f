//! The backend: what outlives a run.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
};

use kernels_backend::{
    Backend, BackwardStream, DType, Layout, Linear, LinearBlock, Result, Shape, Stream, Tensor, View,
    WeightFormat, check,
};

use crate::{
    device::Device,
    kernel::Context,
    linear,
    memory::Memory,
    queue::Queue,
    staging::Staging,
    storage::{self, CudaStorage},
    stream::OpStream,
    transfer,
};

/// A backend for one GPU.
pub(crate) struct CudaBackend {
    pub(crate) device: Arc<Device>,
    /// For uploads, which are complete when they return.
    loading: Mutex<Loading>,
}

struct Loading {
    queue: RefCell<Queue>,
    staging: Staging,
}

impl CudaBackend {
    /// A backend for a device that was opened.
    pub(crate) fn new(device: Arc<Device>) -> Result<Arc<Self>> {
        let loading = Loading { queue: RefCell::new(Queue::new(&device)?), staging: Staging::new(&device) };
        Ok(Arc::new(Self { device, loading: Mutex::new(loading) }))
    }

    /// Memory for a tensor.
    pub(crate) fn alloc(&self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        storage::check_layout("alloc", &shape, dtype, layout)?;
        let memory = Memory::new(&self.device, storage::bytes(&shape, dtype), &shape)?;
        Ok(Tensor::from_storage(shape, dtype, layout, CudaStorage { memory, integers: Vec::new() }))
    }

    /// Runs `body` where things are loaded, and waits for what it asked of the device.
    fn load(
        &self,
        op: &'static str,
        body: impl FnOnce(&Context<'_>, &mut Staging) -> Result<()>,
    ) -> Result<()> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let Loading { queue, staging } = &mut *loading;
        body(&Context { device: &self.device, queue }, staging)?;
        queue.get_mut().synchronize(op)
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &str {
        &self.device.name
    }

    fn upload(&self, data: &View<'_>) -> Result<Tensor> {
        let mut tensor = self.alloc(*data.shape(), data.dtype(), Layout::Rows)?;
        self.load("upload", |ctx, staging| transfer::write(ctx, staging, data, &mut tensor))?;
        Ok(tensor)
    }

    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear> {
        let (in_features, out_features) = check::linear_blocks(blocks)?;
        let packed = linear::Packed::new(&self.device, blocks, format, in_features, out_features)?;
        self.load("pack_linear", |ctx, staging| packed.upload(ctx, staging, blocks))?;
        Ok(Linear::from_packed(in_features, out_features, format, packed))
    }

    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        const OP: &str = "repack";
        // The optimiser may still be writing the weights, on a stream of its own.
        self.device.driver(OP, self.device.context.synchronize())?;
        self.load(OP, |ctx, staging| linear::repack(ctx, staging, linear, weight, bias))
    }

    fn stream(self: Arc<Self>) -> Result<Box<dyn Stream>> {
        Ok(Box::new(OpStream::new(self)?))
    }

    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>> {
        check::no_backward(&self.device.name)
    }
}
