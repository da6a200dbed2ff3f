//! Small models and clips for the tests.

use std::sync::Arc;

use kernels_backend::Backend;
use videomae::{
    Labels, Size, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification,
    VideoMAEModel,
    checkpoint::{Architecture, Init, LoadOptions, WeightData, WeightMap, WeightSource},
};

pub(crate) fn reference() -> Arc<dyn Backend> {
    kernels::open("reference").unwrap()
}

/// Nothing is square, equal or a power of two, so that no pair of sizes can be mistaken for another.
pub(crate) fn tiny() -> VideoMAEConfig {
    VideoMAEConfig {
        image_size: Size { height: 8, width: 6 },
        patch_size: Size { height: 4, width: 2 },
        num_frames: 4,
        tubelet_size: 2,
        hidden_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        intermediate_size: 20,
        decoder_hidden_size: 10,
        decoder_num_hidden_layers: 2,
        decoder_num_attention_heads: 2,
        decoder_intermediate_size: 14,
        ..VideoMAEConfig::default()
    }
    .with_num_labels(5)
}

/// Tokens of a clip of the configured size: 2 · 2 · 3.
pub(crate) const TOKENS: usize = 12;

/// A mask that hides seven of twelve tokens, others in the second clip than in the first.
pub(crate) fn masks(batch: usize) -> Vec<bool> {
    (0..batch * TOKENS).map(|i| (i % TOKENS * 5 + 3 * (i / TOKENS)) % TOKENS < 7).collect()
}

/// `count` numbers in [−1, 1), from a linear congruential generator (Knuth's MMIX).
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// `[B, T, C, H, W]` of the configured size.
pub(crate) fn shape(config: &VideoMAEConfig, batch: usize) -> [usize; 5] {
    let Size { height, width } = config.image_size;
    [batch, config.num_frames, config.num_channels, height, width]
}

/// A batch of noise.
pub(crate) fn pixels(shape: [usize; 5], seed: u64) -> Vec<f32> {
    noise(seed, shape.iter().product()).iter().map(|x| 1.5 * x).collect()
}

/// Weights in which nothing is zero, so that nothing can hide: biases are small, norms near one.
pub(crate) fn weights(config: &VideoMAEConfig, architecture: Architecture) -> WeightMap {
    let mut map = WeightMap::new();
    for (i, spec) in architecture.tensors(config).unwrap().into_iter().enumerate() {
        let (centre, spread) = match spec.init {
            Init::Normal => (0.0, 0.6),
            Init::Zeros => (0.0, 0.3),
            Init::Ones => (1.0, 0.3),
        };
        let count = spec.shape.iter().product();
        let data: Vec<f32> = noise(100 + i as u64, count).iter().map(|x| centre + spread * x).collect();
        map.insert(spec.key, WeightData::f32(&spec.shape, &data).unwrap());
    }
    map
}

pub(crate) fn model(config: &VideoMAEConfig) -> VideoMAEModel {
    let source = weights(config, Architecture::Model);
    VideoMAEModel::from_weights(config.clone(), &source, reference(), &LoadOptions::default()).unwrap().0
}

pub(crate) fn classifier(config: &VideoMAEConfig) -> VideoMAEForVideoClassification {
    classifier_of(config, &weights(config, Architecture::VideoClassification))
}

pub(crate) fn classifier_of(
    config: &VideoMAEConfig,
    source: &dyn WeightSource,
) -> VideoMAEForVideoClassification {
    let options = LoadOptions::default();
    VideoMAEForVideoClassification::from_weights(config.clone(), source, reference(), &options).unwrap().0
}

pub(crate) fn pretraining(config: &VideoMAEConfig) -> VideoMAEForPreTraining {
    pretraining_of(config, &weights(config, Architecture::PreTraining))
}

pub(crate) fn pretraining_of(config: &VideoMAEConfig, source: &dyn WeightSource) -> VideoMAEForPreTraining {
    VideoMAEForPreTraining::from_weights(config.clone(), source, reference(), &LoadOptions::default())
        .unwrap()
        .0
}

pub(crate) fn labelled<'a>(inputs: VideoInputs<'a>, labels: Labels<'a>) -> VideoInputs<'a> {
    VideoInputs { labels: Some(labels), ..inputs }
}

pub(crate) fn masked<'a>(inputs: VideoInputs<'a>, mask: &'a [bool]) -> VideoInputs<'a> {
    VideoInputs { bool_masked_pos: Some(mask), ..inputs }
}
