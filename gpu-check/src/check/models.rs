//! Whole models with random weights, beside the CPU backend.
//!
//! A session replays what it captured, if its backend can; so each model runs again and again, with other pixels and other
//! masks in turn, and gives the same bits for the same input.

use std::sync::Arc;

use anyhow::{Context, Result};
use kernels::{Backend, DType, WeightFormat};
use videomae::{
    Size as ImageSize, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification,
    checkpoint::{Architecture, LoadOptions},
};

use super::{
    Size,
    noise::Noise,
    trial::{Outcome, Part},
};
use crate::weights::RandomWeights;

/// The base model, or one that differs from it in size only; as many labels as Kinetics-400 has.
fn config(size: Size) -> VideoMAEConfig {
    let config = match size {
        Size::Model => VideoMAEConfig::base(),
        Size::Small => VideoMAEConfig {
            image_size: ImageSize::square(32),
            num_frames: 4,
            hidden_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 128,
            decoder_hidden_size: 32,
            decoder_num_hidden_layers: 1,
            decoder_num_attention_heads: 2,
            decoder_intermediate_size: 64,
            ..VideoMAEConfig::base()
        },
    };
    VideoMAEConfig { use_mean_pooling: true, ..config }.with_num_labels(400)
}

/// Two batches, the second of which also has another mask.
const BATCHES: usize = 2;

/// In which order they run on the GPU: each after the other, and after itself.
const AGAIN: &[usize] = &[0, 1, 0, 0, 1];

/// In which order on the CPU, which nobody doubts here and which takes seconds.
const ONCE: &[usize] = &[0, 1];

/// What both backends are given.
struct Inputs {
    config: VideoMAEConfig,
    /// `(B, T, C, H, W)`
    shape: [usize; 5],
    pixel_values: Vec<Vec<f32>>,
    /// `(B, N)`
    masks: Vec<Vec<bool>>,
    seed: u64,
}

impl Inputs {
    fn new(size: Size, batch: usize, seed: u64) -> Self {
        let config = config(size);
        let shape = [
            batch,
            config.num_frames,
            config.num_channels,
            config.image_size.height,
            config.image_size.width,
        ];
        let mut noise = Noise::new(seed, "pixel_values");
        let pixel_values = (0..BATCHES)
            .map(|_| noise.signed(shape.iter().product()).iter().map(|x| 2.0 * x).collect())
            .collect();
        let tokens = config.num_tokens();
        let masks =
            (0..BATCHES).map(|_| (0..batch).flat_map(|_| mask(&mut noise, tokens)).collect()).collect();
        Self { config, shape, pixel_values, masks, seed }
    }

    fn batch(&self, index: usize) -> VideoInputs<'_> {
        VideoInputs::new(&self.pixel_values[index], self.shape)
    }

    /// The same weights for both backends, and how they are loaded.
    fn weights(&self, architecture: Architecture, dtype: DType) -> Result<(RandomWeights, LoadOptions)> {
        let format = WeightFormat::of(dtype).context("expected a type of floats")?;
        let weights = RandomWeights::new(&self.config, architecture, self.seed)?;
        Ok((weights, LoadOptions { format, ..LoadOptions::default() }))
    }

    /// The bound of a tensor as deep as the last: chained sums of random sign add up as those of one long sum do.
    fn part(&self, name: &'static str, dtype: DType, values: Vec<f32>) -> Part {
        Part::new(name, dtype, self.config.intermediate_size * self.config.num_hidden_layers, values)
    }
}

/// A mask that leaves a tenth of the tokens, at least one.
fn mask(noise: &mut Noise, tokens: usize) -> Vec<bool> {
    let order = noise.signed(tokens);
    let mut ranked: Vec<usize> = (0..tokens).collect();
    ranked.sort_by(|&a, &b| order[a].total_cmp(&order[b]));
    let mut mask = vec![true; tokens];
    ranked[..tokens.div_ceil(10)].iter().for_each(|&token| mask[token] = false);
    mask
}

/// What a model gave for each batch, and how often it gave something else for the same one.
struct Results {
    parts: Vec<Vec<Part>>,
    different: Vec<usize>,
}

/// Runs a forward for every batch of an order, in which each is there.
fn in_order(order: &[usize], mut forward: impl FnMut(usize) -> Result<Vec<Part>>) -> Result<Results> {
    let mut results = Results { parts: Vec::new(), different: vec![0; BATCHES] };
    for &batch in order {
        let parts = forward(batch)?;
        match results.parts.get(batch) {
            None => results.parts.push(parts),
            Some(first) => {
                let bits = |parts: &[Part]| -> Vec<u32> {
                    parts.iter().flat_map(|part| part.values.iter().map(|x| x.to_bits())).collect()
                };
                results.different[batch] += usize::from(bits(first) != bits(&parts));
            }
        }
    }
    Ok(results)
}

/// `VideoMAEForVideoClassification`: logits, and the hidden states of every layer.
pub(super) fn classification(
    backend: &Arc<dyn Backend>,
    size: Size,
    dtype: DType,
    seed: u64,
) -> Vec<Outcome> {
    // Two clips, so that whatever mixes them up is noticed.
    let inputs = Inputs::new(size, 2, seed);
    outcomes(backend, &inputs, |backend, order| {
        let (weights, options) = inputs.weights(Architecture::VideoClassification, dtype)?;
        let (model, _) = VideoMAEForVideoClassification::from_weights(
            inputs.config.clone(),
            &weights,
            Arc::clone(backend),
            &options,
        )?;
        let mut session = model.session()?;
        let mut results = in_order(order, |batch| {
            let output = model.forward(&mut session, &inputs.batch(batch))?;
            Ok(vec![inputs.part("logits", dtype, output.logits.data)])
        })?;
        let shown = VideoInputs { output_hidden_states: Some(true), ..inputs.batch(0) };
        let output = model.forward(&mut session, &shown)?;
        let states = output.hidden_states.into_iter();
        results.parts[0].extend(states.map(|state| inputs.part("hidden_states", dtype, state.data)));
        Ok(results)
    })
}

/// `VideoMAEForPreTraining`: the reconstruction of nine tenths of the patches, and the loss.
pub(super) fn pre_training(backend: &Arc<dyn Backend>, size: Size, dtype: DType, seed: u64) -> Vec<Outcome> {
    let inputs = Inputs::new(size, 2, seed);
    outcomes(backend, &inputs, |backend, order| {
        let (weights, options) = inputs.weights(Architecture::PreTraining, dtype)?;
        let (model, _) = VideoMAEForPreTraining::from_weights(
            inputs.config.clone(),
            &weights,
            Arc::clone(backend),
            &options,
        )?;
        let mut session = model.session()?;
        in_order(order, |batch| {
            let masked = VideoInputs { bool_masked_pos: Some(&inputs.masks[batch]), ..inputs.batch(batch) };
            let output = model.forward(&mut session, &masked)?;
            let loss = inputs.part("loss", dtype, vec![output.loss]);
            Ok(vec![inputs.part("logits", dtype, output.logits.data), loss])
        })
    })
}

/// One outcome for each batch.
fn outcomes(
    tested: &Arc<dyn Backend>,
    inputs: &Inputs,
    run: impl Fn(&Arc<dyn Backend>, &[usize]) -> Result<Results>,
) -> Vec<Outcome> {
    let name = |batch: usize| format!("{:?}, batch {batch}", inputs.shape);
    let both = run(tested, AGAIN).and_then(|found| Ok((found, run(&kernels::open("cpu")?, ONCE)?)));
    match both {
        Err(error) => vec![Outcome::failed(name(0), &error)],
        Ok((found, expected)) => (0..BATCHES)
            .map(|batch| {
                if found.different[batch] > 0 {
                    let error = anyhow::anyhow!("repeated runs of one input give other bits");
                    return Outcome::failed(name(batch), &error);
                }
                Outcome::of(&name(batch), &found.parts[batch], &expected.parts[batch])
                    .unwrap_or_else(|error| Outcome::failed(name(batch), &error))
            })
            .collect(),
    }
}
