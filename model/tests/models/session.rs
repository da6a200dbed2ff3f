//! What a session allocates, and the ops of a forward pass in order.

use std::sync::Arc;

use crate::support::{TOKENS, masked, masks, pixels, shape, tiny, weights};
use kernels_backend::{Backend, recording::Recording};
use videomae::{
    ClassificationOutput, Labels, PreTrainingOutput, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    checkpoint::{Architecture, LoadOptions},
};

fn recorded_classifier(config: &VideoMAEConfig) -> (Recording, VideoMAEForVideoClassification) {
    let (recording, source) = (Recording::default(), weights(config, Architecture::VideoClassification));
    let backend: Arc<dyn Backend> = Arc::new(recording.clone());
    let options = LoadOptions::default();
    let (model, _) =
        VideoMAEForVideoClassification::from_weights(config.clone(), &source, backend, &options).unwrap();
    recording.take();
    (recording, model)
}

fn recorded_pretraining(config: &VideoMAEConfig) -> (Recording, VideoMAEForPreTraining) {
    let (recording, source) = (Recording::default(), weights(config, Architecture::PreTraining));
    let backend: Arc<dyn Backend> = Arc::new(recording.clone());
    let options = LoadOptions::default();
    let (model, _) =
        VideoMAEForPreTraining::from_weights(config.clone(), &source, backend, &options).unwrap();
    recording.take();
    (recording, model)
}

fn allocations(calls: &[String]) -> usize {
    calls.iter().filter(|call| call.starts_with("alloc")).count()
}

/// The ops, without memory traffic.
fn ops(calls: &[String]) -> Vec<&str> {
    let is_memory = |call: &&str| ["alloc", "write", "read"].iter().any(|op| call.starts_with(op));
    calls.iter().map(String::as_str).filter(|call| !is_memory(call)).collect()
}

#[test]
fn a_second_forward_of_the_same_shape_allocates_nothing() {
    let config = tiny();
    let (recording, model) = recorded_classifier(&config);
    let shape = shape(&config, 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = VideoInputs {
        labels: Some(Labels::Classes(&[1, 4])),
        output_hidden_states: Some(true),
        output_attentions: Some(true),
        ..masked(VideoInputs::new(&pixels, shape), &mask)
    };
    let mut session = model.session().unwrap();
    let mut output = ClassificationOutput::default();
    model.forward_into(&mut session, &inputs, &mut output).unwrap();
    assert!(allocations(&recording.take()) > 0);
    let address = output.logits.data.as_ptr();
    model.forward_into(&mut session, &inputs, &mut output).unwrap();
    assert_eq!(allocations(&recording.take()), 0);
    assert_eq!(address, output.logits.data.as_ptr(), "the output's memory is used again");
}

#[test]
fn a_second_pretraining_forward_of_the_same_shape_allocates_nothing() {
    let config = tiny();
    let (recording, model) = recorded_pretraining(&config);
    let shape = shape(&config, 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let mut session = model.session().unwrap();
    let mut output = PreTrainingOutput::default();
    model.forward_into(&mut session, &inputs, &mut output).unwrap();
    assert!(allocations(&recording.take()) > 0);
    model.forward_into(&mut session, &inputs, &mut output).unwrap();
    assert_eq!(allocations(&recording.take()), 0);
}

#[test]
fn a_smaller_batch_fits_the_memory_of_a_larger_one() {
    let config = tiny();
    let (recording, model) = recorded_classifier(&config);
    let mut session = model.session().unwrap();
    for (batch, allocates) in [(3, true), (1, false), (2, false), (3, false), (4, true)] {
        let shape = shape(&config, batch);
        model.forward(&mut session, &VideoInputs::new(&pixels(shape, 1), shape)).unwrap();
        assert_eq!(allocations(&recording.take()) > 0, allocates, "batch of {batch}");
    }
}

#[test]
fn position_tables_are_written_once_for_a_shape() {
    let config = tiny();
    let (recording, model) = recorded_classifier(&config);
    let mut session = model.session().unwrap();
    let shape = shape(&config, 1);
    let pixels = pixels(shape, 1);
    let tables = |calls: Vec<String>| calls.iter().filter(|call| *call == "write (12, 12)").count();
    model.forward(&mut session, &VideoInputs::new(&pixels, shape)).unwrap();
    assert_eq!(tables(recording.take()), 1);
    model.forward(&mut session, &VideoInputs::new(&pixels, shape)).unwrap();
    assert_eq!(tables(recording.take()), 0);
}

#[test]
fn a_forward_pass_is_these_ops_in_this_order() {
    let config = VideoMAEConfig { num_hidden_layers: 1, ..tiny() };
    let (recording, model) = recorded_classifier(&config);
    let shape = shape(&config, 2);
    let mut session = model.session().unwrap();
    model.forward(&mut session, &VideoInputs::new(&pixels(shape, 1), shape)).unwrap();
    let expected = [
        "broadcast_rows (12, 12) -> (2, 0..12, 12)",
        "patchify (2, 4, 3, 8, 6) -> (2, 0..12, 48)",
        "linear (2, 0..12, 48) -> (2, 0..12, 12)",
        "layer_norm (2, 0..12, 12) eps 1e-12",
        "linear (2, 0..12, 12) -> (2, 0..12, 36)",
        "attention (2, 12, 36) heads 3",
        "linear (2, 0..12, 12) -> (2, 0..12, 12)",
        "layer_norm (2, 0..12, 12) eps 1e-12",
        "linear (2, 0..12, 12) -> (2, 0..12, 20)",
        "linear (2, 0..12, 20) -> (2, 0..12, 12)",
        "mean_tokens (2, 0..12, 12)",
        "layer_norm (1, 0..2, 12) eps 1e-5",
        "linear (1, 0..2, 12) -> (1, 0..2, 5)",
    ];
    assert_eq!(ops(&recording.take()), expected);
}

#[test]
fn every_layer_norm_of_pretraining_has_the_epsilon_of_its_place() {
    let config = VideoMAEConfig {
        num_hidden_layers: 1,
        decoder_num_hidden_layers: 1,
        use_mean_pooling: false,
        layer_norm_eps: 0.125,
        ..tiny()
    };
    let (recording, model) = recorded_pretraining(&config);
    let shape = shape(&config, 1);
    let mut session = model.session().unwrap();
    let (pixels, mask) = (pixels(shape, 1), masks(1));
    model.forward(&mut session, &masked(VideoInputs::new(&pixels, shape), &mask)).unwrap();
    let calls = recording.take();
    let norms: Vec<_> = ops(&calls).into_iter().filter(|call| call.starts_with("layer_norm")).collect();
    let expected = [
        "layer_norm (1, 0..5, 12) eps 1.25e-1",
        "layer_norm (1, 0..5, 12) eps 1.25e-1",
        "layer_norm (1, 0..5, 12) eps 1.25e-1",
        "layer_norm (1, 0..12, 10) eps 1.25e-1",
        "layer_norm (1, 0..12, 10) eps 1.25e-1",
        "layer_norm (1, 5..12, 10) eps 1e-5",
    ];
    assert_eq!(norms, expected);
}

#[test]
fn masked_patches_are_never_cut_out_and_the_decoder_predicts_masked_tokens_only() {
    let config = VideoMAEConfig { num_hidden_layers: 1, decoder_num_hidden_layers: 1, ..tiny() };
    let (recording, model) = recorded_pretraining(&config);
    let shape = shape(&config, 2);
    let mut session = model.session().unwrap();
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    model.forward(&mut session, &masked(VideoInputs::new(&pixels, shape), &mask)).unwrap();
    let calls = recording.take();
    let ops = ops(&calls);
    assert!(ops.contains(&"patchify (2, 4, 3, 8, 6) -> (2, 0..5, 48)"), "{ops:?}");
    let decoder = ops.iter().position(|op| op.starts_with("gather_rows (12, 10)")).unwrap();
    let expected = [
        "gather_rows (12, 10) -> (2, 0..5, 10)",
        "linear (2, 0..5, 12) -> (2, 0..5, 10)",
        "gather_rows (12, 10) -> (2, 5..12, 10)",
        "broadcast_rows (10) -> (2, 5..12, 10)",
    ];
    assert_eq!(ops[decoder..decoder + 4], expected);
    assert!(ops.contains(&"linear (2, 5..12, 10) -> (2, 0..7, 48)"), "{ops:?}");
    assert_eq!(masks(2).len() / 2, TOKENS);
}
