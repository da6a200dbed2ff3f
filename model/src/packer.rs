//! From the tensors of a checkpoint to what ops take.

use kernels_backend::{Backend, DType, LayerNorm, Linear, LinearBlock, Tensor, View, WeightFormat};

use crate::{
    Result,
    checkpoint::{Scope, WeightData},
};

/// A place in the tree of keys, and the backend that will use what lies there.
#[derive(Clone)]
pub(crate) struct Packer<'l> {
    scope: Scope<'l>,
    backend: &'l dyn Backend,
    format: WeightFormat,
    dtypes: DTypes,
}

/// Element types that suit a precision of linear layers; the backend's choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DTypes {
    /// Of all that floats, but for the next two
    pub activations: DType,
    /// Of what only linear layers read
    pub linear_inputs: DType,
    /// Of queries, keys and values
    pub attention_inputs: DType,
}

/// One block of a fused linear layer.
pub(crate) struct Block<'n> {
    /// The scope that holds `weight` and `bias`.
    pub name: &'n str,
    /// The shape of the weight as stored; all sizes but the first are input features.
    pub shape: &'n [usize],
    pub bias: bool,
}

impl<'l> Packer<'l> {
    /// A packer of linear layers in the precision `format`.
    pub(crate) fn new(scope: Scope<'l>, backend: &'l dyn Backend, format: WeightFormat) -> Self {
        let dtypes = DTypes {
            activations: backend.activations(format),
            linear_inputs: backend.linear_inputs(format),
            attention_inputs: backend.attention_inputs(format),
        };
        Self { scope, backend, format, dtypes }
    }

    /// The precision of linear layers.
    pub(crate) fn format(&self) -> WeightFormat {
        self.format
    }

    /// The element types that suit it.
    pub(crate) fn dtypes(&self) -> DTypes {
        self.dtypes
    }

    /// For what comes before and after the layers: a hundredth of the work, but with pixels and logits where rounding
    /// shows most. Of int8, these stay f32.
    pub(crate) fn ends(&self) -> Self {
        let format = if self.format == WeightFormat::Int8 { WeightFormat::F32 } else { self.format };
        Self { format, ..self.clone() }
    }

    /// One or more steps down the tree.
    pub(crate) fn sub(&self, name: &str) -> Self {
        Self { scope: self.scope.sub(name), ..*self }
    }

    /// One step down, into a list.
    pub(crate) fn index(&self, index: usize) -> Self {
        Self { scope: self.scope.index(index), ..*self }
    }

    /// A linear layer with a bias.
    pub(crate) fn linear(&self, name: &str, out_features: usize, in_features: usize) -> Result<Linear> {
        self.fused(&[Block { name, shape: &[out_features, in_features], bias: true }])
    }

    /// Several linear layers of one input as one, their outputs side by side. Weights go from the source to the
    /// backend as they lie there, whatever their element type.
    pub(crate) fn fused(&self, blocks: &[Block<'_>]) -> Result<Linear> {
        let tensors: Vec<_> = blocks.iter().map(|block| self.block(block)).collect::<Result<_>>()?;
        let views: Vec<_> = tensors
            .iter()
            .map(|(weight, bias)| {
                let weight = weight.view()?;
                let out_features = weight.shape()[0];
                let in_features = weight.shape().elements() / out_features;
                let bias = bias.as_ref().map(WeightData::view).transpose()?;
                Ok(LinearBlock { weight: weight.reshape([out_features, in_features])?, bias })
            })
            .collect::<Result<_>>()?;
        let linear = self.backend.pack_linear(&views, self.format)?;
        tensors.iter().for_each(|(weight, _)| self.scope.release(weight));
        Ok(linear)
    }

    fn block(&self, block: &Block<'_>) -> Result<(WeightData<'l>, Option<WeightData<'l>>)> {
        let scope = self.scope.sub(block.name);
        let weight = scope.tensor("weight", block.shape)?;
        let bias = block.bias.then(|| scope.tensor("bias", &block.shape[..1])).transpose()?;
        Ok((weight, bias))
    }

    /// A layer norm.
    pub(crate) fn layer_norm(&self, name: &str, width: usize, eps: f32) -> Result<LayerNorm> {
        let scope = self.sub(name);
        Ok(LayerNorm {
            weight: scope.vector("weight", &[width])?,
            bias: scope.vector("bias", &[width])?,
            eps,
        })
    }

    /// The elements of a tensor as a row, widened to f32: what is not a matrix is small.
    pub(crate) fn vector(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let data = self.scope.tensor(name, shape)?.to_f32()?;
        Ok(self.backend.upload(&View::f32([data.len()], &data)?)?)
    }
}
