//! A whole forward of ours, as a user of the library runs it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use kernels::{
    Backend, Stream, Tensor, View, WeightFormat,
    intercept::{Intercept, Intercepted},
};
use videomae::{
    ClassificationOutput, Session, VideoInputs, VideoMAEForVideoClassification, checkpoint::LoadOptions,
};

use super::worker::Runner;

/// A model with what its forward needs.
pub(super) struct Forward {
    model: VideoMAEForVideoClassification,
    session: Session,
    pixel_values: Vec<f32>,
    shape: [usize; 5],
    output: ClassificationOutput,
}

impl Forward {
    /// Loads a checkpoint in bf16. With `resident`, only the first forward brings its pixels to the device.
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        checkpoint: &Path,
        pixel_values: &Path,
        shape: [usize; 5],
        resident: bool,
    ) -> Result<Self> {
        let pixel_values = read(pixel_values, shape.iter().product())?;
        let backend = match resident {
            true => Intercepted::around(backend, Arc::new(Resident::of(size_of_val(&pixel_values[..])))),
            false => backend,
        };
        let options = LoadOptions { format: WeightFormat::Bf16, ..LoadOptions::default() };
        let (model, _) = VideoMAEForVideoClassification::from_pretrained(checkpoint, backend, &options)?;
        Ok(Self {
            session: model.session()?,
            model,
            pixel_values,
            shape,
            output: ClassificationOutput::default(),
        })
    }
}

impl Runner for Forward {
    fn run(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            let inputs = VideoInputs::new(&self.pixel_values, self.shape);
            self.model.forward_into(&mut self.session, &inputs, &mut self.output)?;
        }
        Ok(())
    }

    fn logits(&self) -> Result<Vec<f32>> {
        Ok(self.output.logits.data.clone())
    }
}

/// Lets the pixels through once. They are the same in every forward, so that nothing but the time of the copy changes.
struct Resident {
    bytes: usize,
    is_there: AtomicBool,
}

impl Resident {
    fn of(bytes: usize) -> Self {
        Self { bytes, is_there: AtomicBool::new(false) }
    }
}

impl Intercept for Resident {
    fn write(&self, s: &mut dyn Stream, src: &View<'_>, dst: &mut Tensor) -> kernels::Result<()> {
        // Nothing else that a forward writes is as large.
        if src.bytes().len() == self.bytes && self.is_there.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        s.write(src, dst)
    }
}

/// The first `count` numbers of a file.
fn read(path: &Path, count: usize) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (words, _) = bytes.as_chunks::<4>();
    ensure!(words.len() >= count, "{}: expected {count} numbers, found {}", path.display(), words.len());
    Ok(words[..count].iter().map(|&word| f32::from_le_bytes(word)).collect())
}
