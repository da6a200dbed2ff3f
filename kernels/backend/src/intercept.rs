//! A backend wrapped around another, to time its ops, to look at what they give, or to spoil it.
//!
//! An [`Intercept`] overrides what it is about; all else goes straight through.

use std::sync::Arc;

use crate::{
    AttentionOptions, Backend, BackwardStream, DType, Epilogue, Error, LayerNorm, Layout, Linear,
    LinearBlock, PatchGeometry, PatchTargets, Result, RowDims, Rows, RowsMut, Shape, Stream, Tensor, View,
    WeightFormat, Write,
};

/// An op about to run, or that ran.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call {
    /// Its name.
    pub op: &'static str,
    /// `(rows, in, out)` of a linear layer, `(batch·tokens, num_heads, head_dim)` of an attention; of other ops the
    /// rows that are written and their width.
    pub shape: Shape,
    /// Multiplications and additions of matrix products; zero for ops that make none.
    pub operations: f64,
}

impl Call {
    /// An op that makes no matrix product.
    fn plain(op: &'static str, rows: usize, width: usize) -> Self {
        Self { op, shape: Shape::from([rows, width]), operations: 0.0 }
    }

    fn rows(op: &'static str, dims: RowDims) -> Self {
        Self::plain(op, dims.total(), dims.width)
    }

    fn linear(dims: RowDims, linear: &Linear) -> Self {
        let [rows, inputs, outputs] = [dims.total(), linear.in_features(), linear.out_features()];
        let operations = 2.0 * rows as f64 * inputs as f64 * outputs as f64;
        Self { op: "linear", shape: Shape::from([rows, inputs, outputs]), operations }
    }

    /// Both products of attention; of its probabilities alone, half as much.
    fn attention(op: &'static str, qkv: &Tensor, options: &AttentionOptions, products: f64) -> Self {
        let (tokens, width) = match **qkv.shape() {
            [batch, tokens, width] => (batch * tokens, width / 3),
            _ => (0, 0),
        };
        let per_sample = qkv.shape().get(1).copied().unwrap_or(0);
        let operations = 2.0 * products * tokens as f64 * per_sample as f64 * width as f64;
        let head_dim = width / options.num_heads.max(1);
        Self { op, shape: Shape::from([tokens, options.num_heads, head_dim]), operations }
    }
}

/// What to do instead of, before or after an op. `s` is the stream underneath.
pub trait Intercept: Send + Sync {
    /// Before any op.
    fn before(&self, call: &Call) {
        let _ = call;
    }

    /// After any op, also one that failed.
    fn after(&self, call: &Call) {
        let _ = call;
    }

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

    /// [`Stream::write`]
    ///
    /// # Errors
    /// As the op.
    fn write(&self, s: &mut dyn Stream, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
        s.write(src, dst)
    }

    /// [`Stream::normalize_levels`]
    ///
    /// # Errors
    /// As the op.
    fn normalize_levels(
        &self,
        s: &mut dyn Stream,
        levels: &Tensor,
        table: &Tensor,
        pixel_values: &mut Tensor,
    ) -> Result<()> {
        s.normalize_levels(levels, table, pixel_values)
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

    fn activations(&self, format: WeightFormat) -> DType {
        self.inner.activations(format)
    }

    fn linear_inputs(&self, format: WeightFormat) -> DType {
        self.inner.linear_inputs(format)
    }

    fn attention_inputs(&self, format: WeightFormat) -> DType {
        self.inner.attention_inputs(format)
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
        Ok(Box::new(InterceptedStream { inner: Inner::Owned(inner), hook: Arc::clone(&self.hook) }))
    }

    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>> {
        Err(Error::unsupported(self.name(), "training through an intercept", "the backend itself"))
    }
}

/// The stream underneath: owned, or inside of [`Stream::enter`] lent.
enum Inner<'a> {
    Owned(Box<dyn Stream>),
    Lent(&'a mut dyn Stream),
}

impl Inner<'_> {
    fn get(&self) -> &dyn Stream {
        match self {
            Self::Owned(stream) => &**stream,
            Self::Lent(stream) => &**stream,
        }
    }

    fn get_mut(&mut self) -> &mut dyn Stream {
        match self {
            Self::Owned(stream) => &mut **stream,
            Self::Lent(stream) => &mut **stream,
        }
    }
}

struct InterceptedStream<'a> {
    inner: Inner<'a>,
    hook: Arc<dyn Intercept>,
}

impl InterceptedStream<'_> {
    fn run(
        &mut self,
        call: Call,
        op: impl FnOnce(&dyn Intercept, &mut dyn Stream) -> Result<()>,
    ) -> Result<()> {
        self.hook.before(&call);
        let result = op(&*self.hook, self.inner.get_mut());
        self.hook.after(&call);
        result
    }
}

impl Stream for InterceptedStream<'_> {
    fn backend_name(&self) -> &str {
        self.inner.get().backend_name()
    }

    fn alloc(&mut self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        self.inner.get_mut().alloc(shape, dtype, layout)
    }

    fn resize(&mut self, tensor: &mut Tensor, shape: Shape) -> Result<()> {
        self.inner.get_mut().resize(tensor, shape)
    }

    fn write(&mut self, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
        let call = Call::plain("write", 1, src.shape().elements());
        self.run(call, |hook, s| hook.write(s, src, dst))
    }

    fn read(&mut self, src: &Tensor, dst: &mut [f32]) -> Result<()> {
        let call = Call::plain("read", 1, src.shape().elements());
        self.run(call, |_, s| s.read(src, dst))
    }

    fn synchronize(&mut self) -> Result<()> {
        self.inner.get_mut().synchronize()
    }

    fn enter(&mut self, body: &mut (dyn FnMut(&mut dyn Stream) + Send)) {
        let hook = &self.hook;
        self.inner.get_mut().enter(&mut |inner| {
            body(&mut InterceptedStream { inner: Inner::Lent(inner), hook: Arc::clone(hook) });
        });
    }

    fn cast(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        self.run(Call::rows("cast", dst.dims), |hook, s| hook.cast(s, src, dst))
    }

    fn normalize_levels(&mut self, levels: &Tensor, table: &Tensor, pixel_values: &mut Tensor) -> Result<()> {
        let call = Call::rows("normalize_levels", Rows::from(levels).dims);
        self.run(call, |hook, s| hook.normalize_levels(s, levels, table, pixel_values))
    }

    fn patchify(
        &mut self,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()> {
        let call = Call::rows("patchify", patches.dims);
        self.run(call, |hook, s| hook.patchify(s, pixel_values, geometry, indices, patches))
    }

    fn gather_rows(
        &mut self,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        dst: RowsMut<'_>,
    ) -> Result<()> {
        let call = Call::rows("gather_rows", dst.dims);
        self.run(call, |hook, s| hook.gather_rows(s, table, indices, write, dst))
    }

    fn broadcast_rows(&mut self, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
        let call = Call::rows("broadcast_rows", dst.dims);
        self.run(call, |hook, s| hook.broadcast_rows(s, row, write, dst))
    }

    fn linear(&mut self, x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()> {
        self.run(Call::linear(x.dims, linear), |hook, s| hook.linear(s, x, linear, epilogue, y))
    }

    fn layer_norm(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        self.run(Call::rows("layer_norm", y.dims), |hook, s| hook.layer_norm(s, x, norm, y, stats))
    }

    fn attention(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        let call = Call::attention("attention", qkv, options, 2.0);
        self.run(call, |hook, s| hook.attention(s, qkv, options, context, stats))
    }

    fn attention_probabilities(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        let call = Call::attention("attention_probabilities", qkv, options, 1.0);
        self.run(call, |hook, s| hook.attention_probabilities(s, qkv, options, probabilities))
    }

    fn mean_tokens(&mut self, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        self.run(Call::rows("mean_tokens", x.dims), |hook, s| hook.mean_tokens(s, x, y))
    }

    fn patch_targets(
        &mut self,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        let call = Call::rows("patch_targets", Rows::from(&*labels).dims);
        self.run(call, |hook, s| hook.patch_targets(s, pixel_values, targets, indices, labels))
    }

    fn mse_loss(
        &mut self,
        x: &Tensor,
        target: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        const OP: &str = "mse_loss";
        self.run(Call::rows(OP, Rows::from(x).dims), |hook, s| {
            s.mse_loss(x, target, loss, gradient)?;
            hook.loss(s, OP, x, loss)
        })
    }

    fn cross_entropy_loss(
        &mut self,
        logits: &Tensor,
        labels: &Tensor,
        num_items: Option<f32>,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        const OP: &str = "cross_entropy_loss";
        self.run(Call::rows(OP, Rows::from(logits).dims), |hook, s| {
            s.cross_entropy_loss(logits, labels, num_items, loss, gradient)?;
            hook.loss(s, OP, logits, loss)
        })
    }

    fn bce_with_logits_loss(
        &mut self,
        logits: &Tensor,
        targets: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        const OP: &str = "bce_with_logits_loss";
        self.run(Call::rows(OP, Rows::from(logits).dims), |hook, s| {
            s.bce_with_logits_loss(logits, targets, loss, gradient)?;
            hook.loss(s, OP, logits, loss)
        })
    }
}
