//! One model of `fixtures/models/`, `checkpoints/` or `published/`: what goes in, what has to come out, running it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use kernels::{Backend, DType, WeightFormat};
use serde::Deserialize;
use videomae::{
    Labels, ProblemType, Session, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining,
    VideoMAEForVideoClassification, VideoMAEModel,
    checkpoint::{Architecture, LoadOptions, WeightSource},
};

use crate::{
    fixtures::{self, Array, Arrays, Data},
    hash::HashedWeights,
    tap::Model,
};

/// `case.json`; see `fixtures/README.md`.
#[derive(Debug, Deserialize)]
struct Description {
    model: String,
    dtype: String,
    longest_sum: usize,
    chained_sums: usize,
    #[serde(default)]
    losses: Vec<Loss>,
    #[serde(default)]
    gradients: bool,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

/// A loss to compute: with which labels, under which configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Loss {
    /// Its name in `expected.safetensors`, after `loss.`.
    pub name: String,
    /// The labels' name in `inputs.safetensors`; `None` for pre-training.
    pub labels: Option<String>,
    /// The `problem_type` of the configuration.
    configured: Option<String>,
}

impl Loss {
    /// The `problem_type` of the configuration; `None` lets the model infer it.
    ///
    /// # Panics
    /// When the fixture names a problem that does not exist.
    pub fn problem_type(&self) -> Option<ProblemType> {
        use ProblemType::{MultiLabelClassification, Regression, SingleLabelClassification};
        let name = self.configured.as_deref()?;
        let all = [Regression, SingleLabelClassification, MultiLabelClassification];
        Some(all.into_iter().find(|problem| problem.name() == name).expect("a problem type of the reference"))
    }
}

/// A case, read.
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Which of the three models it is about.
    pub model: Model,
    /// What it was computed in.
    pub dtype: DType,
    /// The length of a sum with as many roundings as the way to the last tensor.
    pub sums: usize,
    /// The losses.
    pub losses: Vec<Loss>,
    /// Whether there are gradients.
    pub has_gradients: bool,
    /// As transformers wrote it.
    pub config: VideoMAEConfig,
    inputs: Arrays,
    expected: Arrays,
    aliases: BTreeMap<String, String>,
}

impl Case {
    /// Reads `fixtures/<folder>/<name>`.
    ///
    /// # Panics
    /// When it is damaged: `cargo xtask gen-fixtures` makes it anew.
    pub fn read(folder: &str, name: &str) -> Self {
        let path = fixtures::root().join(folder).join(name);
        let description: Description = fixtures::json(&path.join("case.json"));
        let config = VideoMAEConfig::from_pretrained(&path).unwrap_or_else(|e| panic!("{e}"));
        Self {
            name: name.to_owned(),
            model: match description.model.as_str() {
                "VideoMAEModel" => Model::Bare,
                "VideoMAEForVideoClassification" => Model::Classification,
                "VideoMAEForPreTraining" => Model::PreTraining,
                other => panic!("{name}: unknown model {other}"),
            },
            dtype: match description.dtype.as_str() {
                "float32" => DType::F32,
                "bfloat16" => DType::Bf16,
                "float16" => DType::F16,
                other => panic!("{name}: unknown type {other}"),
            },
            // Errors of chained sums of random sign add up as those of one long sum do.
            sums: description.longest_sum * description.chained_sums,
            losses: description.losses,
            has_gradients: description.gradients,
            config,
            inputs: read_inputs(&path.join("inputs.safetensors")),
            expected: Arrays::read(&path.join("expected.safetensors")),
            aliases: description.aliases,
            path,
        }
    }

    /// The hashed weights of this case.
    ///
    /// # Panics
    /// When the configuration makes no model.
    pub fn weights(&self) -> HashedWeights {
        let architecture = match self.model {
            Model::Bare => Architecture::Model,
            Model::Classification => Architecture::VideoClassification,
            Model::PreTraining => Architecture::PreTraining,
        };
        HashedWeights::new(&self.config, architecture, self.dtype).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A tensor transformers computed, also by the name of an equal one.
    pub fn expected(&self, name: &str) -> Option<&Array> {
        self.expected.0.get(self.stored_name(name))
    }

    /// The name under which a tensor equal to `name` is stored.
    pub fn stored_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, String::as_str)
    }

    /// The names of all tensors transformers computed; those equal to another one once.
    pub fn expected_names(&self) -> impl Iterator<Item = &str> {
        self.expected.0.keys().map(String::as_str)
    }

    /// The mask, if the case has one.
    pub fn bool_masked_pos(&self) -> Option<Vec<bool>> {
        self.inputs.0.get("bool_masked_pos").map(Array::bools)
    }

    /// The pixels with their shape.
    ///
    /// # Panics
    /// When the fixture has none.
    pub fn pixel_values(&self) -> (&[f32], [usize; 5]) {
        let array = self.inputs.get("pixel_values");
        let shape = array.shape.as_slice().try_into().expect("pixel_values have five dimensions");
        (array.floats(), shape)
    }

    /// The labels of a loss.
    pub fn labels(&self, loss: &Loss) -> Option<Labels<'_>> {
        let array = self.inputs.get(loss.labels.as_ref()?);
        Some(match &array.data {
            Data::Integer(classes) => Labels::Classes(classes),
            _ => Labels::Values(array.floats()),
        })
    }

    /// The inputs, everything recorded.
    pub fn inputs<'a>(&'a self, mask: Option<&'a [bool]>, loss: Option<&Loss>) -> VideoInputs<'a> {
        let (pixel_values, shape) = self.pixel_values();
        let mut inputs = VideoInputs::new(pixel_values, shape);
        inputs.bool_masked_pos = mask;
        inputs.labels = loss.and_then(|loss| self.labels(loss));
        inputs.output_hidden_states = Some(true);
        inputs.output_attentions = Some(true);
        inputs
    }

    /// Builds the model from `source` and runs it.
    ///
    /// # Errors
    /// What the model says.
    pub fn run(
        &self,
        source: &dyn WeightSource,
        backend: Arc<dyn Backend>,
        loss: Option<&Loss>,
    ) -> videomae::Result<Outputs> {
        let mut config = self.config.clone();
        if let Some(loss) = loss {
            config.problem_type = loss.problem_type();
        }
        let mask = self.bool_masked_pos();
        let inputs = self.inputs(mask.as_deref(), loss);
        self.forward(config, source, backend, &inputs, loss)
    }

    /// Builds the model of `config` from `source` and runs it on `inputs`, whose labels are those of `loss`.
    ///
    /// # Errors
    /// What the model says.
    pub fn forward(
        &self,
        config: VideoMAEConfig,
        source: &dyn WeightSource,
        backend: Arc<dyn Backend>,
        inputs: &VideoInputs<'_>,
        loss: Option<&Loss>,
    ) -> videomae::Result<Outputs> {
        let format = WeightFormat::of(self.dtype).expect("fixtures are made of floats");
        let options = LoadOptions { format, ..LoadOptions::default() };
        let mut outputs = Outputs::default();
        match self.model {
            Model::Bare => {
                let (model, _) = VideoMAEModel::from_weights(config, source, backend, &options)?;
                let output = model.forward(&mut model.session()?, inputs)?;
                outputs.push("last_hidden_state", output.last_hidden_state.data);
                outputs.lists(output.hidden_states, output.attentions);
            }
            Model::Classification => {
                let (model, _) =
                    VideoMAEForVideoClassification::from_weights(config, source, backend, &options)?;
                let output = model.forward(&mut model.session()?, inputs)?;
                outputs.push("logits", output.logits.data);
                outputs.lists(output.hidden_states, output.attentions);
                if let (Some(loss), Some(value)) = (loss, output.loss) {
                    outputs.push(&format!("loss.{}", loss.name), vec![value]);
                }
            }
            Model::PreTraining => {
                let (model, _) = VideoMAEForPreTraining::from_weights(config, source, backend, &options)?;
                let mut session: Session = model.session()?;
                let output = model.forward(&mut session, inputs)?;
                outputs.push("logits", output.logits.data);
                outputs.lists(output.hidden_states, output.attentions);
                outputs.push("loss.reconstruction", vec![output.loss]);
            }
        }
        Ok(outputs)
    }
}

/// The inputs of a case; none where all of them are hashed.
fn read_inputs(path: &Path) -> Arrays {
    if path.exists() { Arrays::read(path) } else { Arrays::default() }
}

/// What a model returned, under the names of the fixtures.
#[derive(Debug, Default)]
pub struct Outputs(pub Vec<(String, Vec<f32>)>);

impl Outputs {
    fn push(&mut self, name: &str, values: Vec<f32>) {
        self.0.push((name.to_owned(), values));
    }

    fn lists(&mut self, hidden_states: Vec<videomae::HostTensor>, attentions: Vec<videomae::HostTensor>) {
        for (list, name) in [(hidden_states, "hidden_states"), (attentions, "attentions")] {
            for (i, tensor) in list.into_iter().enumerate() {
                self.push(&format!("{name}.{i}"), tensor.data);
            }
        }
    }
}
