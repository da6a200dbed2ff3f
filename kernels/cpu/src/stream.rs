//! The stream: every op at its door, handed to the file of its name.

use std::sync::Arc;

use kernels_backend::{
    AttentionOptions, DType, Epilogue, Error, LayerNorm, Layout, Linear, PatchGeometry, PatchTargets, Result,
    Rows, RowsMut, Shape, Stream, Tensor, View, Write,
};

use crate::{
    attention, backend::CpuBackend, gemm, layer_norm, loss, patches, rows, simd::Simd, storage,
    threads::Threads, transfer,
};

/// What every op needs of the backend.
pub(crate) struct Context<'a, S> {
    pub(crate) simd: S,
    pub(crate) threads: &'a Threads,
    pub(crate) name: &'a str,
}

/// Runs ops at once: when an op returns, its result is in memory.
pub(crate) struct CpuStream<S> {
    backend: Arc<CpuBackend<S>>,
    /// For attention; grown when larger heads come, then kept.
    scratch: attention::Scratch,
    /// For x of a linear layer in the precision of its weights, where it is not written so.
    narrow: gemm::Scratch,
}

impl<S: Simd> CpuStream<S> {
    pub(crate) fn new(backend: Arc<CpuBackend<S>>) -> Self {
        let scratch = attention::Scratch::new(&backend.threads);
        Self { backend, scratch, narrow: gemm::Scratch::default() }
    }

    fn context(&self) -> Context<'_, S> {
        context(&self.backend)
    }
}

fn context<S: Simd>(backend: &CpuBackend<S>) -> Context<'_, S> {
    Context { simd: backend.simd, threads: &backend.threads, name: &backend.name }
}

impl<S: Simd> Stream for CpuStream<S> {
    fn backend_name(&self) -> &str {
        &self.backend.name
    }

    fn alloc(&mut self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        self.backend.alloc(shape, dtype, layout)
    }

    fn resize(&mut self, tensor: &mut Tensor, shape: Shape) -> Result<()> {
        const OP: &str = "resize";
        let words = tensor.storage::<storage::CpuStorage>(OP, &self.backend.name)?.0.len();
        if storage::capacity(&shape).is_none_or(|needed| needed > words) {
            return Err(Error::Shape {
                op: OP,
                expected: format!("a shape that fits the memory of {} numbers", tensor.shape()),
                found: shape.to_string(),
            });
        }
        if let Layout::Heads { num_heads } = tensor.layout()
            && (shape.len() != 3 || !shape[2].is_multiple_of(3 * num_heads))
        {
            return Err(Error::Shape {
                op: OP,
                expected: format!("(B, N, 3·D) with D a multiple of {num_heads} heads"),
                found: shape.to_string(),
            });
        }
        tensor.set_shape(shape);
        Ok(())
    }

    fn write(&mut self, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
        transfer::write(&self.backend.threads, &self.backend.name, src, dst)
    }

    fn read(&mut self, src: &Tensor, dst: &mut [f32]) -> Result<()> {
        transfer::read(&self.backend.name, src, dst)
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn enter(&mut self, body: &mut (dyn FnMut(&mut dyn Stream) + Send)) {
        let backend = Arc::clone(&self.backend);
        backend.threads.enter(|| body(self));
    }

    fn cast(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        transfer::cast(&self.backend.threads, &self.backend.name, &src, dst)
    }

    fn normalize_levels(&mut self, levels: &Tensor, table: &Tensor, pixel_values: &mut Tensor) -> Result<()> {
        patches::normalize_levels(&self.context(), levels, table, pixel_values)
    }

    fn patchify(
        &mut self,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()> {
        patches::patchify(&self.context(), pixel_values, geometry, indices, patches)
    }

    fn gather_rows(
        &mut self,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        dst: RowsMut<'_>,
    ) -> Result<()> {
        rows::gather_rows(&self.context(), table, indices, write, dst)
    }

    fn broadcast_rows(&mut self, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
        rows::broadcast_rows(&self.context(), row, write, dst)
    }

    fn linear(&mut self, x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()> {
        gemm::linear(&context(&self.backend), &mut self.narrow, x, linear, epilogue, y)
    }

    fn layer_norm(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        layer_norm::layer_norm(&self.context(), x, norm, y, stats)
    }

    fn attention(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        attention::attention(&self::context(&self.backend), &mut self.scratch, qkv, options, context, stats)
    }

    fn attention_probabilities(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        attention::attention_probabilities(&self.context(), qkv, options, probabilities)
    }

    fn mean_tokens(&mut self, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        rows::mean_tokens(&self.context(), x, y)
    }

    fn patch_targets(
        &mut self,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        patches::patch_targets(&self.context(), pixel_values, targets, indices, labels)
    }

    fn mse_loss(
        &mut self,
        x: &Tensor,
        target: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        loss::mse_loss(&self.backend.name, x, target, loss, gradient)
    }

    fn cross_entropy_loss(
        &mut self,
        logits: &Tensor,
        labels: &Tensor,
        num_items: Option<f32>,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        loss::cross_entropy_loss(&self.backend.name, logits, labels, num_items, loss, gradient)
    }

    fn bce_with_logits_loss(
        &mut self,
        logits: &Tensor,
        targets: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        loss::bce_with_logits_loss(&self.backend.name, logits, targets, loss, gradient)
    }
}
