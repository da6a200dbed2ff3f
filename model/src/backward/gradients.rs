//! Gradients: one tensor beside every parameter, and their way to the host.

use std::collections::BTreeMap;

use kernels_backend::{
    BackwardStream, DType, LayerNorm, LayerNormGradients, Layout, Linear, LinearGradients, RowsMut, Shape,
    Tensor, Write,
};

use crate::{Error, Result, checkpoint::TensorSpec, outputs::HostTensor};

/// The gradients of one or more batches in host memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gradients {
    /// By `pixel_values (B, T, C, H, W)`, of the last batch alone.
    pub pixel_values: HostTensor,
    parameters: BTreeMap<String, HostTensor>,
}

impl Gradients {
    /// The gradient by the parameter of this checkpoint key, in the parameter's shape, summed over the batches.
    pub fn get(&self, key: &str) -> Option<&HostTensor> {
        self.parameters.get(key)
    }

    /// Every parameter's key and gradient, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostTensor)> {
        self.parameters.iter().map(|(key, gradient)| (key.as_str(), gradient))
    }
}

/// Called with the key of each parameter and its gradient.
pub(super) type Visit<'v> = dyn FnMut(String, &mut Tensor) -> Result<()> + 'v;

/// The gradients of a linear layer.
pub(super) struct LinearGradient {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl LinearGradient {
    pub(super) fn new(s: &mut dyn BackwardStream, linear: &Linear, bias: bool) -> Result<Self> {
        let (inputs, outputs) = (linear.in_features(), linear.out_features());
        let bias = if bias { Some(zeros(s, [outputs])?) } else { None };
        Ok(Self { weight: zeros(s, [outputs, inputs])?, bias })
    }

    /// Where the layer's backward accumulates; `x` takes the gradient of its input.
    pub(super) fn sink<'a>(&'a mut self, x: RowsMut<'a>) -> LinearGradients<'a> {
        LinearGradients { x: Some((x, Write::Replace)), weight: &mut self.weight, bias: self.bias.as_mut() }
    }

    pub(super) fn visit(&mut self, scope: &str, visit: &mut Visit<'_>) -> Result<()> {
        visit(format!("{scope}.weight"), &mut self.weight)?;
        self.bias.as_mut().map_or(Ok(()), |bias| visit(format!("{scope}.bias"), bias))
    }
}

/// The gradients of a layer norm.
pub(super) struct LayerNormGradient {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNormGradient {
    pub(super) fn new(s: &mut dyn BackwardStream, norm: &LayerNorm) -> Result<Self> {
        let shape = *norm.weight.shape();
        Ok(Self { weight: zeros(s, shape)?, bias: zeros(s, shape)? })
    }

    /// Where the norm's backward accumulates; the gradient of its input replaces `x`, or joins it.
    pub(super) fn sink<'a>(&'a mut self, x: RowsMut<'a>, write: Write) -> LayerNormGradients<'a> {
        LayerNormGradients { x, write, weight: &mut self.weight, bias: &mut self.bias }
    }

    pub(super) fn visit(&mut self, scope: &str, visit: &mut Visit<'_>) -> Result<()> {
        visit(format!("{scope}.weight"), &mut self.weight)?;
        visit(format!("{scope}.bias"), &mut self.bias)
    }
}

/// A tensor of zeros.
pub(super) fn zeros(s: &mut dyn BackwardStream, shape: impl Into<Shape>) -> Result<Tensor> {
    let mut tensor = s.alloc(shape.into(), DType::F32, Layout::Rows)?;
    s.zero(&mut tensor)?;
    Ok(tensor)
}

/// Reads gradients in the order and shapes of a model's parameters.
pub(super) struct Reader {
    found: BTreeMap<String, Vec<f32>>,
}

/// The scope of the fused layer, and those of its parts.
const FUSED: (&str, [&str; 3]) = (".qkv.", [".query.", ".key.", ".value."]);

impl Reader {
    pub(super) fn new() -> Self {
        Self { found: BTreeMap::new() }
    }

    /// Takes one gradient; that of queries, keys and values comes apart into three.
    pub(super) fn take(&mut self, s: &mut dyn BackwardStream, key: &str, gradient: &Tensor) -> Result<()> {
        let mut data = vec![0.0; gradient.shape().elements()];
        s.read(gradient, &mut data)?;
        let (fused, parts) = FUSED;
        if !key.contains(fused) {
            self.found.insert(key.to_owned(), data);
            return Ok(());
        }
        for (part, data) in parts.iter().zip(data.chunks_exact(data.len() / parts.len())) {
            self.found.insert(key.replace(fused, part), data.to_vec());
        }
        Ok(())
    }

    /// The gradients of exactly these parameters. That of the bias of keys, which is none, is left behind.
    pub(super) fn finish(mut self, parameters: &[TensorSpec], pixel_values: HostTensor) -> Result<Gradients> {
        let mut gradients = Gradients { pixel_values, ..Gradients::default() };
        for TensorSpec { key, shape, .. } in parameters {
            let shape = Shape::new(shape);
            match self.found.remove(key).filter(|data| data.len() == shape.elements()) {
                Some(data) => gradients.parameters.insert(key.clone(), HostTensor { shape, data }),
                None => {
                    return Err(Error::Tensor {
                        file: "gradients".to_owned(),
                        tensor: key.clone(),
                        expected: format!("a gradient of shape {shape}"),
                        found: "that no layer computed one".to_owned(),
                    });
                }
            };
        }
        Ok(gradients)
    }
}
