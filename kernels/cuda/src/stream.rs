//! The stream: every op at its door, handed to the file of its name.

use std::{cell::RefCell, sync::Arc};

use kernels_backend::{
    AttentionOptions, DType, Epilogue, Error, LayerNorm, Layout, Linear, PatchGeometry, PatchTargets, Result,
    Rows, RowsMut, Shape, Stream, Tensor, View, Write,
};

use crate::{
    attention, attention_probabilities, backend::CudaBackend, bce_with_logits_loss, broadcast_rows, cast,
    cross_entropy_loss, gather_rows, kernel::Context, layer_norm, linear, mean_loss, mean_tokens,
    memory::Memory, mse_loss, normalize_levels, patch_targets, patchify, queue::Queue, staging::Staging,
    storage, transfer,
};

/// Gives ops to the device, which runs them one after another while the host goes on.
pub(crate) struct OpStream {
    backend: Arc<CudaBackend>,
    pub(crate) queue: RefCell<Queue>,
    staging: Staging,
    /// The sums that the blocks of a loss leave to the next kernel.
    partials: Memory,
}

impl OpStream {
    /// A stream of the device of its own.
    pub(crate) fn new(backend: Arc<CudaBackend>) -> Result<Self> {
        let device = &backend.device;
        let (queue, mut staging) = (RefCell::new(Queue::new(device)?), Staging::new(device));
        let partials = mean_loss::partials(device)?;
        // All memory that a stream has of its own is there before the tensors are.
        staging.unconverted()?;
        Ok(Self { backend, queue, staging, partials })
    }

    fn context(&self) -> Context<'_> {
        context(&self.backend, &self.queue)
    }
}

fn context<'a>(backend: &'a CudaBackend, queue: &'a RefCell<Queue>) -> Context<'a> {
    Context { device: &backend.device, queue }
}

/// A stream within [`Stream::enter`], left at its end also when the body panics.
struct Entered<'a>(&'a mut OpStream);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.queue.get_mut().close();
    }
}

impl Stream for OpStream {
    fn backend_name(&self) -> &str {
        &self.backend.device.name
    }

    fn alloc(&mut self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        // Launches that were noted keep memory from being used again.
        self.queue.get_mut().flush()?;
        self.backend.alloc(shape, dtype, layout)
    }

    fn resize(&mut self, tensor: &mut Tensor, shape: Shape) -> Result<()> {
        const OP: &str = "resize";
        let held = storage::storage(OP, tensor, &self.backend.device)?.memory.bytes;
        if storage::bytes(&shape, tensor.dtype()).is_none_or(|needed| needed > held) {
            return Err(Error::Shape {
                op: OP,
                expected: format!("at most {} numbers", held / tensor.dtype().size()),
                found: shape.to_string(),
            });
        }
        storage::check_layout(OP, &shape, tensor.dtype(), tensor.layout())?;
        tensor.set_shape(shape);
        Ok(())
    }

    fn write(&mut self, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
        transfer::write(&context(&self.backend, &self.queue), &mut self.staging, src, dst)
    }

    fn read(&mut self, src: &Tensor, dst: &mut [f32]) -> Result<()> {
        transfer::read(&context(&self.backend, &self.queue), &mut self.staging, src, dst)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.queue.get_mut().synchronize("synchronize")
    }

    fn enter(&mut self, body: &mut (dyn FnMut(&mut dyn Stream) + Send)) {
        self.queue.get_mut().open();
        body(&mut *Entered(self).0);
    }

    fn cast(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        cast::cast(&self.context(), &src, &dst)
    }

    fn normalize_levels(&mut self, levels: &Tensor, table: &Tensor, pixel_values: &mut Tensor) -> Result<()> {
        normalize_levels::normalize_levels(&self.context(), levels, table, pixel_values)
    }

    fn patchify(
        &mut self,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()> {
        patchify::patchify(&self.context(), pixel_values, geometry, indices, &patches)
    }

    fn gather_rows(
        &mut self,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        dst: RowsMut<'_>,
    ) -> Result<()> {
        gather_rows::gather_rows(&self.context(), table, indices, write, &dst)
    }

    fn broadcast_rows(&mut self, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
        broadcast_rows::broadcast_rows(&self.context(), row, write, &dst)
    }

    fn linear(&mut self, x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()> {
        linear::linear(&self.context(), &x, linear, epilogue, &y)
    }

    fn layer_norm(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        layer_norm::layer_norm(&self.context(), &x, norm, &y, stats)
    }

    fn attention(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        attention::attention(&self.context(), qkv, options, context, stats)
    }

    fn attention_probabilities(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        attention_probabilities::attention_probabilities(&self.context(), qkv, options, probabilities)
    }

    fn mean_tokens(&mut self, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        mean_tokens::mean_tokens(&self.context(), &x, y)
    }

    fn patch_targets(
        &mut self,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        patch_targets::patch_targets(&self.context(), pixel_values, targets, indices, labels)
    }

    fn mse_loss(
        &mut self,
        x: &Tensor,
        target: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        mse_loss::mse_loss(&self.context(), &self.partials, x, target, loss, gradient)
    }

    fn cross_entropy_loss(
        &mut self,
        logits: &Tensor,
        labels: &Tensor,
        num_items: Option<f32>,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        cross_entropy_loss::cross_entropy_loss(&self.context(), logits, labels, num_items, loss, gradient)
    }

    fn bce_with_logits_loss(
        &mut self,
        logits: &Tensor,
        targets: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        let ctx = self.context();
        bce_with_logits_loss::bce_with_logits_loss(&ctx, &self.partials, logits, targets, loss, gradient)
    }
}
