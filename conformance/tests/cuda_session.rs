//! What a session costs on `cuda:0`: a forward is one launch, and whatever it reads may change from one to the next.
//!
//! The stand-in for the driver counts its calls; on a real device only the results are compared.

use std::{error::Error, sync::Arc};

use kernels::WeightFormat;
use kernels_cuda_stand_in::{Driver, calls, install};
use videomae::{
    ClassificationOutput, Labels, PreTrainingOutput, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    checkpoint::{Architecture, FreshWeights, LoadOptions},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// 16 tokens a clip.
fn config() -> VideoMAEConfig {
    VideoMAEConfig {
        image_size: videomae::Size::square(32),
        patch_size: videomae::Size::square(8),
        num_frames: 2,
        hidden_size: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        intermediate_size: 48,
        decoder_hidden_size: 24,
        decoder_num_hidden_layers: 2,
        decoder_num_attention_heads: 3,
        decoder_intermediate_size: 40,
        ..VideoMAEConfig::base()
    }
    .with_num_labels(5)
}

const TOKENS: usize = 16;
const CLIP: usize = 2 * 3 * 32 * 32;

fn pixels(batch: usize, turn: usize) -> Vec<f32> {
    (0..batch * CLIP).map(|i| ((i * 7 + turn * 131) % 251) as f32 / 125.0 - 1.0).collect()
}

/// A third of the tokens of each clip, others in every turn.
fn mask(batch: usize, turn: usize) -> Vec<bool> {
    (0..batch).flat_map(|clip| (0..TOKENS).map(move |token| (token + clip + turn) % TOKENS < 5)).collect()
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f32], bound: f32) {
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.len() == expected.len() && error <= bound, "{what}: error {error}, bound {bound}");
}

/// Copies, waits for them, and what a forward should need none of.
const COUNTED: [&str; 9] = [
    "cuGraphLaunch",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuLaunchKernel",
    "cuGraphInstantiateWithFlags",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuCtxSynchronize",
    "cuStreamSynchronize",
];

/// What a steady-state forward calls: one graph, these copies, nothing else.
#[track_caller]
fn assert_steady(driver: Driver, what: &str, counts: [u64; 9], [writes, conversions, reads]: [u64; 3]) {
    if driver == Driver::StandIn {
        assert_eq!(counts, [1, writes, reads, conversions, 0, 0, 0, 0, 0], "{what}");
    }
}

#[test]
fn classification_on_cuda_is_one_launch_in_every_precision() -> Result<()> {
    let driver = install()?;
    let config = config();
    let weights = FreshWeights::new(&config, Architecture::VideoClassification, 3)?;
    let model = |backend: &str, format| {
        let options = LoadOptions { format, ..LoadOptions::default() };
        let backend = kernels::open(backend)?;
        Ok::<_, Box<dyn Error>>(
            VideoMAEForVideoClassification::from_weights(config.clone(), &weights, backend, &options)?.0,
        )
    };
    let reference = model("reference", WeightFormat::F32)?;
    for (format, bound, conversions) in [(WeightFormat::F32, 1e-4, 0), (WeightFormat::Bf16, 0.05, 1)] {
        let model = model("cuda:0", format)?;
        let (mut session, mut expecting) = (model.session()?, reference.session()?);
        let mut output = ClassificationOutput::default();
        // The larger shape comes first, so that the smaller one fits into its memory; then they take turns.
        for turn in 0..8 {
            let batch = if turn % 2 == 0 { 3 } else { 2 };
            let (pixel_values, mask) = (pixels(batch, turn), mask(batch, turn));
            let inputs = VideoInputs {
                bool_masked_pos: Some(&mask),
                ..VideoInputs::new(&pixel_values, [batch, 2, 3, 32, 32])
            };
            let mut result = Ok(());
            let counts = calls(COUNTED, || result = model.forward_into(&mut session, &inputs, &mut output));
            result?;
            let expected = reference.forward(&mut expecting, &inputs)?;
            assert_close(
                &format!("{format}, turn {turn}"),
                &output.logits.data,
                &expected.logits.data,
                bound,
            );
            if turn >= 4 {
                assert_steady(driver, &format!("{format}, turn {turn}"), counts, [2, conversions, 1]);
            }
        }
    }
    Ok(())
}

#[test]
fn pretraining_on_cuda_and_its_loss_are_one_launch() -> Result<()> {
    let driver = install()?;
    let config = config();
    let weights = FreshWeights::new(&config, Architecture::PreTraining, 3)?;
    let model = |backend: &str| {
        let backend = kernels::open(backend)?;
        let options = LoadOptions::default();
        Ok::<_, Box<dyn Error>>(
            VideoMAEForPreTraining::from_weights(config.clone(), &weights, backend, &options)?.0,
        )
    };
    let (model, reference) = (model("cuda:0")?, model("reference")?);
    let (mut session, mut expecting) = (model.session()?, reference.session()?);
    let mut output = PreTrainingOutput::default();
    for turn in 0..4 {
        let (pixel_values, mask) = (pixels(2, turn), mask(2, turn));
        let inputs = VideoInputs {
            bool_masked_pos: Some(&mask),
            ..VideoInputs::new(&pixel_values, [2, 2, 3, 32, 32])
        };
        let mut result = Ok(());
        let counts = calls(COUNTED, || result = model.forward_into(&mut session, &inputs, &mut output));
        result?;
        let expected = reference.forward(&mut expecting, &inputs)?;
        assert_close("logits", &output.logits.data, &expected.logits.data, 1e-4);
        assert_close("loss", &[output.loss], &[expected.loss], 1e-4);
        if turn >= 2 {
            assert_steady(driver, &format!("turn {turn}"), counts, [3, 0, 2]);
        }
    }
    Ok(())
}

#[test]
fn a_forward_on_cuda_that_shows_everything_and_takes_labels_stays_right() -> Result<()> {
    install()?;
    let config = config();
    let weights = FreshWeights::new(&config, Architecture::VideoClassification, 3)?;
    let forward = |backend: &str| -> Result<Vec<ClassificationOutput>> {
        let options = LoadOptions::default();
        let backend = kernels::open(backend)?;
        let (model, _) = VideoMAEForVideoClassification::from_weights(
            config.clone(),
            &weights,
            Arc::clone(&backend),
            &options,
        )?;
        let mut session = model.session()?;
        let turns = (0..4).map(|turn| {
            let pixel_values = pixels(2, turn);
            let inputs = VideoInputs {
                labels: Some(Labels::Classes(&[1, 4])),
                output_hidden_states: Some(true),
                output_attentions: Some(true),
                ..VideoInputs::new(&pixel_values, [2, 2, 3, 32, 32])
            };
            Ok(model.forward(&mut session, &inputs)?)
        });
        turns.collect()
    };
    for (found, expected) in forward("cuda:0")?.iter().zip(&forward("reference")?) {
        assert_close("logits", &found.logits.data, &expected.logits.data, 1e-4);
        assert_close("loss", &[found.loss.unwrap()], &[expected.loss.unwrap()], 1e-4);
        let shown = |output: &ClassificationOutput| {
            [&output.hidden_states[..], &output.attentions[..]]
                .concat()
                .into_iter()
                .flat_map(|x| x.data)
                .collect::<Vec<_>>()
        };
        assert_close("hidden states and attentions", &shown(found), &shown(expected), 1e-4);
    }
    Ok(())
}
