//! The stream: each op is a function in the file of its name.

use kernels_backend::{
    Activation, AttentionOptions, BackwardStream, DType, Dropout, Epilogue, LayerNorm, LayerNormGradients,
    Layout, Linear, LinearGradients, PatchGeometry, PatchTargets, Result, Rows, RowsMut, Shape, Stream,
    Tensor, View, Write,
};

use crate::{
    activation, attention, bce_with_logits_loss, broadcast_rows, cast, cross_entropy_loss, dropout,
    gather_rows, layer_norm, linear, mean_tokens, memory, mse_loss, normalize_levels, patch_targets,
    patchify, storage,
};

/// Runs each op before it returns.
pub(crate) struct ReferenceStream;

impl Stream for ReferenceStream {
    fn backend_name(&self) -> &str {
        storage::NAME
    }

    fn alloc(&mut self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        storage::alloc(shape, dtype, layout)
    }

    fn resize(&mut self, tensor: &mut Tensor, shape: Shape) -> Result<()> {
        storage::resize(tensor, shape)
    }

    fn write(&mut self, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
        memory::write(src, dst)
    }

    fn read(&mut self, src: &Tensor, dst: &mut [f32]) -> Result<()> {
        memory::read(src, dst)
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn enter(&mut self, body: &mut (dyn FnMut(&mut dyn Stream) + Send)) {
        body(self);
    }

    fn cast(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        cast::cast(src, dst)
    }

    fn normalize_levels(&mut self, levels: &Tensor, table: &Tensor, pixel_values: &mut Tensor) -> Result<()> {
        normalize_levels::normalize_levels(levels, table, pixel_values)
    }

    fn patchify(
        &mut self,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()> {
        patchify::patchify(pixel_values, geometry, indices, patches)
    }

    fn gather_rows(
        &mut self,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        dst: RowsMut<'_>,
    ) -> Result<()> {
        gather_rows::gather_rows(table, indices, write, dst)
    }

    fn broadcast_rows(&mut self, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
        broadcast_rows::broadcast_rows(row, write, dst)
    }

    fn linear(&mut self, x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()> {
        linear::linear(x, linear, epilogue, y)
    }

    fn layer_norm(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        layer_norm::layer_norm(x, norm, y, stats)
    }

    fn attention(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        attention::attention(qkv, options, context, stats)
    }

    fn attention_probabilities(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        attention::attention_probabilities(qkv, options, probabilities)
    }

    fn mean_tokens(&mut self, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        mean_tokens::mean_tokens(x, y)
    }

    fn patch_targets(
        &mut self,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        patch_targets::patch_targets(pixel_values, targets, indices, labels)
    }

    fn mse_loss(
        &mut self,
        x: &Tensor,
        target: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        mse_loss::mse_loss(x, target, loss, gradient)
    }

    fn cross_entropy_loss(
        &mut self,
        logits: &Tensor,
        labels: &Tensor,
        num_items: Option<f32>,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        cross_entropy_loss::cross_entropy_loss(logits, labels, num_items, loss, gradient)
    }

    fn bce_with_logits_loss(
        &mut self,
        logits: &Tensor,
        targets: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        bce_with_logits_loss::bce_with_logits_loss(logits, targets, loss, gradient)
    }
}

impl BackwardStream for ReferenceStream {
    fn forward(&mut self) -> &mut dyn Stream {
        self
    }

    fn zero(&mut self, tensor: &mut Tensor) -> Result<()> {
        memory::zero(tensor)
    }

    fn add(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        cast::add(src, dst)
    }

    fn dropout(&mut self, x: &mut Tensor, dropout: Dropout) -> Result<()> {
        dropout::dropout(x, dropout)
    }

    fn linear_backward(
        &mut self,
        x: Rows<'_>,
        linear: &Linear,
        dy: Rows<'_>,
        gradients: LinearGradients<'_>,
    ) -> Result<()> {
        linear::linear_backward(x, linear, dy, gradients)
    }

    fn activation_backward(
        &mut self,
        activation: Activation,
        pre_activation: &Tensor,
        d: &mut Tensor,
    ) -> Result<()> {
        activation::activation_backward(activation, pre_activation, d)
    }

    fn layer_norm_backward(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        stats: &Tensor,
        dy: Rows<'_>,
        gradients: LayerNormGradients<'_>,
    ) -> Result<()> {
        layer_norm::layer_norm_backward(x, norm, stats, dy, gradients)
    }

    fn attention_backward(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        stats: &Tensor,
        context: &Tensor,
        dcontext: &Tensor,
        dqkv: &mut Tensor,
    ) -> Result<()> {
        attention::attention_backward(qkv, options, stats, context, dcontext, dqkv)
    }

    fn mean_tokens_backward(&mut self, dy: &Tensor, dx: RowsMut<'_>) -> Result<()> {
        mean_tokens::mean_tokens_backward(dy, dx)
    }

    fn sum_rows(&mut self, dy: Rows<'_>, drow: &mut Tensor) -> Result<()> {
        broadcast_rows::sum_rows(dy, drow)
    }

    fn patchify_backward(
        &mut self,
        dpatches: Rows<'_>,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        dpixel_values: &mut Tensor,
    ) -> Result<()> {
        patchify::patchify_backward(dpatches, geometry, indices, dpixel_values)
    }
}
