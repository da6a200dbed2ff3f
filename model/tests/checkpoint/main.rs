//! Checkpoints: every dialect, every fault, and the way back to disk.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod dialects;
mod hostile;
mod masks;
mod pickled;
mod problems;
mod saving;
mod torch_files;

use std::path::Path;

use videomae::{
    Result, VideoMAEConfig,
    checkpoint::{
        Architecture, Checkpoint, FreshWeights, LoadOptions, LoadReport, WeightData, WeightLoader, WeightMap,
        WeightSource,
    },
};

/// A model of two layers that is built in microseconds, its decoder of other sizes than its encoder.
fn tiny() -> VideoMAEConfig {
    VideoMAEConfig {
        image_size: videomae::Size::square(8),
        patch_size: videomae::Size::square(4),
        num_frames: 4,
        hidden_size: 6,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 10,
        decoder_hidden_size: 4,
        decoder_num_hidden_layers: 2,
        decoder_num_attention_heads: 1,
        decoder_intermediate_size: 7,
        ..VideoMAEConfig::default()
    }
    .with_num_labels(3)
}

/// The final norm in place of `fc_norm`, as pre-training checkpoints have it.
fn token_zero() -> VideoMAEConfig {
    VideoMAEConfig { use_mean_pooling: false, ..tiny() }
}

/// Weights in canonical names, no tensor zero, every element another number.
fn weights(config: &VideoMAEConfig, architecture: Architecture) -> WeightMap {
    let mut map = WeightMap::new();
    for (i, spec) in architecture.tensors(config).unwrap().into_iter().enumerate() {
        let count: usize = spec.shape.iter().product();
        let values: Vec<f32> = (0..count).map(|j| (1 + i) as f32 + j as f32 / 128.0).collect();
        map.insert(spec.key, WeightData::f32(&spec.shape, &values).unwrap());
    }
    map
}

/// What a model does: takes every tensor it needs.
fn load(
    source: &dyn WeightSource,
    config: &VideoMAEConfig,
    architecture: Architecture,
    options: LoadOptions,
) -> Result<(WeightMap, LoadReport)> {
    let loader = WeightLoader::new(source, config, architecture, options)?;
    let mut loaded = WeightMap::new();
    for spec in architecture.tensors(config)? {
        loaded.insert(spec.key.clone(), loader.root().tensor(&spec.key, &spec.shape)?);
    }
    Ok((loaded, loader.finish()?))
}

fn load_strictly(
    source: &dyn WeightSource,
    config: &VideoMAEConfig,
    architecture: Architecture,
) -> Result<(WeightMap, LoadReport)> {
    load(source, config, architecture, LoadOptions::default())
}

/// The report inside an error.
fn report_of(result: Result<(WeightMap, LoadReport)>) -> LoadReport {
    match result.map(|(_, report)| report) {
        Err(videomae::Error::Load(report)) => *report,
        Err(other) => panic!("another error: {other}"),
        Ok(report) => panic!("no error: {report}"),
    }
}

/// Every tensor under another name; `None` leaves it out.
fn renamed(map: &WeightMap, name: impl Fn(&str) -> Option<String>) -> WeightMap {
    let mut out = WeightMap::new();
    for key in map.keys() {
        if let Some(new) = name(&key) {
            out.insert(new, map.get(&key).unwrap().unwrap());
        }
    }
    out
}

/// A safetensors file by the reference's own serialiser.
fn write_file(path: &Path, map: &WeightMap) {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let keys = map.keys();
    let tensors: Vec<_> = keys.iter().map(|key| (key, map.get(key).unwrap().unwrap())).collect();
    let views = tensors.iter().map(|(key, data)| {
        let dtype = match data.dtype() {
            kernels_backend::DType::F32 => Dtype::F32,
            kernels_backend::DType::F16 => Dtype::F16,
            kernels_backend::DType::Bf16 => Dtype::BF16,
            other => panic!("no {other} in these tests"),
        };
        (*key, TensorView::new(dtype, data.shape().to_vec(), data.bytes()).unwrap())
    });
    std::fs::write(path, serialize(views, None).unwrap()).unwrap();
}

#[test]
fn fresh_weights_make_every_architecture() {
    for architecture in Architecture::ALL {
        for config in [tiny(), token_zero()] {
            let source = FreshWeights::new(&config, architecture, 3).unwrap();
            let (loaded, report) = load_strictly(&source, &config, architecture).unwrap();
            assert_eq!(loaded.keys().len(), report.loaded);
            assert!(report.missing.is_empty() && report.fresh.is_empty() && report.unexpected.is_empty());
        }
    }
}

#[test]
fn a_file_gives_the_bytes_that_were_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    let map = weights(&tiny(), Architecture::VideoClassification);
    write_file(&path, &map);
    for opened in [directory.path(), path.as_path()] {
        assert_eq!(WeightMap::copy_of(&Checkpoint::open(opened).unwrap()).unwrap(), map);
    }
}
