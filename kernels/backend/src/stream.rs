//! The trait of every op of a forward pass.

use crate::{
    AttentionOptions, DType, Epilogue, Error, LayerNorm, Layout, Linear, PatchGeometry, PatchTargets, Result,
    Rows, RowsMut, Shape, Tensor, View, Write,
};

/// Runs ops in order. Shapes are checked at the door of each op; destinations are never read unless
/// [`Write::Accumulate`] says so; an op may not be given the same tensor to read and to write.
///
/// Ops on a device may return before they are done; [`Stream::read`] and [`Stream::synchronize`] wait.
pub trait Stream: Send {
    /// The name of the backend that runs the ops.
    fn backend_name(&self) -> &str;

    // Memory.

    /// Memory for a tensor; contents undefined.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn alloc(&mut self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor>;

    /// Gives a tensor a new shape within the memory it has; contents undefined. Never allocates.
    ///
    /// # Errors
    /// [`Error::Shape`] when the memory is too small.
    fn resize(&mut self, tensor: &mut Tensor, shape: Shape) -> Result<()>;

    /// Host to backend; the element type is converted where it differs between float types.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`] between other types.
    fn write(&mut self, src: &View<'_>, dst: &mut Tensor) -> Result<()>;

    /// Backend to host in canonical row-major order, widened to `f32`; waits for the ops before it.
    ///
    /// # Errors
    /// [`Error::Shape`] when `dst` has another number of elements.
    fn read(&mut self, src: &Tensor, dst: &mut [f32]) -> Result<()>;

    /// Waits for all ops given so far.
    ///
    /// # Errors
    /// What the device says of them.
    fn synchronize(&mut self) -> Result<()>;

    /// Runs `body` where ops start fastest: a CPU backend enters its thread pool once, so that the ops in it
    /// need not. Use [`enter`], which passes a value through.
    fn enter(&mut self, body: &mut (dyn FnMut(&mut dyn Stream) + Send));

    // Ops.

    /// Copies rows, converting between float types.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn cast(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()>;

    /// Levels `(B, T, C, H, W)`, u8, to `pixel_values` of the same shape: `table[c][level]`, with `table (C, 256)`, f32.
    /// What rescaling and normalising make of a level is in the table, so a video can travel as bytes.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`].
    fn normalize_levels(&mut self, levels: &Tensor, table: &Tensor, pixel_values: &mut Tensor) -> Result<()>;

    /// `pixel_values (B, T, C, H, W)` to rows `(B, N, C·tubelet·patch_height·patch_width)`, elements of a row in
    /// that order, rows in the order time, height, width. With `indices (B, V)` only those rows are made.
    ///
    /// # Errors
    /// [`Error::Shape`], also where the geometry does not divide the video; [`Error::Index`].
    fn patchify(
        &mut self,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()>;

    /// `dst[b, i] [+]= table[indices[b, i]]`, with `table (R, D)` and `indices (B, I)`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Index`].
    fn gather_rows(&mut self, table: &Tensor, indices: &Tensor, write: Write, dst: RowsMut<'_>)
    -> Result<()>;

    /// `dst[b, i] [+]= row[i mod R]`, with `row (R, D)` or `(D)`: the same rows in every sample.
    ///
    /// # Errors
    /// [`Error::Shape`] when R does not divide the rows of a sample.
    fn broadcast_rows(&mut self, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()>;

    /// `y = [y +] activation(x·Wᵀ + b)`. `y` may be of [`Layout::Heads`], to be read by attention.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Foreign`].
    fn linear(&mut self, x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()>;

    /// Layer norm of each row. `stats (rows, 2)`, f32, keeps mean and 1/sqrt(var + eps) for backward.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`].
    fn layer_norm(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()>;

    /// `qkv (B, N, 3·D)` to `context (B, N, D)`; the scores never reach memory. `stats (B, h, N)`, f32,
    /// keeps the logarithm of each softmax denominator (of the scaled scores) for backward. Dropout multiplies
    /// the probability at flat index `i` of `(B, h, N, N)` by [`crate::Dropout::factor`]`(i)`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`]; [`Error::Unsupported`] for dropout where the backend does not train.
    fn attention(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()>;

    /// The softmax of the scaled scores, after dropout if there is any, `(B, h, N, N)`. Slow; for
    /// `output_attentions`.
    ///
    /// # Errors
    /// As [`Stream::attention`].
    fn attention_probabilities(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()>;

    /// The mean over the rows of each sample, `(B, D)`.
    ///
    /// # Errors
    /// [`Error::Shape`], also for no rows at all.
    fn mean_tokens(&mut self, x: Rows<'_>, y: &mut Tensor) -> Result<()>;

    /// `pixel_values (B, T, C, H, W)` to `labels (B, M, tubelet·patch_height·patch_width·C)`, channel fastest,
    /// for the tokens in `indices (B, M)`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Index`].
    fn patch_targets(
        &mut self,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()>;

    // Losses. Each writes the mean to `loss (1)` and, if asked, its gradient by x to `gradient` (same shape as x).

    /// Mean squared error over all elements of `x` and `target`, of equal shape.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn mse_loss(
        &mut self,
        x: &Tensor,
        target: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()>;

    /// Cross entropy of `logits (B, K)` and class indices `labels (B)`, averaged over the labels that are not
    /// −100, or divided by `num_items` if given; NaN when all are −100.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Index`].
    fn cross_entropy_loss(
        &mut self,
        logits: &Tensor,
        labels: &Tensor,
        num_items: Option<f32>,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()>;

    /// Binary cross entropy of `logits` and `targets` in `[0, 1]`, of equal shape, averaged over all elements.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn bce_with_logits_loss(
        &mut self,
        logits: &Tensor,
        targets: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()>;
}

/// Runs `body` through [`Stream::enter`] and returns what it returns.
pub fn enter<R: Send>(stream: &mut dyn Stream, body: impl FnOnce(&mut dyn Stream) -> R + Send) -> R {
    let mut body = Some(body);
    let mut result = None;
    stream.enter(&mut |stream| {
        if let Some(body) = body.take() {
            result = Some(body(stream));
        }
    });
    result.expect("a stream runs the body of `enter` once")
}

/// The usual refusal of a backend that only runs forward.
impl Error {
    /// `what` is not supported by `backend`; `instead` is what the user can do.
    pub fn unsupported(backend: &str, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self::Unsupported { backend: backend.to_owned(), what: what.into(), instead: instead.into() }
    }
}
