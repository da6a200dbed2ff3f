//! Reading the destination of every op of a forward, and giving it the name the fixtures use.
//!
//! The models need no hooks for this: the order of their ops is fixed and documented, and a model that departs from
//! it fails here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use kernels::{
    AttentionOptions, Backend, Epilogue, LayerNorm, Layout, Linear, PatchGeometry, PatchTargets, Result,
    RowDims, Rows, RowsMut, Stream, Tensor, Write,
    intercept::{Intercept, Intercepted},
};
use videomae::VideoMAEConfig;

/// What one op left behind.
#[derive(Clone, Debug)]
struct Call {
    op: &'static str,
    /// The whole destination.
    values: Vec<f32>,
    /// The rows of it that the op wrote.
    dims: RowDims,
}

impl Call {
    /// The rows the op wrote.
    fn written(&self) -> Vec<f32> {
        let RowDims { batch, rows, width, .. } = self.dims;
        let range =
            |sample| self.dims.memory_row(sample, 0) * width..self.dims.memory_row(sample, rows) * width;
        (0..batch).flat_map(|sample| self.values[range(sample)].iter().copied()).collect()
    }
}

/// An [`Intercept`] that keeps what ops give.
#[derive(Debug, Default)]
pub struct Tap {
    calls: Mutex<VecDeque<Call>>,
}

impl Tap {
    /// `backend`, watched.
    pub fn on(backend: Arc<dyn Backend>) -> (Arc<Self>, Arc<dyn Backend>) {
        let tap = Arc::new(Self::default());
        let watched = Intercepted::around(backend, Arc::<Self>::clone(&tap));
        (tap, watched)
    }

    /// What was kept since the last call, under the names of the fixtures.
    ///
    /// # Errors
    /// The op that came where another was expected.
    pub fn take(&self, model: Model, config: &VideoMAEConfig) -> std::result::Result<Vec<Named>, String> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        let mut trace = Trace { calls, named: Vec::new() };
        trace.model(model, config)?;
        match trace.calls.front() {
            None => Ok(trace.named),
            Some(call) => Err(format!("{} after the last op of the model", call.op)),
        }
    }

    fn keep(&self, s: &mut dyn Stream, op: &'static str, tensor: &Tensor, dims: RowDims) -> Result<()> {
        let mut values = vec![0.0; tensor.shape().elements()];
        s.read(tensor, &mut values)?;
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push_back(Call { op, values, dims });
        Ok(())
    }

    fn keep_all(&self, s: &mut dyn Stream, op: &'static str, tensor: &Tensor) -> Result<()> {
        self.keep(s, op, tensor, Rows::from(tensor).dims)
    }
}

impl Intercept for Tap {
    fn patchify(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        mut patches: RowsMut<'_>,
    ) -> Result<()> {
        s.patchify(pixel_values, geometry, indices, patches.reborrow())?;
        self.keep(s, "patchify", patches.tensor, patches.dims)
    }

    fn gather_rows(
        &self,
        s: &mut dyn Stream,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        mut dst: RowsMut<'_>,
    ) -> Result<()> {
        s.gather_rows(table, indices, write, dst.reborrow())?;
        self.keep(s, "gather_rows", dst.tensor, dst.dims)
    }

    fn broadcast_rows(
        &self,
        s: &mut dyn Stream,
        row: &Tensor,
        write: Write,
        mut dst: RowsMut<'_>,
    ) -> Result<()> {
        s.broadcast_rows(row, write, dst.reborrow())?;
        self.keep(s, "broadcast_rows", dst.tensor, dst.dims)
    }

    fn cast(&self, s: &mut dyn Stream, src: Rows<'_>, mut dst: RowsMut<'_>) -> Result<()> {
        s.cast(src, dst.reborrow())?;
        self.keep(s, "cast", dst.tensor, dst.dims)
    }

    fn linear(
        &self,
        s: &mut dyn Stream,
        x: Rows<'_>,
        linear: &Linear,
        epilogue: Epilogue<'_>,
        mut y: RowsMut<'_>,
    ) -> Result<()> {
        s.linear(x, linear, epilogue, y.reborrow())?;
        self.keep(s, "linear", y.tensor, y.dims)
    }

    fn layer_norm(
        &self,
        s: &mut dyn Stream,
        x: Rows<'_>,
        norm: &LayerNorm,
        mut y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        s.layer_norm(x, norm, y.reborrow(), stats)?;
        self.keep(s, "layer_norm", y.tensor, y.dims)
    }

    fn attention(
        &self,
        s: &mut dyn Stream,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        s.attention(qkv, options, context, stats)?;
        self.keep_all(s, "attention", context)?;
        // A decoder never shows its probabilities, but the fixtures have them.
        let [batch, tokens, _] = **qkv.shape() else { unreachable!("attention has checked the shape") };
        let shape = [batch, options.num_heads, tokens, tokens];
        let mut probabilities = s.alloc(shape.into(), qkv.dtype(), Layout::Rows)?;
        s.attention_probabilities(qkv, options, &mut probabilities)?;
        self.keep_all(s, "probabilities", &probabilities)
    }

    fn attention_probabilities(
        &self,
        s: &mut dyn Stream,
        qkv: &Tensor,
        options: &AttentionOptions,
        probabilities: &mut Tensor,
    ) -> Result<()> {
        s.attention_probabilities(qkv, options, probabilities)?;
        self.keep_all(s, "attention_probabilities", probabilities)
    }

    fn mean_tokens(&self, s: &mut dyn Stream, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        s.mean_tokens(x, y)?;
        self.keep_all(s, "mean_tokens", y)
    }

    fn patch_targets(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        s.patch_targets(pixel_values, targets, indices, labels)?;
        self.keep_all(s, "patch_targets", labels)
    }
}

/// A tensor with its name in `expected.safetensors`.
pub type Named = (String, Vec<f32>);

/// Which of the three models made the ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// `VideoMAEModel`
    Bare,
    /// `VideoMAEForVideoClassification`
    Classification,
    /// `VideoMAEForPreTraining`
    PreTraining,
}

struct Trace {
    calls: VecDeque<Call>,
    named: Vec<Named>,
}

impl Trace {
    fn next(&mut self, op: &str) -> std::result::Result<Call, String> {
        match self.calls.pop_front() {
            Some(call) if call.op == op => Ok(call),
            Some(call) => Err(format!("expected {op} after {}, found {}", self.last(), call.op)),
            None => Err(format!("expected {op} after {}, found the end", self.last())),
        }
    }

    fn last(&self) -> &str {
        self.named.last().map_or("the start", |(name, _)| name)
    }

    /// The next op is `op`, and what it wrote is called `name`.
    fn name(&mut self, op: &str, name: impl Into<String>) -> std::result::Result<(), String> {
        let call = self.next(op)?;
        self.named.push((name.into(), call.written()));
        Ok(())
    }

    fn model(&mut self, model: Model, config: &VideoMAEConfig) -> std::result::Result<(), String> {
        // Positions come first: gathered with a mask, as they are without.
        let masked = self.calls.front().is_some_and(|call| call.op == "gather_rows");
        self.next(if masked { "gather_rows" } else { "broadcast_rows" })?;
        self.next("patchify")?;
        self.name("linear", "embeddings.output")?;
        for i in 0..config.num_hidden_layers {
            let layer = format!("encoder.layer.{i}");
            self.layer(&layer)?;
            self.name("attention_probabilities", format!("attentions.{i}"))?;
        }
        if !config.use_mean_pooling {
            self.name("layer_norm", "layernorm")?;
        }
        match model {
            Model::Bare => Ok(()),
            Model::Classification => self.head(config),
            Model::PreTraining => self.decoder(config),
        }
    }

    fn layer(&mut self, layer: &str) -> std::result::Result<(), String> {
        self.name("layer_norm", format!("{layer}.layernorm_before"))?;
        let qkv = self.next("linear")?;
        let width = qkv.dims.width / 3;
        for (part, name) in ["query", "key", "value"].into_iter().enumerate() {
            let rows = qkv.values.chunks_exact(3 * width);
            let values = rows.flat_map(|row| &row[part * width..(part + 1) * width]).copied().collect();
            self.named.push((format!("{layer}.{name}"), values));
        }
        self.name("attention", format!("{layer}.context"))?;
        self.name("probabilities", format!("{layer}.attention_probabilities"))?;
        self.name("linear", format!("{layer}.attention_residual"))?;
        self.name("layer_norm", format!("{layer}.layernorm_after"))?;
        self.name("linear", format!("{layer}.activation"))?;
        self.name("linear", format!("{layer}.output"))
    }

    fn head(&mut self, config: &VideoMAEConfig) -> std::result::Result<(), String> {
        if config.use_mean_pooling {
            self.name("mean_tokens", "pooled")?;
            self.name("layer_norm", "fc_norm")?;
        } else {
            self.name("cast", "pooled")?;
        }
        self.name(if config.num_labels() > 0 { "linear" } else { "cast" }, "logits")
    }

    fn decoder(&mut self, config: &VideoMAEConfig) -> std::result::Result<(), String> {
        for op in ["gather_rows", "linear", "gather_rows"] {
            self.next(op)?;
        }
        // The last of four ops that write into one tensor.
        let joined = self.next("broadcast_rows")?;
        self.named.push(("decoder.layer.0.input".to_owned(), joined.values));
        for i in 0..config.decoder_num_hidden_layers {
            self.layer(&format!("decoder.layer.{i}"))?;
        }
        self.name("layer_norm", "decoder.norm")?;
        self.name("linear", "logits")?;
        self.name("patch_targets", "targets")
    }
}
