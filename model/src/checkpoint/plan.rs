//! Which tensors a model has: the list that loading, fresh weights and saving share.

use crate::{Result, VideoMAEConfig};

/// The three models of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// `VideoMAEModel`: the encoder.
    Model,
    /// `VideoMAEForPreTraining`: the encoder and the decoder that reconstructs pixels.
    PreTraining,
    /// `VideoMAEForVideoClassification`: the encoder and a linear head.
    VideoClassification,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 3] = [Self::Model, Self::PreTraining, Self::VideoClassification];

    /// The class in transformers, as `architectures` in `config.json` names it.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Model => "VideoMAEModel",
            Self::PreTraining => "VideoMAEForPreTraining",
            Self::VideoClassification => "VideoMAEForVideoClassification",
        }
    }

    /// Every tensor of a model, in the order of a forward pass. Keys have the `videomae.` prefix and the bias
    /// names `query.bias` and `value.bias`, whatever dialect a file is in.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when no such model can be built from `config`.
    pub fn tensors(self, config: &VideoMAEConfig) -> Result<Vec<TensorSpec>> {
        config.validate()?;
        let mut plan = Plan::default();
        plan.encoder(config);
        match self {
            Self::Model => {}
            Self::PreTraining => plan.decoder(config)?,
            Self::VideoClassification => plan.classifier(config),
        }
        Ok(plan.tensors)
    }

    /// How many numbers a model learns.
    ///
    /// # Errors
    /// As [`Architecture::tensors`].
    pub fn num_parameters(self, config: &VideoMAEConfig) -> Result<usize> {
        Ok(self.tensors(config)?.iter().map(|t| t.shape.iter().product::<usize>()).sum())
    }
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its full key.
    pub key: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its value in a model that has learnt nothing.
    pub init: Init,
    /// What it belongs to.
    pub part: Part,
}

/// The value of a fresh tensor (`VideoMAEPreTrainedModel._init_weights`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Init {
    /// Normal, not truncated, with standard deviation `initializer_range`: matrices and the patch embedding.
    Normal,
    /// Zero: biases. Also the mask token, which the reference leaves as it found it in memory.
    Zeros,
    /// One: the weights of norms.
    Ones,
}

/// Whether a fine-tuning may start without a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Patch embedding and encoder layers. Without them there is nothing to fine-tune.
    Encoder,
    /// What follows the encoder's layers: norms, classifier, decoder.
    Head,
}

#[derive(Default)]
struct Plan {
    tensors: Vec<TensorSpec>,
}

impl Plan {
    fn encoder(&mut self, c: &VideoMAEConfig) {
        let d = c.hidden_size;
        let patch = &[d, c.num_channels, c.tubelet_size, c.patch_size.height, c.patch_size.width];
        let projection = "videomae.embeddings.patch_embeddings.projection";
        self.push(format!("{projection}.weight"), patch, Init::Normal, Part::Encoder);
        self.push(format!("{projection}.bias"), &[d], Init::Zeros, Part::Encoder);
        for i in 0..c.num_hidden_layers {
            self.layer(&format!("videomae.encoder.layer.{i}"), c, Part::Encoder);
        }
        if !c.use_mean_pooling {
            self.norm("videomae.layernorm", d);
        }
    }

    fn decoder(&mut self, c: &VideoMAEConfig) -> Result<()> {
        let decoder = c.decoder()?;
        let (d, dd) = (c.hidden_size, decoder.hidden_size);
        self.push("encoder_to_decoder.weight".to_owned(), &[dd, d], Init::Normal, Part::Head);
        self.push("mask_token".to_owned(), &[1, 1, dd], Init::Zeros, Part::Head);
        for i in 0..decoder.num_hidden_layers {
            self.layer(&format!("decoder.decoder_layers.{i}"), &decoder, Part::Head);
        }
        self.norm("decoder.norm", dd);
        self.linear("decoder.head", c.patch_dim(), dd, Part::Head);
        Ok(())
    }

    fn classifier(&mut self, c: &VideoMAEConfig) {
        if c.use_mean_pooling {
            self.norm("fc_norm", c.hidden_size);
        }
        // Without classes the reference's classifier is the identity.
        if c.num_labels() > 0 {
            self.linear("classifier", c.num_labels(), c.hidden_size, Part::Head);
        }
    }

    fn layer(&mut self, scope: &str, c: &VideoMAEConfig, part: Part) {
        let (d, inner) = (c.hidden_size, c.intermediate_size);
        for name in ["query", "key", "value"] {
            let key = format!("{scope}.attention.attention.{name}");
            self.push(format!("{key}.weight"), &[d, d], Init::Normal, part);
            if c.qkv_bias && name != "key" {
                self.push(format!("{key}.bias"), &[d], Init::Zeros, part);
            }
        }
        self.linear(&format!("{scope}.attention.output.dense"), d, d, part);
        self.linear(&format!("{scope}.intermediate.dense"), inner, d, part);
        self.linear(&format!("{scope}.output.dense"), d, inner, part);
        for norm in ["layernorm_before", "layernorm_after"] {
            self.push(format!("{scope}.{norm}.weight"), &[d], Init::Ones, part);
            self.push(format!("{scope}.{norm}.bias"), &[d], Init::Zeros, part);
        }
    }

    fn linear(&mut self, scope: &str, out_features: usize, in_features: usize, part: Part) {
        self.push(format!("{scope}.weight"), &[out_features, in_features], Init::Normal, part);
        self.push(format!("{scope}.bias"), &[out_features], Init::Zeros, part);
    }

    /// A norm after the last layer.
    fn norm(&mut self, scope: &str, width: usize) {
        self.push(format!("{scope}.weight"), &[width], Init::Ones, Part::Head);
        self.push(format!("{scope}.bias"), &[width], Init::Zeros, Part::Head);
    }

    fn push(&mut self, key: String, shape: &[usize], init: Init, part: Part) {
        self.tensors.push(TensorSpec { key, shape: shape.to_vec(), init, part });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sizes_have_the_published_numbers_of_parameters_and_tensors() {
        let presets = [
            (VideoMAEConfig::small(), 22_033_936, 186),
            (VideoMAEConfig::base(), 86_534_800, 186),
            (VideoMAEConfig::large(), 304_270_736, 366),
            (VideoMAEConfig::huge(), 632_119_440, 486),
        ];
        for (config, parameters, tensors) in presets {
            let config = config.with_num_labels(400);
            let architecture = Architecture::VideoClassification;
            assert_eq!(architecture.num_parameters(&config).unwrap(), parameters);
            assert_eq!(architecture.tensors(&config).unwrap().len(), tensors);
        }
        let pretraining =
            [(VideoMAEConfig::base(), 94_210_944, 250), (VideoMAEConfig::large(), 342_996_992, 550)];
        for (config, parameters, tensors) in pretraining {
            let config = VideoMAEConfig { use_mean_pooling: false, ..config };
            assert_eq!(Architecture::PreTraining.num_parameters(&config).unwrap(), parameters);
            assert_eq!(Architecture::PreTraining.tensors(&config).unwrap().len(), tensors);
        }
    }
}
