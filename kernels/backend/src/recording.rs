//! A backend that computes nothing and writes down what it was asked.
//!
//! For tests of model code: which ops a forward makes, in which order and on which shapes, and that a second
//! forward allocates nothing. Every shape check runs, so a wiring mistake is found without arithmetic, at any
//! size. Reads give zeros. It also tells what a forward would allocate where there is no memory for it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    AttentionOptions, Backend, BackwardStream, DType, Epilogue, LayerNorm, Layout, Linear, LinearBlock,
    PackedWeights, PatchGeometry, PatchTargets, Result, Rows, RowsMut, Shape, Storage, Stream, Tensor, View,
    WeightFormat, Write, check,
};

const NAME: &str = "recording";

/// The backend. Clones share one record.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    calls: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    /// What was called since the last [`Recording::take`], as `op operand shapes`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, call: String) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

/// Stands for memory: the number of elements that would fit.
struct Capacity(usize);
impl Storage for Capacity {}

/// Stands for packed weights.
struct Packed;
impl PackedWeights for Packed {}

fn tensor(shape: Shape, dtype: DType, layout: Layout) -> Tensor {
    Tensor::from_storage(shape, dtype, layout, Capacity(shape.checked_elements().unwrap_or(usize::MAX)))
}

impl Backend for Recording {
    fn name(&self) -> &str {
        NAME
    }

    fn upload(&self, data: &View<'_>) -> Result<Tensor> {
        self.record(format!("upload {}", data.shape()));
        Ok(tensor(*data.shape(), data.dtype(), Layout::Rows))
    }

    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear> {
        let (in_features, out_features) = check::linear_blocks(blocks)?;
        self.record(format!("pack_linear {in_features} -> {out_features} {format}"));
        Ok(Linear::from_packed(in_features, out_features, format, Packed))
    }

    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        check::shape("repack", "weight", weight, &[linear.out_features(), linear.in_features()])?;
        if let Some(bias) = bias {
            check::shape("repack", "bias", bias, &[linear.out_features()])?;
        }
        self.record(format!("repack {linear:?}"));
        Ok(())
    }

    fn stream(self: Arc<Self>) -> Result<Box<dyn Stream>> {
        Ok(Box::new(RecordingStream { backend: (*self).clone() }))
    }

    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>> {
        check::no_backward(NAME)
    }
}

struct RecordingStream {
    backend: Recording,
}

impl RecordingStream {
    fn record(&self, call: String) {
        self.backend.record(call);
    }
}

fn text(rows: crate::RowDims) -> String {
    format!("({}, {}..{}, {})", rows.batch, rows.offset, rows.offset + rows.rows, rows.width)
}

impl Stream for RecordingStream {
    fn backend_name(&self) -> &str {
        NAME
    }

    fn alloc(&mut self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        self.record(format!("alloc {shape} {dtype}"));
        Ok(tensor(shape, dtype, layout))
    }

    fn resize(&mut self, tensor: &mut Tensor, shape: Shape) -> Result<()> {
        let capacity = tensor.storage::<Capacity>("resize", NAME)?.0;
        if shape.checked_elements().is_none_or(|n| n > capacity) {
            return Err(crate::Error::Shape {
                op: "resize",
                expected: format!("at most {capacity} elements"),
                found: shape.to_string(),
            });
        }
        tensor.set_shape(shape);
        Ok(())
    }

    fn write(&mut self, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
        self.record(format!("write {}", src.shape()));
        check::shape("write", "destination", dst, src.shape())
    }

    fn read(&mut self, src: &Tensor, dst: &mut [f32]) -> Result<()> {
        check::shape("read", "source", src, src.shape())?;
        self.record(format!("read {}", src.shape()));
        dst.fill(0.0);
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn enter(&mut self, body: &mut (dyn FnMut(&mut dyn Stream) + Send)) {
        body(self);
    }

    fn cast(&mut self, src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
        self.record(format!("cast {} -> {}", text(src.dims), text(dst.dims)));
        check::same_rows("cast", src.dims, dst.dims)
    }

    fn normalize_levels(&mut self, levels: &Tensor, table: &Tensor, pixel_values: &mut Tensor) -> Result<()> {
        self.record(format!("normalize_levels {}", levels.shape()));
        check::normalize_levels(levels, table, pixel_values).map(|_| ())
    }

    fn patchify(
        &mut self,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        patches: RowsMut<'_>,
    ) -> Result<()> {
        self.record(format!("patchify {} -> {}", pixel_values.shape(), text(patches.dims)));
        check::patchify("patchify", pixel_values, geometry, indices, patches.dims).map(|_| ())
    }

    fn gather_rows(&mut self, table: &Tensor, indices: &Tensor, _: Write, dst: RowsMut<'_>) -> Result<()> {
        self.record(format!("gather_rows {} -> {}", table.shape(), text(dst.dims)));
        check::gather_rows(table, indices, dst.dims).map(|_| ())
    }

    fn broadcast_rows(&mut self, row: &Tensor, _: Write, dst: RowsMut<'_>) -> Result<()> {
        self.record(format!("broadcast_rows {} -> {}", row.shape(), text(dst.dims)));
        check::broadcast_rows(row, dst.dims).map(|_| ())
    }

    fn linear(&mut self, x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()> {
        self.record(format!("linear {} -> {}", text(x.dims), text(y.dims)));
        check::linear(x.dims, linear, &epilogue, y.dims, y.tensor.layout())
    }

    fn layer_norm(
        &mut self,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        self.record(format!("layer_norm {} eps {:e}", text(x.dims), norm.eps));
        check::layer_norm(x.dims, norm, y.dims, stats.as_deref())
    }

    fn attention(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        self.record(format!("attention {} heads {}", qkv.shape(), options.num_heads));
        check::attention("attention", qkv, options, Some(context), stats.as_deref()).map(|_| ())
    }

    fn attention_probabilities(
        &mut self,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        const OP: &str = "attention_probabilities";
        self.record(format!("{OP} {} heads {}", qkv.shape(), options.num_heads));
        let dims = check::attention(OP, qkv, options, None, None)?;
        check::shape(
            OP,
            "probabilities",
            probabilities,
            &[dims.batch, dims.num_heads, dims.tokens, dims.tokens],
        )
    }

    fn mean_tokens(&mut self, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        self.record(format!("mean_tokens {}", text(x.dims)));
        check::mean_tokens("mean_tokens", x.dims, y)
    }

    fn patch_targets(
        &mut self,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        self.record(format!("patch_targets {} -> {}", pixel_values.shape(), labels.shape()));
        check::patch_targets(pixel_values, targets, indices, labels).map(|_| ())
    }

    fn mse_loss(
        &mut self,
        x: &Tensor,
        target: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        self.record(format!("mse_loss {}", x.shape()));
        check::loss("mse_loss", x, target.shape(), loss, gradient.as_deref())
    }

    fn cross_entropy_loss(
        &mut self,
        logits: &Tensor,
        labels: &Tensor,
        _: Option<f32>,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        self.record(format!("cross_entropy_loss {}", logits.shape()));
        check::cross_entropy_loss(logits, labels, loss, gradient.as_deref()).map(|_| ())
    }

    fn bce_with_logits_loss(
        &mut self,
        logits: &Tensor,
        targets: &Tensor,
        loss: &mut Tensor,
        gradient: Option<&mut Tensor>,
    ) -> Result<()> {
        self.record(format!("bce_with_logits_loss {}", logits.shape()));
        check::loss("bce_with_logits_loss", logits, targets.shape(), loss, gradient.as_deref())
    }
}
