//! One transformer layer, the same in the encoder and in the decoder.

use kernels_backend::{Activation, AttentionOptions, Epilogue, LayerNorm, Layout, Linear, Stream, Tensor};

use crate::{
    Result, VideoMAEConfig,
    packer::{Block, DTypes, Packer},
    session::Slot,
};

/// Pre-norm attention and MLP, each added to its input (`VideoMAELayer`; "An image is worth 16x16 words",
/// equations 2 and 3).
#[derive(Debug)]
pub(crate) struct Layer {
    pub layernorm_before: LayerNorm,
    /// Queries, keys and values as one layer of 3·D outputs. Keys have no bias: it would add the same number to
    /// every score of a query, which the softmax takes away again.
    pub qkv: Linear,
    pub attention: AttentionOptions,
    /// `attention.output.dense`
    pub proj: Linear,
    pub layernorm_after: LayerNorm,
    /// `intermediate.dense`
    pub fc1: Linear,
    pub activation: Activation,
    /// `output.dense`
    pub fc2: Linear,
}

impl Layer {
    /// Takes a layer of `config`'s sizes: the decoder's layers have a config of their own.
    pub(crate) fn load(packer: &Packer<'_>, config: &VideoMAEConfig) -> Result<Self> {
        let VideoMAEConfig { hidden_size: d, intermediate_size: inner, num_attention_heads, .. } = *config;
        let eps = config.layer_norm_eps as f32;
        let square = [d, d];
        let block = |name, bias| Block { name, shape: &square, bias };
        Ok(Self {
            layernorm_before: packer.layer_norm("layernorm_before", d, eps)?,
            qkv: packer.sub("attention.attention").fused(&[
                block("query", config.qkv_bias),
                block("key", false),
                block("value", config.qkv_bias),
            ])?,
            attention: AttentionOptions {
                num_heads: num_attention_heads,
                scale: (config.head_dim() as f64).powf(-0.5) as f32,
                dropout: None,
                precision: packer.format(),
            },
            proj: packer.linear("attention.output.dense", d, d)?,
            layernorm_after: packer.layer_norm("layernorm_after", d, eps)?,
            fc1: packer.linear("intermediate.dense", inner, d)?,
            activation: config.hidden_act.activation(),
            fc2: packer.linear("output.dense", d, inner)?,
        })
    }

    /// Seven ops, and `x (B, S, D)` becomes the layer's output in place. Dropout is training's business.
    pub(crate) fn forward(
        &self,
        s: &mut dyn Stream,
        x: &mut Tensor,
        scratch: &mut LayerScratch<'_>,
    ) -> Result<()> {
        let LayerScratch { normed, qkv, context, intermediate } = scratch;

        // x += proj(attention(qkv(layernorm_before(x))))
        s.layer_norm((&*x).into(), &self.layernorm_before, (&mut **normed).into(), None)?; // (B, S, D)
        s.linear((&**normed).into(), &self.qkv, Epilogue::none(), (&mut **qkv).into())?; // (B, S, 3·D)
        s.attention(qkv, &self.attention, context, None)?; // (B, S, D)
        s.linear((&**context).into(), &self.proj, Epilogue::accumulate(), x.into())?; // (B, S, D)

        // x += fc2(activation(fc1(layernorm_after(x))))
        let activation = Epilogue::activation(self.activation);
        s.layer_norm((&*x).into(), &self.layernorm_after, (&mut **normed).into(), None)?; // (B, S, D)
        s.linear((&**normed).into(), &self.fc1, activation, (&mut **intermediate).into())?; // (B, S, mlp)
        s.linear((&**intermediate).into(), &self.fc2, Epilogue::accumulate(), x.into())?; // (B, S, D)
        Ok(())
    }
}

/// Slots of what a layer computes on the way, shared by all layers of a stack.
#[derive(Default)]
pub(crate) struct LayerSlots {
    /// `(B, S, D)`
    normed: Slot,
    /// `(B, S, 3·D)`, as attention likes it
    qkv: Slot,
    /// `(B, S, D)`
    context: Slot,
    /// `(B, S, mlp)`
    intermediate: Slot,
}

/// [`LayerSlots`], ready to be written.
pub(crate) struct LayerScratch<'a> {
    pub normed: &'a mut Tensor,
    pub qkv: &'a mut Tensor,
    pub context: &'a mut Tensor,
    pub intermediate: &'a mut Tensor,
}

impl LayerSlots {
    /// In the order in which they are prepared.
    pub(crate) fn slots(&self) -> [&Slot; 4] {
        let Self { normed, qkv, context, intermediate } = self;
        [normed, qkv, context, intermediate]
    }

    pub(crate) fn prepare(
        &mut self,
        stream: &mut dyn Stream,
        config: &VideoMAEConfig,
        [batch, tokens]: [usize; 2],
        dtypes: DTypes,
    ) -> Result<LayerScratch<'_>> {
        let DTypes { linear_inputs, attention_inputs, .. } = dtypes;
        let VideoMAEConfig { hidden_size, num_attention_heads, intermediate_size, .. } = *config;
        let heads = Layout::Heads { num_heads: num_attention_heads };
        Ok(LayerScratch {
            normed: self.normed.rows(stream, [batch, tokens, hidden_size], linear_inputs)?,
            qkv: self.qkv.prepare(stream, [batch, tokens, 3 * hidden_size], attention_inputs, heads)?,
            context: self.context.rows(stream, [batch, tokens, hidden_size], linear_inputs)?,
            intermediate: self.intermediate.rows(
                stream,
                [batch, tokens, intermediate_size],
                linear_inputs,
            )?,
        })
    }
}
