//! One transformer layer, forward for training and backward.

use kernels_backend::{
    AttentionOptions, BackwardStream, DType, Dropout, Epilogue, Layout, Linear, Rows, Tensor, Write,
};

use super::gradients::{LayerNormGradient, LinearGradient, Visit};
use crate::{Result, VideoMAEConfig, layer::Layer};

/// What the forward keeps for the backward. B clips of S tokens.
pub(super) struct SavedLayer {
    /// `(B, S, D)`, what the layer is given
    pub x: Tensor,
    /// `(B, S, D)`
    normed_before: Tensor,
    /// `(B·S, 2)`
    stats_before: Tensor,
    /// `(B, S, 3·D)`
    qkv: Tensor,
    /// `(B, h, S)`
    attention_stats: Tensor,
    /// `(B, S, D)`
    context: Tensor,
    /// `(B, S, D)`, the hidden state between attention and MLP
    middle: Tensor,
    /// `(B, S, D)`
    normed_after: Tensor,
    /// `(B·S, 2)`
    stats_after: Tensor,
    /// `(B, S, mlp)`
    pre_activation: Tensor,
    /// `(B, S, mlp)`
    intermediate: Tensor,
}

/// Gradients by what a layer computes on the way; all layers share them.
pub(super) struct LayerGradientScratch {
    /// `(B, S, D)`
    branch: Tensor,
    /// `(B, S, D)`
    normed: Tensor,
    /// `(B, S, D)`
    context: Tensor,
    /// `(B, S, 3·D)`
    qkv: Tensor,
    /// `(B, S, mlp)`
    intermediate: Tensor,
}

/// The gradients of a layer's parameters.
pub(super) struct LayerGradient {
    layernorm_before: LayerNormGradient,
    qkv: LinearGradient,
    proj: LinearGradient,
    layernorm_after: LayerNormGradient,
    fc1: LinearGradient,
    fc2: LinearGradient,
}

/// The dropouts of one layer in one step; `None` where the probability is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LayerDropouts {
    /// On attention probabilities
    pub attention: Option<Dropout>,
    /// After `proj`
    pub proj: Option<Dropout>,
    /// After `fc2`
    pub fc2: Option<Dropout>,
}

impl Layer {
    /// `y (B, S, D)` from `saved.x`, keeping what [`Layer::backward`] needs.
    pub(super) fn forward_training(
        &self,
        s: &mut dyn BackwardStream,
        saved: &mut SavedLayer,
        dropouts: LayerDropouts,
        y: &mut Tensor,
    ) -> Result<()> {
        let a = saved;
        // middle = x + dropout(proj(attention(qkv(layernorm_before(x)))))
        let options = self.attention_options(dropouts);
        let stats = Some(&mut a.stats_before);
        s.layer_norm((&a.x).into(), &self.layernorm_before, (&mut a.normed_before).into(), stats)?;
        s.linear((&a.normed_before).into(), &self.qkv, Epilogue::none(), (&mut a.qkv).into())?;
        s.attention(&a.qkv, &options, &mut a.context, Some(&mut a.attention_stats))?;
        residual(s, &a.context, &self.proj, dropouts.proj, &a.x, &mut a.middle)?;

        // y = middle + dropout(fc2(activation(fc1(layernorm_after(middle)))))
        let stats = Some(&mut a.stats_after);
        s.layer_norm((&a.middle).into(), &self.layernorm_after, (&mut a.normed_after).into(), stats)?;
        let activation =
            Epilogue { pre_activation: Some(&mut a.pre_activation), ..Epilogue::activation(self.activation) };
        s.linear((&a.normed_after).into(), &self.fc1, activation, (&mut a.intermediate).into())?;
        residual(s, &a.intermediate, &self.fc2, dropouts.fc2, &a.middle, y)
    }

    /// Turns `d`, the gradient by the layer's output, into that by its input.
    pub(super) fn backward(
        &self,
        s: &mut dyn BackwardStream,
        saved: &SavedLayer,
        dropouts: LayerDropouts,
        d: &mut Tensor,
        scratch: &mut LayerGradientScratch,
        gradients: &mut LayerGradient,
    ) -> Result<()> {
        let (a, g) = (saved, gradients);
        let LayerGradientScratch { branch, normed, context, qkv, intermediate } = scratch;

        // y = middle + dropout(fc2(activation(fc1(layernorm_after(middle)))))
        branch_gradient(s, d, dropouts.fc2, branch)?;
        let sink = g.fc2.sink((&mut *intermediate).into());
        s.linear_backward((&a.intermediate).into(), &self.fc2, (&*branch).into(), sink)?;
        s.activation_backward(self.activation, &a.pre_activation, intermediate)?;
        let sink = g.fc1.sink((&mut *normed).into());
        s.linear_backward((&a.normed_after).into(), &self.fc1, (&*intermediate).into(), sink)?;
        let sink = g.layernorm_after.sink((&mut *d).into(), Write::Accumulate);
        let (middle, dy) = (Rows::from(&a.middle), Rows::from(&*normed));
        s.layer_norm_backward(middle, &self.layernorm_after, &a.stats_after, dy, sink)?;

        // middle = x + dropout(proj(attention(qkv(layernorm_before(x)))))
        branch_gradient(s, d, dropouts.proj, branch)?;
        let sink = g.proj.sink((&mut *context).into());
        s.linear_backward((&a.context).into(), &self.proj, (&*branch).into(), sink)?;
        let options = self.attention_options(dropouts);
        s.attention_backward(&a.qkv, &options, &a.attention_stats, &a.context, context, qkv)?;
        let sink = g.qkv.sink((&mut *normed).into());
        s.linear_backward((&a.normed_before).into(), &self.qkv, (&*qkv).into(), sink)?;
        let sink = g.layernorm_before.sink((&mut *d).into(), Write::Accumulate);
        let (x, dy) = (Rows::from(&a.x), Rows::from(&*normed));
        s.layer_norm_backward(x, &self.layernorm_before, &a.stats_before, dy, sink)?;
        Ok(())
    }

    fn attention_options(&self, dropouts: LayerDropouts) -> AttentionOptions {
        AttentionOptions { dropout: dropouts.attention, ..self.attention }
    }
}

/// `y = x + dropout(linear(branch))`
fn residual(
    s: &mut dyn BackwardStream,
    branch: &Tensor,
    linear: &Linear,
    dropout: Option<Dropout>,
    x: &Tensor,
    y: &mut Tensor,
) -> Result<()> {
    s.linear(branch.into(), linear, Epilogue::none(), (&mut *y).into())?;
    if let Some(dropout) = dropout {
        s.dropout(y, dropout)?;
    }
    Ok(s.add(x.into(), y.into())?)
}

/// The gradient by what a dropout was applied to before it joined the residual stream.
fn branch_gradient(
    s: &mut dyn BackwardStream,
    d: &Tensor,
    dropout: Option<Dropout>,
    branch: &mut Tensor,
) -> Result<()> {
    s.cast(d.into(), (&mut *branch).into())?;
    match dropout {
        Some(dropout) => Ok(s.dropout(branch, dropout)?),
        None => Ok(()),
    }
}

impl SavedLayer {
    pub(super) fn new(
        s: &mut dyn BackwardStream,
        config: &VideoMAEConfig,
        batch: usize,
        tokens: usize,
    ) -> Result<Self> {
        let VideoMAEConfig { hidden_size, intermediate_size, num_attention_heads: num_heads, .. } = *config;
        let mut rows = |width| s.alloc([batch, tokens, width].into(), DType::F32, Layout::Rows);
        let x = rows(hidden_size)?;
        let (normed_before, context) = (rows(hidden_size)?, rows(hidden_size)?);
        let (middle, normed_after) = (rows(hidden_size)?, rows(hidden_size)?);
        let (pre_activation, intermediate) = (rows(intermediate_size)?, rows(intermediate_size)?);
        let mut stats = || s.alloc([batch * tokens, 2].into(), DType::F32, Layout::Rows);
        let (stats_before, stats_after) = (stats()?, stats()?);
        let qkv_shape = [batch, tokens, 3 * hidden_size];
        Ok(Self {
            x,
            normed_before,
            stats_before,
            qkv: s.alloc(qkv_shape.into(), DType::F32, Layout::Heads { num_heads })?,
            attention_stats: s.alloc([batch, num_heads, tokens].into(), DType::F32, Layout::Rows)?,
            context,
            middle,
            normed_after,
            stats_after,
            pre_activation,
            intermediate,
        })
    }
}

impl LayerGradientScratch {
    pub(super) fn new(
        s: &mut dyn BackwardStream,
        config: &VideoMAEConfig,
        batch: usize,
        tokens: usize,
    ) -> Result<Self> {
        let VideoMAEConfig { hidden_size, intermediate_size, .. } = *config;
        let mut rows = |width| s.alloc([batch, tokens, width].into(), DType::F32, Layout::Rows);
        Ok(Self {
            branch: rows(hidden_size)?,
            normed: rows(hidden_size)?,
            context: rows(hidden_size)?,
            qkv: rows(3 * hidden_size)?,
            intermediate: rows(intermediate_size)?,
        })
    }
}

impl LayerGradient {
    pub(super) fn new(s: &mut dyn BackwardStream, layer: &Layer, qkv_bias: bool) -> Result<Self> {
        Ok(Self {
            layernorm_before: LayerNormGradient::new(s, &layer.layernorm_before)?,
            qkv: LinearGradient::new(s, &layer.qkv, qkv_bias)?,
            proj: LinearGradient::new(s, &layer.proj, true)?,
            layernorm_after: LayerNormGradient::new(s, &layer.layernorm_after)?,
            fc1: LinearGradient::new(s, &layer.fc1, true)?,
            fc2: LinearGradient::new(s, &layer.fc2, true)?,
        })
    }

    pub(super) fn visit(&mut self, scope: &str, visit: &mut Visit<'_>) -> Result<()> {
        self.layernorm_before.visit(&format!("{scope}.layernorm_before"), visit)?;
        self.qkv.visit(&format!("{scope}.attention.attention.qkv"), visit)?;
        self.proj.visit(&format!("{scope}.attention.output.dense"), visit)?;
        self.layernorm_after.visit(&format!("{scope}.layernorm_after"), visit)?;
        self.fc1.visit(&format!("{scope}.intermediate.dense"), visit)?;
        self.fc2.visit(&format!("{scope}.output.dense"), visit)
    }
}
