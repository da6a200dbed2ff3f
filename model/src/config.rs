//! The configuration of a model: every field of `transformers.VideoMAEConfig`, checked when it is read.

pub(crate) mod infer;
mod labels;
mod limits;
mod read;
mod write;

use std::{collections::BTreeMap, fmt, str::FromStr};

use kernels_backend::{Activation, DType, PatchGeometry};
use serde_json::{Map, Value};

use crate::{Error, Result};

pub use infer::ConfigOverrides;

/// What a VideoMAE is built from (`transformers.VideoMAEConfig`). Field names and defaults are the reference's.
///
/// ```
/// use videomae::VideoMAEConfig;
///
/// let config = VideoMAEConfig::from_json_str(r#"{"hidden_size": 96, "num_attention_heads": 3}"#)?;
/// assert_eq!(config.head_dim(), 32);
/// assert_eq!(config.num_tokens(), 8 * 14 * 14);
/// # Ok::<(), videomae::Error>(())
/// ```
///
/// A config that was read from JSON has been checked; one that was built or changed in memory is checked by
/// [`VideoMAEConfig::validate`], which every loader calls.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoMAEConfig {
    /// Height and width of a frame, in pixels.
    pub image_size: Size,
    /// Height and width of a patch, in pixels.
    pub patch_size: Size,
    /// Channels of a frame.
    pub num_channels: usize,
    /// Frames of a clip.
    pub num_frames: usize,
    /// Frames of a patch.
    pub tubelet_size: usize,
    /// The width D of the encoder.
    pub hidden_size: usize,
    /// Layers of the encoder.
    pub num_hidden_layers: usize,
    /// Attention heads of the encoder. Never guessed from the width: two ViT-S with 6 and with 16 heads exist.
    pub num_attention_heads: usize,
    /// The inner width of the encoder's MLP.
    pub intermediate_size: usize,
    /// The activation of both MLPs.
    pub hidden_act: HiddenAct,
    /// Dropout after the attention's and the MLP's output projection; training only.
    pub hidden_dropout_prob: f64,
    /// Dropout on attention probabilities; training only.
    pub attention_probs_dropout_prob: f64,
    /// The standard deviation of fresh weights.
    pub initializer_range: f64,
    /// The epsilon of the layers' norms and of the encoder's final norm. `fc_norm` and `decoder.norm` have
    /// [`VideoMAEConfig::HEAD_NORM_EPS`] instead.
    pub layer_norm_eps: f64,
    /// Whether queries and values have a bias; keys never do. `qkv_bias` up to transformers 5.17, `qv_bias` since.
    pub qkv_bias: bool,
    /// Classify the mean over tokens (through `fc_norm`) rather than token 0 (through `layernorm`).
    pub use_mean_pooling: bool,
    /// Attention heads of the decoder.
    pub decoder_num_attention_heads: usize,
    /// The width of the decoder.
    pub decoder_hidden_size: usize,
    /// Layers of the decoder.
    pub decoder_num_hidden_layers: usize,
    /// The inner width of the decoder's MLP.
    pub decoder_intermediate_size: usize,
    /// Whether the pixels of a patch are normalised before they become a target of pre-training.
    pub norm_pix_loss: bool,
    /// The name of each class. Its length is the number of classes.
    pub id2label: BTreeMap<usize, String>,
    /// The class of each name.
    pub label2id: BTreeMap<String, usize>,
    /// The loss of the classification head; `None` is inferred from the labels.
    pub problem_type: Option<ProblemType>,
    /// The type the weights were saved in, as far as the file says.
    pub dtype: Option<DType>,
    /// The transformers classes the weights were saved from.
    pub architectures: Vec<String>,
    /// Whether a forward pass returns hidden states when the call does not say.
    pub output_hidden_states: bool,
    /// Whether a forward pass returns attention probabilities when the call does not say.
    pub output_attentions: bool,
    /// Every other key of the file, kept and written back.
    pub extra: Map<String, Value>,
}

impl Default for VideoMAEConfig {
    /// The defaults of the reference class, which are the sizes of ViT-B.
    fn default() -> Self {
        let (id2label, label2id) = labels::numbered(2);
        Self {
            image_size: Size::square(224),
            patch_size: Size::square(16),
            num_channels: 3,
            num_frames: 16,
            tubelet_size: 2,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: HiddenAct::default(),
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            qkv_bias: true,
            use_mean_pooling: true,
            decoder_num_attention_heads: 6,
            decoder_hidden_size: 384,
            decoder_num_hidden_layers: 4,
            decoder_intermediate_size: 1536,
            norm_pix_loss: true,
            id2label,
            label2id,
            problem_type: None,
            dtype: None,
            architectures: Vec::new(),
            output_hidden_states: false,
            output_attentions: false,
            extra: Map::new(),
        }
    }
}

/// The published sizes. All else keeps its default; note that published *pre-training* checkpoints set
/// `use_mean_pooling` to false.
impl VideoMAEConfig {
    /// `videomae-small-finetuned-*`: 16 heads of 24, as the converted files say (the original code has 6 of 64).
    pub fn small() -> Self {
        Self {
            hidden_size: 384,
            num_attention_heads: 16,
            intermediate_size: 1536,
            decoder_hidden_size: 192,
            decoder_num_hidden_layers: 12,
            decoder_num_attention_heads: 3,
            decoder_intermediate_size: 768,
            ..Self::default()
        }
    }

    /// `videomae-base*`.
    pub fn base() -> Self {
        Self::default()
    }

    /// `videomae-large*`.
    pub fn large() -> Self {
        Self {
            hidden_size: 1024,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            intermediate_size: 4096,
            decoder_hidden_size: 512,
            decoder_num_hidden_layers: 12,
            decoder_num_attention_heads: 8,
            decoder_intermediate_size: 2048,
            ..Self::default()
        }
    }

    /// `videomae-huge-finetuned-kinetics`.
    pub fn huge() -> Self {
        Self {
            hidden_size: 1280,
            num_hidden_layers: 32,
            num_attention_heads: 16,
            intermediate_size: 5120,
            decoder_hidden_size: 640,
            decoder_num_hidden_layers: 12,
            decoder_num_attention_heads: 8,
            decoder_intermediate_size: 2560,
            ..Self::default()
        }
    }
}

/// What follows from the fields. The sizes must have passed [`VideoMAEConfig::validate`].
impl VideoMAEConfig {
    /// The epsilon of `fc_norm` and `decoder.norm`: the reference leaves it at its library's default.
    pub const HEAD_NORM_EPS: f32 = 1e-5;

    /// The config of the decoder's layers: the four `decoder_*` sizes take the place of the encoder's.
    ///
    /// # Errors
    /// [`Error::Config`] when the decoder's width is not a multiple of its heads. This is not checked earlier,
    /// because a classifier may carry decoder sizes that nobody ever used.
    pub fn decoder(&self) -> Result<Self> {
        limits::check_heads(
            "config",
            ("decoder_hidden_size", self.decoder_hidden_size),
            ("decoder_num_attention_heads", self.decoder_num_attention_heads),
        )?;
        Ok(Self {
            hidden_size: self.decoder_hidden_size,
            num_hidden_layers: self.decoder_num_hidden_layers,
            num_attention_heads: self.decoder_num_attention_heads,
            intermediate_size: self.decoder_intermediate_size,
            ..self.clone()
        })
    }

    /// The width d of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Pixels of one patch, over all channels: C·ts·ps_h·ps_w. Also the width of a reconstruction.
    pub fn patch_dim(&self) -> usize {
        self.num_channels * self.tubelet_size * self.patch_size.height * self.patch_size.width
    }

    /// How a clip is cut.
    pub fn patch_geometry(&self) -> PatchGeometry {
        PatchGeometry {
            tubelet_size: self.tubelet_size,
            patch_height: self.patch_size.height,
            patch_width: self.patch_size.width,
        }
    }

    /// Tokens N of a clip of the configured size.
    pub fn num_tokens(&self) -> usize {
        (self.num_frames / self.tubelet_size)
            * (self.image_size.height / self.patch_size.height)
            * (self.image_size.width / self.patch_size.width)
    }

    /// Patches along time, height and width of a clip of any size.
    ///
    /// # Errors
    /// [`Error::Input`] when a size is zero or not a multiple of the patch's, where the reference drops the
    /// edge without a word.
    pub fn grid(&self, num_frames: usize, height: usize, width: usize) -> Result<[usize; 3]> {
        let along = |what: &str, size: usize, patch: usize| {
            if size == 0 || !size.is_multiple_of(patch) {
                let expected = format!("a positive multiple of {patch} for the {what}");
                return Err(Error::input("pixel_values", expected, size.to_string()));
            }
            Ok(size / patch)
        };
        Ok([
            along("number of frames", num_frames, self.tubelet_size)?,
            along("height", height, self.patch_size.height)?,
            along("width", width, self.patch_size.width)?,
        ])
    }

    /// The number of classes; 0 leaves the classification head out.
    pub fn num_labels(&self) -> usize {
        self.id2label.len()
    }

    /// The name of class `id`, or `LABEL_id` where the file has a gap.
    pub fn label(&self, id: usize) -> String {
        self.id2label.get(&id).cloned().unwrap_or_else(|| labels::default_name(id))
    }

    /// Names the classes, in order of their numbers.
    #[must_use]
    pub fn with_labels<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.id2label = names.into_iter().map(Into::into).enumerate().collect();
        self.label2id = labels::inverse(&self.id2label);
        self
    }

    /// Names `count` classes `LABEL_0`, `LABEL_1`, … as the reference does.
    #[must_use]
    pub fn with_num_labels(mut self, count: usize) -> Self {
        (self.id2label, self.label2id) = labels::numbered(count);
        self
    }

    /// Checks every field and the sizes that follow from them, so that nothing overflows or allocates absurdly.
    ///
    /// # Errors
    /// [`Error::Config`] for the first field that cannot be right.
    pub fn validate(&self) -> Result<()> {
        limits::check(self, "config")
    }
}

/// Height and width, in pixels. One number in JSON when they are equal, else a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Size {
    /// Equal sides.
    pub const fn square(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// The activation of the MLPs, with the name that the file gave it: several names mean the same function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenAct {
    name: &'static str,
    activation: Activation,
}

impl HiddenAct {
    /// The key of the reference's activation table.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The function.
    pub fn activation(self) -> Activation {
        self.activation
    }
}

impl Default for HiddenAct {
    fn default() -> Self {
        Self { name: "gelu", activation: Activation::Gelu }
    }
}

impl FromStr for HiddenAct {
    type Err = Error;

    fn from_str(wanted: &str) -> Result<Self> {
        let known = Activation::names();
        match known.iter().find(|(name, _)| *name == wanted) {
            Some(&(name, activation)) => Ok(Self { name, activation }),
            None => {
                let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                Err(limits::refuse("config", "hidden_act", format!("one of {}", names.join(", ")), wanted))
            }
        }
    }
}

/// What the classification head is trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemType {
    /// Mean squared error.
    Regression,
    /// Cross entropy over exclusive classes.
    SingleLabelClassification,
    /// Binary cross entropy per class.
    MultiLabelClassification,
}

impl ProblemType {
    const ALL: [Self; 3] =
        [Self::Regression, Self::SingleLabelClassification, Self::MultiLabelClassification];

    /// The value in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::SingleLabelClassification => "single_label_classification",
            Self::MultiLabelClassification => "multi_label_classification",
        }
    }
}

impl FromStr for ProblemType {
    type Err = Error;

    fn from_str(wanted: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|p| p.name() == wanted).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            limits::refuse("config", "problem_type", format!("one of {names}"), wanted)
        })
    }
}
