//! The trait of what training adds to a stream.
//!
//! There is no tape: each layer of a model has an explicit backward beside its forward, and these ops are its
//! terms. Gradients of parameters always accumulate, so that several clips can share one arena.

use crate::{
    Activation, AttentionOptions, Dropout, LayerNorm, Linear, PatchGeometry, Result, Rows, RowsMut, Stream,
    Tensor, Write,
};

/// Where the gradients of a linear layer go.
#[derive(Debug)]
pub struct LinearGradients<'a> {
    /// By x; `None` where nobody needs it.
    pub x: Option<(RowsMut<'a>, Write)>,
    /// By the weight `(out, in)`; accumulates.
    pub weight: &'a mut Tensor,
    /// By the bias `(out)`; accumulates. `None` for a layer without one.
    pub bias: Option<&'a mut Tensor>,
}

/// Where the gradients of a layer norm go.
#[derive(Debug)]
pub struct LayerNormGradients<'a> {
    /// By x.
    pub x: RowsMut<'a>,
    /// What happens to what `x` holds; `Accumulate` joins a residual branch.
    pub write: Write,
    /// By the weight `(D)`; accumulates.
    pub weight: &'a mut Tensor,
    /// By the bias `(D)`; accumulates.
    pub bias: &'a mut Tensor,
}

/// A stream that also runs the gradients of its ops. Upcasts to [`Stream`].
pub trait BackwardStream: Stream {
    /// The same stream, for ops of the forward pass.
    fn forward(&mut self) -> &mut dyn Stream;

    /// Fills with zeros.
    ///
    /// # Errors
    /// [`crate::Error::Foreign`].
    fn zero(&mut self, tensor: &mut Tensor) -> Result<()>;

    /// `dst += src`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn add(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()>;

    /// Dropout in place, forward and backward alike: element `i` in row-major order is multiplied by
    /// [`Dropout::factor`]`(i)`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for a probability outside `[0, 1)`.
    fn dropout(&mut self, x: &mut Tensor, dropout: Dropout) -> Result<()>;

    /// The gradients of `y = x·Wᵀ + b`, given `dy`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn linear_backward(
        &mut self,
        x: Rows<'_>,
        linear: &Linear,
        dy: Rows<'_>,
        gradients: LinearGradients<'_>,
    ) -> Result<()>;

    /// `d *= activation′(pre_activation)`, in place.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn activation_backward(
        &mut self,
        activation: Activation,
        pre_activation: &Tensor,
        d: &mut Tensor,
    ) -> Result<()>;

    /// The gradients of a layer norm, given `dy` and the `stats` its forward kept.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn layer_norm_backward(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        stats: &Tensor,
        dy: Rows<'_>,
        gradients: LayerNormGradients<'_>,
    ) -> Result<()>;

    /// The gradient of attention by `qkv`, given `dcontext`, the forward's `context` and its `stats`. The
    /// probabilities are computed again, never stored.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn attention_backward(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        stats: &Tensor,
        context: &Tensor,
        dcontext: &Tensor,
        dqkv: &mut Tensor,
    ) -> Result<()>;

    /// The gradient of [`Stream::mean_tokens`]: `dx[b, i] = dy[b] / rows`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn mean_tokens_backward(&mut self, dy: &Tensor, dx: RowsMut<'_>) -> Result<()>;

    /// The gradient of [`Stream::broadcast_rows`] of one row: `drow += Σ dy`, accumulating into `(D)`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn sum_rows(&mut self, dy: Rows<'_>, drow: &mut Tensor) -> Result<()>;

    /// The gradient of [`Stream::patchify`]: adds each patch to its place in `dpixel_values`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`], [`crate::Error::Index`].
    fn patchify_backward(
        &mut self,
        dpatches: Rows<'_>,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        dpixel_values: &mut Tensor,
    ) -> Result<()>;
}
