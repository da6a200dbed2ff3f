//! A configuration from the shapes of tensors, for checkpoints that come without one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Size, VideoMAEConfig};
use crate::{Error, Result, checkpoint::Architecture};

/// The epsilon of every norm in the original authors' code. Transformers has other ones by default.
const ORIGINAL_EPS: f64 = 1e-6;

/// Names and shapes of a checkpoint's tensors, under canonical keys.
pub(crate) type Shapes = BTreeMap<String, Vec<usize>>;

/// What the shapes of weights do not tell, given by whoever knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigOverrides {
    /// Attention heads of the encoder.
    pub num_attention_heads: Option<usize>,
    /// Attention heads of the decoder.
    pub decoder_num_attention_heads: Option<usize>,
    /// Height and width of a frame.
    pub image_size: Option<Size>,
    /// Frames of a clip.
    pub num_frames: Option<usize>,
}

impl ConfigOverrides {
    /// Reads what the configuration of a VideoMAE V2 on the hub says: everything is under `model_config` there, in
    /// the names of the original code. `None` for a configuration of another kind.
    ///
    /// # Errors
    /// [`Error::Json`]; [`Error::Config`] for attention of another kind (`cos_attn`), which transformers lacks.
    pub fn from_v2_json(json: &str) -> Result<Option<Self>> {
        let value: Value = serde_json::from_str(json)
            .map_err(|reason| Error::Json { file: VideoMAEConfig::FILE_NAME.to_owned(), reason })?;
        let Some(fields) = value.get("model_config") else { return Ok(None) };
        if fields.get("cos_attn").and_then(Value::as_bool) == Some(true) {
            return Err(Error::Config {
                file: VideoMAEConfig::FILE_NAME.to_owned(),
                field: "cos_attn".to_owned(),
                expected: "false, since transformers has no cosine attention".to_owned(),
                found: "true".to_owned(),
            });
        }
        let count =
            |name: &str| fields.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        Ok(Some(Self {
            num_attention_heads: count("num_heads"),
            decoder_num_attention_heads: count("decoder_num_heads"),
            image_size: count("img_size").map(Size::square),
            num_frames: count("all_frames").or_else(|| count("num_frames")),
        }))
    }

    /// These, and where they say nothing, the others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            num_attention_heads: self.num_attention_heads.or(others.num_attention_heads),
            decoder_num_attention_heads: self
                .decoder_num_attention_heads
                .or(others.decoder_num_attention_heads),
            image_size: self.image_size.or(others.image_size),
            num_frames: self.num_frames.or(others.num_frames),
        }
    }

    /// Changes a configuration.
    pub fn apply(&self, config: &mut VideoMAEConfig) {
        let Self { num_attention_heads, decoder_num_attention_heads, image_size, num_frames } = *self;
        config.num_attention_heads = num_attention_heads.unwrap_or(config.num_attention_heads);
        config.decoder_num_attention_heads =
            decoder_num_attention_heads.unwrap_or(config.decoder_num_attention_heads);
        config.image_size = image_size.unwrap_or(config.image_size);
        config.num_frames = num_frames.unwrap_or(config.num_frames);
    }
}

/// What a set of tensors is part of: a classifier or a pooled encoder, a pre-training model, or an encoder.
pub(crate) fn architecture(shapes: &Shapes) -> Architecture {
    // A decoder that lacks its head, as in the authors' file of ViT-H, reconstructs nothing.
    let has = |key: &str| shapes.contains_key(key);
    if has("fc_norm.weight") || has("classifier.weight") {
        Architecture::VideoClassification
    } else if has("decoder.head.weight") && has("encoder_to_decoder.weight") {
        Architecture::PreTraining
    } else {
        Architecture::Model
    }
}

/// The configuration of the tensors, and what had to be assumed, in words.
///
/// `original` says that the file is in the layout of the authors, whose norms have another epsilon.
pub(crate) fn infer(
    file: &str,
    shapes: &Shapes,
    original: bool,
    overrides: &ConfigOverrides,
) -> Result<(VideoMAEConfig, Vec<String>)> {
    let read = Reader { file, shapes };
    let projection = "videomae.embeddings.patch_embeddings.projection.weight";
    let [hidden_size, num_channels, tubelet_size, height, width] = read.shape(projection)?;
    let layer = "videomae.encoder.layer";
    let [intermediate_size, _] = read.shape(&format!("{layer}.0.intermediate.dense.weight"))?;
    let mut assumed = Vec::new();
    let mut heads = |side, given, width| read.heads(side, given, width, &mut assumed);
    let mut config = VideoMAEConfig {
        patch_size: Size { height, width },
        num_channels,
        tubelet_size,
        hidden_size,
        intermediate_size,
        num_attention_heads: heads("", overrides.num_attention_heads, hidden_size)?,
        num_hidden_layers: read.layers(layer),
        qkv_bias: shapes.contains_key(&format!("{layer}.0.attention.attention.query.bias")),
        use_mean_pooling: !shapes.contains_key("videomae.layernorm.weight")
            || shapes.contains_key("fc_norm.weight"),
        ..VideoMAEConfig::default()
    };
    if original {
        config.layer_norm_eps = ORIGINAL_EPS;
    }
    match architecture(shapes) {
        Architecture::PreTraining => {
            let layer = "decoder.decoder_layers";
            let [width, _] = read.shape("encoder_to_decoder.weight")?;
            config.decoder_hidden_size = width;
            config.decoder_num_attention_heads =
                heads("decoder_", overrides.decoder_num_attention_heads, width)?;
            config.decoder_num_hidden_layers = read.layers(layer);
            [config.decoder_intermediate_size, _] =
                read.shape(&format!("{layer}.0.intermediate.dense.weight"))?;
        }
        Architecture::VideoClassification => {
            let count = shapes.get("classifier.weight").and_then(|shape| shape.first()).copied();
            config = config.with_num_labels(count.unwrap_or(0));
        }
        Architecture::Model => {}
    }
    for (field, given, default) in [
        ("image_size", overrides.image_size.is_some(), config.image_size.to_string()),
        ("num_frames", overrides.num_frames.is_some(), config.num_frames.to_string()),
    ] {
        if !given {
            assumed.push(format!("{field} {default}, as in every published checkpoint"));
        }
    }
    overrides.apply(&mut config);
    config.validate()?;
    Ok((config, assumed))
}

struct Reader<'a> {
    file: &'a str,
    shapes: &'a Shapes,
}

impl Reader<'_> {
    fn shape<const N: usize>(&self, key: &str) -> Result<[usize; N]> {
        let found = self.shapes.get(key);
        let array = found.and_then(|shape| <[usize; N]>::try_from(shape.as_slice()).ok());
        array.ok_or_else(|| Error::Tensor {
            file: self.file.to_owned(),
            tensor: key.to_owned(),
            expected: format!("{N} dimensions, to tell the sizes of the model by"),
            found: found.map_or("no such tensor".to_owned(), |shape| format!("shape {shape:?}")),
        })
    }

    /// One more than the largest number of a layer; a gap will be reported as missing tensors.
    fn layers(&self, scope: &str) -> usize {
        let number = |key: &str| key.strip_prefix(scope)?.strip_prefix('.')?.split_once('.')?.0.parse().ok();
        let last: Option<usize> = self.shapes.keys().filter_map(|key| number(key)).max();
        last.map_or(0, |last| last.saturating_add(1))
    }

    fn heads(
        &self,
        side: &str,
        given: Option<usize>,
        width: usize,
        assumed: &mut Vec<String>,
    ) -> Result<usize> {
        if let Some(given) = given {
            return Ok(given);
        }
        let Some(heads) = original_heads(width) else {
            return Err(Error::Config {
                file: self.file.to_owned(),
                field: format!("{side}num_attention_heads"),
                expected: "the number of heads to be given, since shapes do not tell it".to_owned(),
                found: format!("a width of {width}, which no published model has"),
            });
        };
        assumed.push(format!("{side}num_attention_heads {heads}, the authors' number for width {width}"));
        Ok(heads)
    }
}

/// The number of heads in the authors' models, by width: heads of 64 but for ViT-H and its decoder (80), ViT-g (88)
/// and ViT-G (104).
///
/// ViT-S has 6 here. The small checkpoints of transformers say 16 in their `config.json`, and whoever wants what
/// they compute has to give it.
fn original_heads(width: usize) -> Option<usize> {
    Some(match width {
        192 => 3,
        384 => 6,
        512 | 640 => 8,
        768 => 12,
        1024 | 1280 | 1408 | 1664 => 16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(config: &VideoMAEConfig, architecture: Architecture) -> Shapes {
        architecture.tensors(config).unwrap().into_iter().map(|spec| (spec.key, spec.shape)).collect()
    }

    #[test]
    fn published_models_are_known_by_their_shapes() {
        let small = VideoMAEConfig { num_attention_heads: 6, ..VideoMAEConfig::small() };
        for config in [small, VideoMAEConfig::base(), VideoMAEConfig::large(), VideoMAEConfig::huge()] {
            let pretraining = VideoMAEConfig { use_mean_pooling: false, ..config.clone() };
            let found = shapes(&pretraining, Architecture::PreTraining);
            assert_eq!(architecture(&found), Architecture::PreTraining);
            let (inferred, assumed) = infer("f", &found, false, &ConfigOverrides::default()).unwrap();
            assert_eq!(inferred, pretraining);
            assert_eq!(assumed.len(), 4, "{assumed:?}");
        }
        // ViT-g of V2: patches of 14 pixels, heads of 88, an MLP 48/11 as wide.
        let giant = VideoMAEConfig {
            patch_size: Size::square(14),
            hidden_size: 1408,
            num_hidden_layers: 40,
            num_attention_heads: 16,
            intermediate_size: 1408 * 48 / 11,
            layer_norm_eps: 1e-6,
            ..VideoMAEConfig::default()
        }
        .with_num_labels(710);
        let found = shapes(&giant, Architecture::VideoClassification);
        let (inferred, _) = infer("f", &found, true, &ConfigOverrides::default()).unwrap();
        assert_eq!(inferred.head_dim(), 88);
        assert_eq!(inferred, giant);
    }

    #[test]
    fn heads_of_an_unknown_width_have_to_be_given() {
        let config = VideoMAEConfig { hidden_size: 96, num_attention_heads: 4, ..VideoMAEConfig::base() };
        let found = shapes(&config, Architecture::Model);
        let message = infer("f", &found, false, &ConfigOverrides::default()).unwrap_err().to_string();
        assert!(
            message.contains("f: num_attention_heads: expected the number of heads to be given"),
            "{message}"
        );
        let overrides = ConfigOverrides { num_attention_heads: Some(4), ..ConfigOverrides::default() };
        assert_eq!(infer("f", &found, false, &overrides).unwrap().0, config);
    }

    #[test]
    fn v2_configurations_of_the_hub_tell_heads_and_sizes() {
        let json = r#"{"model_type": "VideoMAEv2_Base", "model_config":
            {"img_size": 224, "num_heads": 12, "all_frames": 16, "cos_attn": false}}"#;
        let overrides = ConfigOverrides::from_v2_json(json).unwrap().unwrap();
        assert_eq!(overrides.num_attention_heads, Some(12));
        assert_eq!((overrides.image_size, overrides.num_frames), (Some(Size::square(224)), Some(16)));
        assert_eq!(ConfigOverrides::from_v2_json(r#"{"model_type": "videomae"}"#).unwrap(), None);
        assert!(ConfigOverrides::from_v2_json(r#"{"model_config": {"cos_attn": true}}"#).is_err());
    }
}
