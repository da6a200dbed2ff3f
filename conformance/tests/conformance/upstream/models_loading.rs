//! The part of `ModelTesterMixin` about weights: fresh, saved, loaded, and such as do not fit.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use kernels::Backend;
use libtest_mimic::{Failed, Trial};
use videomae::{
    Error, VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification,
    checkpoint::{
        Architecture, Checkpoint, FreshWeights, LoadOptions, LoadReport, SaveOptions, WeightSource,
        save_pretrained,
    },
};

use super::{
    Outcome, Test, ensure, expect,
    models::{Clips, config, forward, on_backends},
    named,
};
use crate::Context;

pub(super) fn trials(context: &Context) -> Vec<Trial> {
    let once: [(&str, Test); 2] =
        [("test_initialization", test_initialization), ("test_model_is_small", test_model_is_small)];
    let mut trials = named("upstream", &once);
    trials.extend(on_backends(
        context,
        &[
            ("test_save_load", test_save_load),
            ("test_load_save_without_tied_weights", test_load_save_without_tied_weights),
            ("test_load_with_mismatched_shapes", test_load_with_mismatched_shapes),
            ("test_correct_missing_keys", test_correct_missing_keys),
        ],
        |_| true,
    ));
    trials
}

/// With next to no deviation, the mean of every fresh tensor is 0 or 1.
fn test_initialization() -> Outcome {
    for architecture in Architecture::ALL {
        let config = VideoMAEConfig { initializer_range: 1e-10, ..config(architecture) };
        let weights = FreshWeights::new(&config, architecture, 0)?;
        for key in weights.keys() {
            let values = weights.get(&key)?.ok_or_else(|| format!("no {key}"))?.to_f32()?;
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            // Nine decimals, as upstream rounds.
            let rounded = (f64::from(mean) * 1e9).round() / 1e9;
            ensure(rounded == 0.0 || rounded == 1.0, format!("{key}: mean {mean}"))?;
        }
    }
    Ok(())
}

fn test_model_is_small() -> Outcome {
    for architecture in Architecture::ALL {
        let parameters = architecture.num_parameters(&config(architecture))?;
        ensure(parameters < 1_000_000, format!("{architecture:?}: {parameters} parameters"))?;
    }
    Ok(())
}

fn test_save_load(backend: &Arc<dyn Backend>) -> Outcome {
    let clips = Clips::new();
    for architecture in Architecture::ALL {
        let (folder, config, weights) = saved(architecture)?;
        let inputs = clips.inputs(architecture);
        let before = forward(architecture, &config, &weights, backend, &inputs)?;
        let config = VideoMAEConfig::from_pretrained(&folder)?;
        let after = forward(architecture, &config, &Checkpoint::open(&folder)?, backend, &inputs)?;
        ensure(before == after, format!("{architecture:?}: saving and loading changes the output"))?;
    }
    Ok(())
}

/// What was saved has all that is loaded, and nothing else.
fn test_load_save_without_tied_weights(backend: &Arc<dyn Backend>) -> Outcome {
    for architecture in [Architecture::PreTraining, Architecture::VideoClassification] {
        let (folder, config, _) = saved(architecture)?;
        let report = load(architecture, folder.path(), config.clone(), backend, &LoadOptions::default())?;
        expect("loaded", report.loaded, architecture.tensors(&config)?.len())?;
        let others = [&report.missing, &report.fresh, &report.unused, &report.ignored, &report.unexpected];
        expect("others", others.map(Vec::len), [0; 5])?;
    }
    Ok(())
}

fn test_load_with_mismatched_shapes(backend: &Arc<dyn Backend>) -> Outcome {
    let architecture = Architecture::VideoClassification;
    let (folder, config, _) = saved(architecture)?;
    let other = config.with_num_labels(42);
    let strict = load(architecture, folder.path(), other.clone(), backend, &LoadOptions::default());
    let Err(Error::Load(report)) = strict else {
        return Err("another number of classes was loaded".into());
    };
    let wrong: Vec<&str> = report.mismatched.iter().map(|mismatch| mismatch.key.as_str()).collect();
    expect("mismatched", wrong, vec!["classifier.weight", "classifier.bias"])?;

    let options = LoadOptions { ignore_mismatched_sizes: true, ..LoadOptions::default() };
    let (model, report) = VideoMAEForVideoClassification::from_weights(
        other,
        &Checkpoint::open(&folder)?,
        Arc::clone(backend),
        &options,
    )?;
    ensure(report.mismatched.iter().all(|mismatch| mismatch.replaced), report.to_string())?;
    let clips = Clips::new();
    let logits = model.forward(&mut model.session()?, &clips.inputs(architecture))?.logits;
    expect("logits", &logits.shape[1..], &[42])
}

/// A bare model's checkpoint lacks exactly the head.
fn test_correct_missing_keys(backend: &Arc<dyn Backend>) -> Outcome {
    for architecture in [Architecture::PreTraining, Architecture::VideoClassification] {
        let config = config(architecture);
        let bare = FreshWeights::new(&config, Architecture::Model, 0)?;
        let folder = tempfile::tempdir()?;
        save_pretrained(&folder, &config, Architecture::Model, &bare, &SaveOptions::default())?;
        let keys = |architecture: Architecture| -> Result<BTreeSet<String>, Failed> {
            Ok(architecture.tensors(&config)?.into_iter().map(|tensor| tensor.key).collect())
        };
        let head: Vec<String> =
            keys(architecture)?.difference(&keys(Architecture::Model)?).cloned().collect();
        let sorted = |mut keys: Vec<String>| {
            keys.sort();
            keys
        };
        let strict = load(architecture, folder.path(), config.clone(), backend, &LoadOptions::default());
        let Err(Error::Load(report)) = strict else {
            return Err(format!("{architecture:?}: loaded without its head").into());
        };
        expect("missing", sorted(report.missing), head.clone())?;
        let options = LoadOptions { fresh_head: true, ..LoadOptions::default() };
        let report = load(architecture, folder.path(), config.clone(), backend, &options)?;
        expect("fresh", sorted(report.fresh), head)?;
    }
    Ok(())
}

/// Fresh weights, and a folder that holds them.
fn saved(architecture: Architecture) -> Result<(tempfile::TempDir, VideoMAEConfig, FreshWeights), Failed> {
    let config = config(architecture);
    let weights = FreshWeights::new(&config, architecture, 0)?;
    let folder = tempfile::tempdir()?;
    save_pretrained(&folder, &config, architecture, &weights, &SaveOptions::default())?;
    Ok((folder, config, weights))
}

/// Loads one of the two models with a head.
fn load(
    architecture: Architecture,
    folder: &Path,
    config: VideoMAEConfig,
    backend: &Arc<dyn Backend>,
    options: &LoadOptions,
) -> videomae::Result<LoadReport> {
    let (source, backend) = (Checkpoint::open(folder)?, Arc::clone(backend));
    if architecture == Architecture::PreTraining {
        return Ok(VideoMAEForPreTraining::from_weights(config, &source, backend, options)?.1);
    }
    Ok(VideoMAEForVideoClassification::from_weights(config, &source, backend, options)?.1)
}
