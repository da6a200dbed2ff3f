//! From the name of a model to something that runs.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use kernels::{Backend, WeightFormat};
use videomae::{
    VideoMAEForVideoClassification,
    checkpoint::{LoadOptions, LoadReport},
};
use videomae_preprocess::{VideoMAEImageProcessor, VideoMAEVideoProcessor};

use crate::{demo, hub};

/// A model with the processor that belongs to it.
pub(crate) struct Loaded {
    pub(crate) model: VideoMAEForVideoClassification,
    pub(crate) processor: VideoMAEImageProcessor,
}

/// Loads `name`: the demo, a folder, or a model on the hub.
pub(crate) fn load(
    name: &str,
    revision: Option<&str>,
    backend: Arc<dyn Backend>,
    format: WeightFormat,
    progress: &ProgressBar,
) -> Result<Loaded> {
    let options = LoadOptions { format, ..LoadOptions::default() };
    let ((model, report), processor) = if name == demo::NAME {
        load_demo(backend, &options)?
    } else {
        let path = hub::folder(name, revision, progress)?;
        let loaded = VideoMAEForVideoClassification::from_pretrained(&path, backend, &options);
        (loaded.map_err(|error| hint(&path, error))?, processor(&path)?)
    };
    if report.is_notable() {
        progress.suspend(|| eprintln!("{report}"));
    }
    Ok(Loaded { model, processor })
}

fn load_demo(
    backend: Arc<dyn Backend>,
    options: &LoadOptions,
) -> Result<((VideoMAEForVideoClassification, LoadReport), VideoMAEImageProcessor)> {
    let (config, weights) = demo::open()?;
    let processor = VideoMAEImageProcessor::from_json(demo::PROCESSOR)?;
    Ok((VideoMAEForVideoClassification::from_weights(config, &weights, backend, options)?, processor))
}

/// The image processor's file, or the video processor's where a folder has only that; both do the same to a frame.
fn processor(path: &Path) -> Result<VideoMAEImageProcessor> {
    use videomae_preprocess::Error::NoConfiguration;

    let processor = match VideoMAEImageProcessor::from_pretrained(path) {
        Err(error @ NoConfiguration { .. }) => match VideoMAEVideoProcessor::from_pretrained(path) {
            Ok(video) => VideoMAEImageProcessor::new(video.options().clone()),
            Err(NoConfiguration { .. }) => return Err(error.into()),
            Err(other) => return Err(other.into()),
        },
        other => other?,
    };
    Ok(processor)
}

/// A checkpoint without a classifier is the one mistake that deserves more than a list of tensors.
fn hint(path: &Path, error: videomae::Error) -> anyhow::Error {
    let headless = matches!(&error, videomae::Error::Load(report)
        if report.missing.iter().any(|key| key.starts_with("classifier.")));
    let error = anyhow::Error::new(error);
    match headless {
        true => error.context(format!(
            "{}: this checkpoint has no classifier, so it can't name what happens; use one that was fine-tuned, such \
             as videomae-base-finetuned-kinetics",
            path.display()
        )),
        false => error,
    }
}

/// Opens a backend by name.
pub(crate) fn backend(name: &str, threads: Option<std::num::NonZeroUsize>) -> Result<Arc<dyn Backend>> {
    let options = kernels::Options { threads: threads.map(Into::into) };
    kernels::open_with(name, &options).context("`videomae backends` lists what can run here")
}
