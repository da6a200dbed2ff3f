//! The files that contestants share: a checkpoint of random weights, and pixels.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use videomae::checkpoint::{Architecture, SaveOptions, save_pretrained};

use super::task::{Model, Subject, Task};
use crate::{arguments::Options, check::Noise, weights::RandomWeights};

/// Files in a folder that goes with this.
pub(super) struct Materials {
    folder: TempDir,
    /// By what they are: a name, and for pixels their number.
    made: HashMap<(String, usize), PathBuf>,
}

impl Materials {
    /// Nothing yet.
    pub(super) fn new(options: &Options) -> Result<Self> {
        // Beside the results there is room; a temporary folder may lie in memory.
        let folder = tempfile::Builder::new().prefix(".bench-").tempdir_in(&options.output);
        Ok(Self { folder: folder.context("making a folder for a checkpoint")?, made: HashMap::new() })
    }

    /// The task of a bench, whose files are there.
    pub(super) fn task(&mut self, subject: &Subject, options: &Options) -> Result<Task> {
        match *subject {
            Subject::Op(ref task) => Ok(task.clone()),
            Subject::Forward { model, batch, resident, .. } => {
                let config = model.config(options.size);
                let image = config.image_size;
                let shape = [batch, config.num_frames, config.num_channels, image.height, image.width];
                let pixel_values = self.pixels(shape.iter().product(), options.seed)?;
                Ok(Task::Forward {
                    checkpoint: self.checkpoint(model, options)?,
                    pixel_values,
                    shape,
                    resident,
                })
            }
        }
    }

    fn checkpoint(&mut self, model: Model, options: &Options) -> Result<PathBuf> {
        let key = (format!("{model:?}").to_lowercase(), 0);
        if let Some(path) = self.made.get(&key) {
            return Ok(path.clone());
        }
        let path = self.folder.path().join(&key.0);
        let config = model.config(options.size);
        let weights = RandomWeights::new(&config, Architecture::VideoClassification, options.seed)?;
        let architecture = Architecture::VideoClassification;
        save_pretrained(&path, &config, architecture, &weights, &SaveOptions::default())?;
        // A worker has a folder of its own.
        let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
        self.made.insert(key, path.clone());
        Ok(path)
    }

    fn pixels(&mut self, count: usize, seed: u64) -> Result<PathBuf> {
        let key = ("pixel_values".to_owned(), count);
        if let Some(path) = self.made.get(&key) {
            return Ok(path.clone());
        }
        let path = self.folder.path().join(format!("pixel_values-{count}"));
        let written = File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            // Normalised pixels lie about within ±2.
            for x in Noise::new(seed, "pixel_values").signed(count) {
                file.write_all(&(2.0 * x).to_le_bytes())?;
            }
            file.flush()
        });
        written.with_context(|| format!("writing {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
        self.made.insert(key, path.clone());
        Ok(path)
    }
}
