//! A stack of layers.

use kernels_backend::{Stream, Tensor};

use crate::{
    Result, VideoMAEConfig,
    layer::{Layer, LayerScratch},
    outputs::Record,
    packer::Packer,
};

/// The layers of the encoder, which can also show what happens between them (`VideoMAEEncoder`).
#[derive(Debug)]
pub(crate) struct Encoder {
    pub layers: Vec<Layer>,
}

impl Encoder {
    /// Takes all layers.
    pub(crate) fn load(packer: &Packer<'_>, config: &VideoMAEConfig) -> Result<Self> {
        let layers =
            (0..config.num_hidden_layers).map(|i| Layer::load(&packer.sub("layer").index(i), config));
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// Runs all layers over `x (B, S, D)` in place. `probabilities (B, h, S, S)` is there when `record` asks for
    /// attentions.
    pub(crate) fn forward(
        &self,
        s: &mut dyn Stream,
        x: &mut Tensor,
        scratch: &mut LayerScratch<'_>,
        mut probabilities: Option<&mut Tensor>,
        record: &mut Record<'_>,
    ) -> Result<()> {
        for (i, layer) in self.layers.iter().enumerate() {
            record.hidden_state(s, i, x)?;
            layer.forward(s, x, scratch)?;
            if let (Some(probabilities), Some(list)) = (probabilities.as_deref_mut(), &mut record.attentions)
            {
                // The layer's q and k still lie where it wrote them.
                s.attention_probabilities(scratch.qkv, &layer.attention, probabilities)?;
                list[i].read(s, probabilities)?;
            }
        }
        record.hidden_state(s, self.layers.len(), x)
    }
}
