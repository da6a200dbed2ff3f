//! A backend wrapped around another, to look at what ops give or to spoil it.
//!
//! An [`Intercept`] overrides the ops it is about; all others go straight through.

use std::sync::Arc;

use kernels::{
    AttentionOptions, Backend, BackwardStream, DType, Epilogue, Error, LayerNorm, Layout, Linear,
    LinearBlock, PatchGeometry, PatchTargets, Result, Rows, RowsMut, Shape, Stream, Tensor, View,
    WeightFormat, Write,
};

/// What to do instead of, before or after an op. `s` is the stream underneath.
pub trait Intercept: Send + Sync {
    /// [`Backend::pack_linear`]
    ///
    /// # Errors
    /// As the op.
    fn pack_linear(
        &self,
        b: &dyn Backend,
        blocks: &[LinearBlock<'_>],
        format: WeightFormat,
    ) -> Result<Linear> {
        b.pack_linear(blocks, format)
    }

    /// [`Stream::patchify`]
    ///
    /// # Errors
    /// As the op.
    fn patchify(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()> {
        s.patchify(pixel_values, geometry, indices, patches)
    }

    /// [`Stream::gather_rows`]
    ///
    /// # Errors
    /// As the op.
    fn gather_rows(
        &self,
        s: &mut dyn Stream,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        dst: RowsMut<'_>,
    ) -> Result<()> {
        s.gather_rows(table, indices, write, dst)
    }

    /// [`Stream::broadcast_rows`]
    ///
    /// # Errors
    /// As the op.
    fn broadcast_rows(&self, s: &mut dyn Stream, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
        s.broadcast_rows(row, write, dst)
    }

    /// [`Stream::cast`]
    ///
    /// # Errors
    /// As the op.
    fn cast(&self, s: &mut dyn Stream, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        s.cast(src, dst)
    }

    /// [`Stream::linear`]
    ///
    /// # Errors
    /// As the op.
    fn linear(
        &self,
        s: &mut dyn Stream,
        x: Rows<'_>,
        linear: &Linear,
        epilogue: Epilogue<'_>,
        y: RowsMut<'_>,
    ) -> Result<()> {
        s.linear(x, linear, epilogue, y)
    }

    /// [`Stream::layer_norm`]
    ///
    /// # Errors
    /// As the op.
    fn layer_norm(
        &self,
        s: &mut dyn Stream,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        s.layer_norm(x, norm, y, stats)
    }

    /// [`Stream::attention`]
    ///
    /// # Errors
    /// As the op.
    fn attention(
        &self,
        s: &mut dyn Stream,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        s.attention(qkv, options, context, stats)
    }

    /// [`Stream::attention_probabilities`]
    ///
    /// # Errors
    /// As the op.
    fn attention_probabilities(
        &self,
        s: &mut dyn Stream,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        s.attention_probabilities(qkv, options, probabilities)
    }

    /// [`Stream::mean_tokens`]
    ///
    /// # Errors
    /// As the op.
    fn mean_tokens(&self, s: &mut dyn Stream, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        s.mean_tokens(x, y)
    }

    /// [`Stream::patch_targets`]
    ///
    /// # Errors
    /// As the op.
    fn patch_targets(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        s.patch_targets(pixel_values, targets, indices, labels)
    }

    /// The three losses, after they have run: `op` is the name.
    ///
    /// # Errors
    /// As the op.
    fn loss(&self, s: &mut dyn Stream, op: &'static str, x: &Tensor, loss: &mut Tensor) -> Result<()> {
        let _ = (s, op, x, loss);
        Ok(())
    }
}

/// A backend whose ops pass through an [`Intercept`].
pub struct Intercepted {
    inner: Arc<dyn Backend>,
    hook: Arc<dyn Intercept>,
}

impl Intercepted {
    /// Wraps `inner`.
    pub fn around(inner: Arc<dyn Backend>, hook: Arc<dyn Intercept>) -> Arc<dyn Backend> {
        Arc::new(Self { inner, hook })
    }
}

impl Backend for Intercepted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn upload(&self, data: &View<'_>) -> Result<Tensor> {
        self.inner.upload(data)
    }

    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear> {
        self.hook.pack_linear(&*self.inner, blocks, format)
    }

    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        self.inner.repack(linear, weight, bias)
    }

    fn stream(self: Arc<Self>) -> Result<Box<dyn Stream>> {
        let inner = Arc::clone(&self.inner).stream()?;
        Ok(Box::new(InterceptedStream { inner, hook: Arc::clone(&self.hook) }))
    }

    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>> {
        Err(Error::unsupported(self.name(), "training through an intercept", "the backend itself"))
    }
}

struct InterceptedStream {
    inner: Box<dyn Stream>,
    hook: Arc<dyn Intercept>,
}

impl Stream for InterceptedStream {
    fn backend_name(&self) -> &str {
        self.inner.backend_name()
    }

    fn alloc(&mut self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        self.inner.alloc(shape, dtype, layout)
    }

    fn resize(&mut self, tensor: &mut Tensor, shape: Shape) -> Result<()> {
        self.inner.resize(tensor, shape)
    }

    fn write(&mut self, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
        self.inner.write(src, dst)
    }

    fn read(&mut self, src: &Tensor, dst: &mut [f32]) -> Result<()> {
        self.inner.read(src, dst)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.inner.synchronize()
    }

    /// Not the inner stream's: the body must see this one.
    fn enter(&mut self, body: &mut (dyn FnMut(&mut dyn Stream) + Send)) {
        body(self);
    }

    fn cast(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        self.hook.cast(&mut *self.inner, src, dst)
    }

    fn patchify(
        &mut self,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()> {
        self.hook.patchify(&mut *self.inner, pixel_values, geometry, indices, patches)
    }

    fn gather_rows(
        &mut self,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        dst: RowsMut<'_>,
    ) -> Result<()> {
        self.hook.gather_rows(&mut *self.inner, table, indices, write, dst)
    }

    fn broadcast_rows(&mut self, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
        self.hook.broadcast_rows(&mut *self.inner, row, write, dst)
    }

    fn linear(&mut self, x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()> {
        self.hook.linear(&mut *self.inner, x, linear, epilogue, y)
    }

    fn layer_norm(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        self.hook.layer_norm(&mut *self.inner, x, norm, y, stats)
    }

    fn attention(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        self.hook.attention(&mut *self.inner, qkv, options, context, stats)
    }

    fn attention_probabilities(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        self.hook.attention_probabilities(&mut *self.inner, qkv, options, probabilities)
    }

    fn mean_tokens(&mut self, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        self.hook.mean_tokens(&mut *self.inner, x, y)
    }

    fn patch_targets(
        &mut self,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        self.hook.patch_targets(&mut *self.inner, pixel_values, targets, indices, labels)
    }

    fn mse_loss(
        &mut self,
        x: &Tensor,
        target: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        self.inner.mse_loss(x, target, loss, gradient)?;
        self.hook.loss(&mut *self.inner, "mse_loss", x, loss)
    }

    fn cross_entropy_loss(
        &mut self,
        logits: &Tensor,
        labels: &Tensor,
        num_items: Option<f32>,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        self.inner.cross_entropy_loss(logits, labels, num_items, loss, gradient)?;
        self.hook.loss(&mut *self.inner, "cross_entropy_loss", logits, loss)
    }

    fn bce_with_logits_loss(
        &mut self,
        logits: &Tensor,
        targets: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        self.inner.bce_with_logits_loss(logits, targets, loss, gradient)?;
        self.hook.loss(&mut *self.inner, "bce_with_logits_loss", logits, loss)
    }
}
