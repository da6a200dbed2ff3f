//! All layers of the encoder or of the decoder.

use kernels_backend::{BackwardStream, DType, Dropout, Layout, Tensor};

use super::{
    gradients::Visit,
    layer::{LayerDropouts, LayerGradient, LayerGradientScratch, SavedLayer},
};
use crate::{Result, VideoMAEConfig, layer::Layer};

/// What a stack of layers keeps from its forward, and its gradients.
pub(super) struct Stack {
    layers: Vec<SavedLayer>,
    /// `(B, S, D)`, what the last layer returns
    pub output: Tensor,
    /// `(B, S, D)`: given as the gradient by `output`, backward turns it into that by the input
    pub d: Tensor,
    scratch: LayerGradientScratch,
}

/// The dropouts of a stack in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StackDropouts {
    hidden: f32,
    attention: f32,
    seed: u64,
}

impl StackDropouts {
    /// `seed` must differ from step to step and from stack to stack.
    pub(super) fn new(config: &VideoMAEConfig, seed: u64) -> Self {
        Self {
            hidden: config.hidden_dropout_prob as f32,
            attention: config.attention_probs_dropout_prob as f32,
            seed,
        }
    }

    fn layer(self, index: usize) -> LayerDropouts {
        /// The dropouts of a layer.
        const PLACES: u64 = 3;
        let dropout = |place: u64, probability: f32| {
            let seed = mix(self.seed.wrapping_add(index as u64 * PLACES + place));
            (probability > 0.0).then_some(Dropout { probability, seed })
        };
        LayerDropouts {
            attention: dropout(0, self.attention),
            proj: dropout(1, self.hidden),
            fc2: dropout(2, self.hidden),
        }
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014): neighbouring numbers become unrelated seeds.
pub(super) fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Stack {
    /// For `config.num_hidden_layers` layers over B clips of S tokens.
    pub(super) fn new(
        s: &mut dyn BackwardStream,
        config: &VideoMAEConfig,
        batch: usize,
        tokens: usize,
    ) -> Result<Self> {
        let shape = [batch, tokens, config.hidden_size].into();
        let layer = |_| SavedLayer::new(s, config, batch, tokens);
        Ok(Self {
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            output: s.alloc(shape, DType::F32, Layout::Rows)?,
            d: s.alloc(shape, DType::F32, Layout::Rows)?,
            scratch: LayerGradientScratch::new(s, config, batch, tokens)?,
        })
    }

    /// `(B, S, D)`, what the first layer is given.
    pub(super) fn input(&mut self) -> &mut Tensor {
        self.layers.first_mut().map_or(&mut self.output, |layer| &mut layer.x)
    }

    /// From `input` to `output`.
    pub(super) fn forward(
        &mut self,
        s: &mut dyn BackwardStream,
        layers: &[Layer],
        dropouts: StackDropouts,
    ) -> Result<()> {
        for (i, layer) in layers.iter().enumerate() {
            let (done, rest) = self.layers.split_at_mut(i + 1);
            let y = rest.first_mut().map_or(&mut self.output, |next| &mut next.x);
            layer.forward_training(s, &mut done[i], dropouts.layer(i), y)?;
        }
        Ok(())
    }

    /// Turns `d` from the gradient by `output` into that by `input`.
    pub(super) fn backward(
        &mut self,
        s: &mut dyn BackwardStream,
        layers: &[Layer],
        dropouts: StackDropouts,
        gradients: &mut StackGradient,
    ) -> Result<()> {
        let Self { layers: saved, d, scratch, .. } = self;
        for (i, layer) in layers.iter().enumerate().rev() {
            layer.backward(s, &saved[i], dropouts.layer(i), d, scratch, &mut gradients.layers[i])?;
        }
        Ok(())
    }
}

/// The gradients of all layers' parameters.
pub(super) struct StackGradient {
    layers: Vec<LayerGradient>,
}

impl StackGradient {
    pub(super) fn new(s: &mut dyn BackwardStream, layers: &[Layer], qkv_bias: bool) -> Result<Self> {
        let layers = layers.iter().map(|layer| LayerGradient::new(s, layer, qkv_bias));
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// `scope` is the key of the list.
    pub(super) fn visit(&mut self, scope: &str, visit: &mut Visit<'_>) -> Result<()> {
        self.layers
            .iter_mut()
            .enumerate()
            .try_for_each(|(i, layer)| layer.visit(&format!("{scope}.{i}"), visit))
    }
}
