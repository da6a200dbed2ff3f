//! Checkpoints from disk, in every form a loader meets: what comes out of them, and out of what we save.

use std::{path::Path, sync::Arc};

use kernels::Backend;
use videomae::{
    VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel,
    checkpoint::{Checkpoint, LoadOptions, LoadReport, SaveOptions},
};

use crate::{case::Case, report::Row, tap::Model};

/// Loads a case with `from_pretrained` and compares what it computes.
///
/// # Errors
/// What the model says; a report that finds anything wrong with the file.
pub fn rows(case: &Case, backend: &Arc<dyn Backend>) -> Result<Vec<Row>, String> {
    let (output, report) = run(case, &case.path, backend).map_err(|e| e.to_string())?;
    check_report(case, &report)?;
    let name = output_name(case.model);
    let expected = case.expected(name).ok_or_else(|| format!("{}: no {name} expected", case.name))?;
    if output.len() != expected.floats().len() {
        let lengths = format!("expected {} elements, found {}", expected.floats().len(), output.len());
        return Err(format!("{}: {name}: {lengths}", case.name));
    }
    // Half-precision files are widened, on both sides, and computed in f32.
    let dtype = kernels::DType::F32;
    let tensor = format!("checkpoint {name}");
    Ok(vec![Row::new(&case.name, &tensor, backend.name(), dtype, case.sums, &output, expected.floats())])
}

/// Saves a case with `save_pretrained`, as one file and as several, and loads it again.
///
/// # Errors
/// What saving or loading says; an output that differs in a single bit.
pub fn round_trip(case: &Case, backend: &Arc<dyn Backend>) -> Result<(), String> {
    let text = |e: videomae::Error| format!("{}: {e}", case.name);
    let (original, _) = run(case, &case.path, backend).map_err(text)?;
    // The checkpoints hold 10 to 30 kB, so that this makes several shards of every one.
    for max_shard_size in [None, Some(6000)] {
        let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
        save(case, directory.path(), backend, &SaveOptions { max_shard_size, dtype: None }).map_err(text)?;
        let sharded = directory.path().join(Checkpoint::INDEX_NAME).exists();
        if sharded != max_shard_size.is_some() {
            return Err(format!("{}: an index for one file, or none for several", case.name));
        }
        let (again, report) = run(case, directory.path(), backend).map_err(text)?;
        if report.is_notable() {
            return Err(format!("{}: after saving: {report}", case.name));
        }
        if !original.iter().map(|x| x.to_bits()).eq(again.iter().map(|x| x.to_bits())) {
            return Err(format!("{}: saved with {max_shard_size:?}, the output is another", case.name));
        }
    }
    Ok(())
}

fn output_name(model: Model) -> &'static str {
    if model == Model::Bare { "last_hidden_state" } else { "logits" }
}

/// Every tensor was found; the inert biases of keys, and nothing else, were passed over.
fn check_report(case: &Case, report: &LoadReport) -> Result<(), String> {
    let checkpoint = Checkpoint::open(&case.path).map_err(|e| e.to_string())?;
    let keys = videomae::checkpoint::WeightSource::keys(&checkpoint);
    let inert = keys.iter().filter(|key| key.ends_with(".key.bias")).count();
    if report.is_notable() || report.ignored.len() != inert || report.loaded + inert != keys.len() {
        return Err(format!("{}: of {} tensors, {inert} of them inert: {report}", case.name, keys.len()));
    }
    Ok(())
}

/// Loads from a directory and runs.
fn run(
    case: &Case,
    directory: &Path,
    backend: &Arc<dyn Backend>,
) -> videomae::Result<(Vec<f32>, LoadReport)> {
    let (backend, options) = (Arc::clone(backend), LoadOptions::default());
    let mask = case.bool_masked_pos();
    let inputs = case.inputs(mask.as_deref(), None);
    Ok(match case.model {
        Model::Bare => {
            let (model, report) = VideoMAEModel::from_pretrained(directory, backend, &options)?;
            (model.forward(&mut model.session()?, &inputs)?.last_hidden_state.data, report)
        }
        Model::Classification => {
            let (model, report) =
                VideoMAEForVideoClassification::from_pretrained(directory, backend, &options)?;
            (model.forward(&mut model.session()?, &inputs)?.logits.data, report)
        }
        Model::PreTraining => {
            let (model, report) = VideoMAEForPreTraining::from_pretrained(directory, backend, &options)?;
            (model.forward(&mut model.session()?, &inputs)?.logits.data, report)
        }
    })
}

/// Loads the case and saves it to `directory`.
fn save(
    case: &Case,
    directory: &Path,
    backend: &Arc<dyn Backend>,
    options: &SaveOptions,
) -> videomae::Result<()> {
    let (backend, load) = (Arc::clone(backend), LoadOptions::default());
    let weights = Checkpoint::open(&case.path)?;
    match case.model {
        Model::Bare => {
            let (model, _) = VideoMAEModel::from_pretrained(&case.path, backend, &load)?;
            model.save_pretrained(directory, &weights, options)
        }
        Model::Classification => {
            let (model, _) = VideoMAEForVideoClassification::from_pretrained(&case.path, backend, &load)?;
            model.save_pretrained(directory, &weights, options)
        }
        Model::PreTraining => {
            let (model, _) = VideoMAEForPreTraining::from_pretrained(&case.path, backend, &load)?;
            model.save_pretrained(directory, &weights, options)
        }
    }
}
