//! What a model returns: arrays in host memory.

use kernels_backend::{Shape, Stream, Tensor};

use crate::{Result, VideoInputs, VideoMAEConfig};

/// A row-major array in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// The sizes, slowest dimension first.
    pub shape: Shape,
    /// The elements.
    pub data: Vec<f32>,
}

impl Default for HostTensor {
    fn default() -> Self {
        Self { shape: Shape::from([0]), data: Vec::new() }
    }
}

impl HostTensor {
    /// Copies a tensor, keeping the memory this one has.
    pub(crate) fn read(&mut self, stream: &mut dyn Stream, src: &Tensor) -> Result<()> {
        self.shape = *src.shape();
        self.data.resize(self.shape.elements(), 0.0);
        Ok(stream.read(src, &mut self.data)?)
    }
}

/// What the encoder is asked to show, and where to: empty lists are filled, or refilled in place.
pub(crate) struct Record<'a> {
    /// L + 1 arrays `(B, S, D)`.
    pub hidden_states: Option<&'a mut Vec<HostTensor>>,
    /// L arrays `(B, h, S, S)`.
    pub attentions: Option<&'a mut Vec<HostTensor>>,
}

impl<'a> Record<'a> {
    /// Takes the lists of an output: those asked for get the length they will have, the others become empty.
    pub(crate) fn new(
        config: &VideoMAEConfig,
        inputs: &VideoInputs<'_>,
        hidden_states: &'a mut Vec<HostTensor>,
        attentions: &'a mut Vec<HostTensor>,
    ) -> Self {
        let list = |asked: bool, count: usize, list: &'a mut Vec<HostTensor>| {
            list.resize_with(if asked { count } else { 0 }, HostTensor::default);
            asked.then_some(list)
        };
        let num_layers = config.num_hidden_layers;
        Self {
            hidden_states: list(inputs.output_hidden_states(config), num_layers + 1, hidden_states),
            attentions: list(inputs.output_attentions(config), num_layers, attentions),
        }
    }

    /// Keeps the input of layer `index`, or after the last layer its output.
    pub(crate) fn hidden_state(&mut self, s: &mut dyn Stream, index: usize, x: &Tensor) -> Result<()> {
        self.hidden_states.as_mut().map_or(Ok(()), |list| list[index].read(s, x))
    }
}
