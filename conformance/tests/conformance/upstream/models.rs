//! `VideoMAEModelTest` and the part of `ModelTesterMixin` about forward and backward passes.

use std::sync::Arc;

use conformance::{case::Case, hash};
use kernels::{Backend, DType, tolerance::Comparison};
use libtest_mimic::Trial;
use videomae::{
    Gradients, HostTensor, Labels, ProblemType, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining,
    VideoMAEForVideoClassification, VideoMAEModel,
    checkpoint::{Architecture, FreshWeights, LoadOptions, WeightSource},
};

use super::{Outcome, Test, ensure, expect, named};
use crate::Context;

/// The upstream tester's batch.
const BATCH: usize = 13;
/// Tokens of a clip, of which [`MASKED`] are masked: 0.9 of them, rounded down.
const TOKENS: usize = 25;
const MASKED: usize = 22;

/// A test that every backend has to pass.
type BackendTest = fn(&Arc<dyn Backend>) -> Outcome;

pub(super) fn trials(context: &Context) -> Vec<Trial> {
    let once: [(&str, Test); 2] =
        [("test_config", test_config), ("test_model_get_set_embeddings", test_model_get_set_embeddings)];
    let forward: [(&str, BackendTest); 8] = [
        ("test_model", test_model),
        ("test_for_pretraining", test_for_pretraining),
        ("test_attention_outputs", test_attention_outputs),
        ("test_hidden_states_output", test_hidden_states_output),
        ("test_determinism", test_determinism),
        ("test_eager_matches_sdpa_inference", test_eager_matches_sdpa_inference),
        ("test_batching_equivalence", test_batching_equivalence),
        ("test_problem_types", test_problem_types),
    ];
    let mut trials = named("upstream", &once);
    trials.extend(on_backends(context, &forward, |_| true));
    trials.extend(on_backends(context, &[("test_training", test_training)], |backend| {
        Arc::clone(backend).backward_stream().is_ok()
    }));
    trials
}

/// A trial per test and backend.
pub(super) fn on_backends(
    context: &Context,
    tests: &[(&str, BackendTest)],
    runs: impl Fn(&Arc<dyn Backend>) -> bool,
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for backend in context.backends.iter().filter(|backend| runs(backend)) {
        for &(name, test) in tests {
            let backend = Arc::clone(backend);
            trials.push(Trial::test(format!("upstream/{name}/{}", backend.name()), move || test(&backend)));
        }
    }
    trials
}

/// The upstream tester's configuration of a class.
pub(super) fn config(architecture: Architecture) -> VideoMAEConfig {
    case(architecture).config
}

fn case(architecture: Architecture) -> Case {
    let name = match architecture {
        Architecture::Model => "upstream-model",
        Architecture::PreTraining => "upstream-pretraining",
        Architecture::VideoClassification => "upstream-classification",
    };
    Case::read("models", name)
}

/// Random pixels and the tester's mask: the first 22 tokens of every clip.
pub(super) struct Clips {
    pixel_values: Vec<f32>,
    mask: Vec<bool>,
}

impl Clips {
    pub(super) fn new() -> Self {
        let row: Vec<bool> = (0..TOKENS).map(|token| token < MASKED).collect();
        Self { pixel_values: hash::pixel_values(BATCH * 2 * 3 * 10 * 10), mask: row.repeat(BATCH) }
    }

    /// Inputs for a class; only pre-training is given the mask.
    pub(super) fn inputs(&self, architecture: Architecture) -> VideoInputs<'_> {
        let mut inputs = VideoInputs::new(&self.pixel_values, [BATCH, 2, 3, 10, 10]);
        inputs.bool_masked_pos = (architecture == Architecture::PreTraining).then_some(self.mask.as_slice());
        inputs
    }

    /// One clip of them.
    fn single(&self, architecture: Architecture, clip: usize) -> VideoInputs<'_> {
        let pixels = self.pixel_values.len() / BATCH;
        let mut inputs =
            VideoInputs::new(&self.pixel_values[clip * pixels..(clip + 1) * pixels], [1, 2, 3, 10, 10]);
        inputs.bool_masked_pos = (architecture == Architecture::PreTraining)
            .then_some(&self.mask[clip * TOKENS..(clip + 1) * TOKENS]);
        inputs
    }
}

/// What all classes return.
#[derive(PartialEq)]
pub(super) struct Output {
    /// The last hidden state or the logits.
    pub first: HostTensor,
    pub hidden_states: Vec<HostTensor>,
    pub attentions: Vec<HostTensor>,
    pub loss: Option<f32>,
}

/// Builds a model and runs it.
pub(super) fn forward(
    architecture: Architecture,
    config: &VideoMAEConfig,
    source: &dyn WeightSource,
    backend: &Arc<dyn Backend>,
    inputs: &VideoInputs<'_>,
) -> videomae::Result<Output> {
    let (config, backend, options) = (config.clone(), Arc::clone(backend), LoadOptions::default());
    Ok(match architecture {
        Architecture::Model => {
            let (model, _) = VideoMAEModel::from_weights(config, source, backend, &options)?;
            let output = model.forward(&mut model.session()?, inputs)?;
            let (hidden_states, attentions) = (output.hidden_states, output.attentions);
            Output { first: output.last_hidden_state, hidden_states, attentions, loss: None }
        }
        Architecture::PreTraining => {
            let (model, _) = VideoMAEForPreTraining::from_weights(config, source, backend, &options)?;
            let output = model.forward(&mut model.session()?, inputs)?;
            let (hidden_states, attentions) = (output.hidden_states, output.attentions);
            Output { first: output.logits, hidden_states, attentions, loss: Some(output.loss) }
        }
        Architecture::VideoClassification => {
            let (model, _) = VideoMAEForVideoClassification::from_weights(config, source, backend, &options)?;
            let output = model.forward(&mut model.session()?, inputs)?;
            let (hidden_states, attentions) = (output.hidden_states, output.attentions);
            Output { first: output.logits, hidden_states, attentions, loss: output.loss }
        }
    })
}

/// [`forward`] with fresh weights.
fn fresh(
    architecture: Architecture,
    config: &VideoMAEConfig,
    backend: &Arc<dyn Backend>,
    inputs: &VideoInputs<'_>,
) -> videomae::Result<Output> {
    forward(architecture, config, &FreshWeights::new(config, architecture, 0)?, backend, inputs)
}

/// Tokens the encoder sees.
fn seen(architecture: Architecture) -> usize {
    if architecture == Architecture::PreTraining { TOKENS - MASKED } else { TOKENS }
}

fn test_config() -> Outcome {
    for architecture in Architecture::ALL {
        let config = config(architecture);
        expect("text", VideoMAEConfig::from_json_str(&config.to_json())?, config.clone())?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(VideoMAEConfig::FILE_NAME), config.to_json())?;
        expect("file", VideoMAEConfig::from_pretrained(folder.path())?, config.clone())?;
        for count in [5, 3] {
            let labelled = config.clone().with_num_labels(count);
            expect("num_labels", labelled.num_labels(), count)?;
            expect("label2id", labelled.label2id.len(), count)?;
        }
    }
    let default = VideoMAEConfig::from_json_str("{}")?;
    expect("no fields", default, VideoMAEConfig::default())
}

fn test_model_get_set_embeddings() -> Outcome {
    for architecture in Architecture::ALL {
        let tensors = architecture.tensors(&config(architecture))?;
        let input = "videomae.embeddings.patch_embeddings.projection.weight";
        expect("input embeddings", tensors[0].key.as_str(), input)?;
        let output = tensors.iter().find(|tensor| tensor.key.contains("lm_head"));
        ensure(output.is_none(), "there are no output embeddings")?;
    }
    Ok(())
}

fn test_model(backend: &Arc<dyn Backend>) -> Outcome {
    let architecture = Architecture::Model;
    let clips = Clips::new();
    let output = fresh(architecture, &config(architecture), backend, &clips.inputs(architecture))?;
    expect("last_hidden_state", &output.first.shape[..], &[BATCH, TOKENS, 32])
}

fn test_for_pretraining(backend: &Arc<dyn Backend>) -> Outcome {
    let architecture = Architecture::PreTraining;
    let clips = Clips::new();
    let output = fresh(architecture, &config(architecture), backend, &clips.inputs(architecture))?;
    expect("logits", &output.first.shape[..], &[BATCH, MASKED, 24])
}

fn test_attention_outputs(backend: &Arc<dyn Backend>) -> Outcome {
    let clips = Clips::new();
    for architecture in Architecture::ALL {
        let by_argument = config(architecture);
        let by_config = VideoMAEConfig { output_attentions: true, ..by_argument.clone() };
        let plain = clips.inputs(architecture);
        let asked = VideoInputs { output_attentions: Some(true), ..plain };
        let both = VideoInputs { output_hidden_states: Some(true), ..asked };
        for (config, inputs) in [(&by_argument, asked), (&by_config, plain), (&by_argument, both)] {
            let output = fresh(architecture, config, backend, &inputs)?;
            expect("attentions", output.attentions.len(), config.num_hidden_layers)?;
            let tokens = seen(architecture);
            for attention in &output.attentions {
                expect("shape", &attention.shape[..], &[BATCH, config.num_attention_heads, tokens, tokens])?;
                let sums = attention.data.chunks_exact(tokens).map(|row| row.iter().sum::<f32>());
                let ones = vec![1.0; attention.data.len() / tokens];
                let comparison = Comparison::of(&sums.collect::<Vec<_>>(), &ones);
                ensure(comparison.error <= comparison.bound(DType::F32, tokens), comparison.to_string())?;
            }
        }
        let output = fresh(architecture, &by_argument, backend, &plain)?;
        ensure(output.attentions.is_empty(), "attentions nobody asked for")?;
    }
    Ok(())
}

fn test_hidden_states_output(backend: &Arc<dyn Backend>) -> Outcome {
    let clips = Clips::new();
    for architecture in Architecture::ALL {
        let by_argument = config(architecture);
        let by_config = VideoMAEConfig { output_hidden_states: true, ..by_argument.clone() };
        let plain = clips.inputs(architecture);
        let asked = VideoInputs { output_hidden_states: Some(true), ..plain };
        for (config, inputs) in [(&by_argument, asked), (&by_config, plain)] {
            let output = fresh(architecture, config, backend, &inputs)?;
            expect("hidden states", output.hidden_states.len(), config.num_hidden_layers + 1)?;
            for state in &output.hidden_states {
                expect("shape", &state.shape[..], &[BATCH, seen(architecture), config.hidden_size])?;
            }
        }
        let output = fresh(architecture, &by_argument, backend, &plain)?;
        ensure(output.hidden_states.is_empty(), "hidden states nobody asked for")?;
    }
    Ok(())
}

/// Dropout is above zero in this configuration, and must not show.
fn test_determinism(backend: &Arc<dyn Backend>) -> Outcome {
    let clips = Clips::new();
    for architecture in Architecture::ALL {
        let config = config(architecture);
        ensure(config.hidden_dropout_prob > 0.0, "the tester's configuration has dropout")?;
        let run = || fresh(architecture, &config, backend, &clips.inputs(architecture));
        ensure(run()? == run()?, format!("{architecture:?}: two runs differ"))?;
    }
    Ok(())
}

/// Asking for the probabilities, which fused attention never stores, changes no output.
fn test_eager_matches_sdpa_inference(backend: &Arc<dyn Backend>) -> Outcome {
    let clips = Clips::new();
    for architecture in Architecture::ALL {
        let config = config(architecture);
        let fused = clips.inputs(architecture);
        let eager = VideoInputs { output_attentions: Some(true), ..fused };
        let fused = fresh(architecture, &config, backend, &fused)?;
        let eager = fresh(architecture, &config, backend, &eager)?;
        ensure(fused.first == eager.first, format!("{architecture:?}: outputs differ"))?;
    }
    Ok(())
}

fn test_batching_equivalence(backend: &Arc<dyn Backend>) -> Outcome {
    let clips = Clips::new();
    for architecture in Architecture::ALL {
        let case = case(architecture);
        let asking = |inputs| VideoInputs {
            output_hidden_states: Some(true),
            output_attentions: Some(true),
            ..inputs
        };
        let batch = fresh(architecture, &case.config, backend, &asking(clips.inputs(architecture)))?;
        for clip in 0..BATCH {
            let single =
                fresh(architecture, &case.config, backend, &asking(clips.single(architecture, clip)))?;
            for (many, one) in tensors(&batch).zip(tensors(&single)) {
                let row = &many.data[clip * one.data.len()..(clip + 1) * one.data.len()];
                let comparison = Comparison::of(row, &one.data);
                let within = comparison.error <= comparison.bound(DType::F32, case.sums);
                ensure(within, format!("{architecture:?}, clip {clip}: {comparison}"))?;
            }
        }
    }
    Ok(())
}

fn tensors(output: &Output) -> impl Iterator<Item = &HostTensor> {
    [&output.first].into_iter().chain(&output.hidden_states).chain(&output.attentions)
}

fn test_problem_types(backend: &Arc<dyn Backend>) -> Outcome {
    let architecture = Architecture::VideoClassification;
    let clips = Clips::new();
    let values = vec![1.0; 2 * BATCH];
    let classes = vec![1; BATCH];
    for (problem_type, num_labels, labels) in [
        (ProblemType::MultiLabelClassification, 2, Labels::Values(&values)),
        (ProblemType::SingleLabelClassification, 2, Labels::Classes(&classes)),
        (ProblemType::Regression, 1, Labels::Values(&values[..BATCH])),
    ] {
        let mut config = config(architecture).with_num_labels(num_labels);
        config.problem_type = Some(problem_type);
        let inputs = VideoInputs { labels: Some(labels), ..clips.inputs(architecture) };
        let loss = fresh(architecture, &config, backend, &inputs)?.loss;
        ensure(
            loss.is_some_and(|loss| loss.is_finite() && loss > 0.0),
            format!("{problem_type:?}: {loss:?}"),
        )?;
    }
    Ok(())
}

/// Every parameter has a gradient, and none is zero throughout.
fn test_training(backend: &Arc<dyn Backend>) -> Outcome {
    let clips = Clips::new();
    let classes: Vec<i64> = (0..BATCH as i64).map(|clip| clip % 10).collect();
    for architecture in [Architecture::PreTraining, Architecture::VideoClassification] {
        let config = config(architecture);
        let source = FreshWeights::new(&config, architecture, 0)?;
        let gradients = gradients(architecture, &config, &source, backend, &clips, &classes)?;
        for tensor in architecture.tensors(&config)? {
            let gradient =
                gradients.get(&tensor.key).ok_or_else(|| format!("no gradient of {}", tensor.key))?;
            expect(&tensor.key, &gradient.shape[..], &tensor.shape)?;
            let finite = gradient.data.iter().all(|x| x.is_finite());
            ensure(finite && gradient.data.iter().any(|&x| x != 0.0), format!("gradient of {}", tensor.key))?;
        }
    }
    Ok(())
}

fn gradients(
    architecture: Architecture,
    config: &VideoMAEConfig,
    source: &dyn WeightSource,
    backend: &Arc<dyn Backend>,
    clips: &Clips,
    classes: &[i64],
) -> videomae::Result<Gradients> {
    let (config, backend, options) = (config.clone(), Arc::clone(backend), LoadOptions::default());
    let inputs = clips.inputs(architecture);
    if architecture == Architecture::PreTraining {
        let (model, _) = VideoMAEForPreTraining::from_weights(config, source, backend, &options)?;
        return Ok(model.loss_and_gradients(&mut model.training_session(0)?, &inputs)?.1);
    }
    let inputs = VideoInputs { labels: Some(Labels::Classes(classes)), ..inputs };
    let (model, _) = VideoMAEForVideoClassification::from_weights(config, source, backend, &options)?;
    Ok(model.loss_and_gradients(&mut model.training_session(0)?, &inputs)?.1)
}
