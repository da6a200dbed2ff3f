//! Our side of `cargo xtask bench-peers`: a process that holds one model and runs it when told, as
//! `xtask/python/peer_worker.py` does for the others and with the same questions and answers.
//!
//! `forward_worker DTYPE THREADS KIND BATCH CHECKPOINT INPUTS` holds a model; `forward_worker peak THREADS` measures
//! instead, at every question, the multiply-adds on registers that this machine can do.

use std::{
    env, fs,
    io::{BufRead, Write, stdin, stdout},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use kernels::{Backend, WeightFormat, intercept::Intercepted, stopwatch::Stopwatch};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use videomae::{
    Session, VideoInputs, VideoMAEForPreTraining, VideoMAEForVideoClassification, checkpoint::LoadOptions,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["peak", threads] => measure_peak(threads.parse()?),
        [dtype, threads, kind, batch, checkpoint, inputs] => {
            let options = kernels::Options { threads: Some(threads.parse()?) };
            let stopwatch = Arc::new(Stopwatch::default());
            let backend = Intercepted::around(
                kernels::open_with("auto", &options)?,
                Arc::<Stopwatch>::clone(&stopwatch),
            );
            let clips = Clips::read(inputs, batch.parse()?)?;
            let dtype = dtype.parse().map_err(anyhow::Error::msg)?;
            serve(|| Model::load(kind, checkpoint, dtype, backend), &clips, &stopwatch)
        }
        _ => bail!("expected DTYPE THREADS KIND BATCH CHECKPOINT INPUTS, or peak THREADS"),
    }
}

/// Loads the model, warms it up, says that it is ready and then answers every line.
fn serve(load: impl FnOnce() -> Result<Model>, clips: &Clips, stopwatch: &Stopwatch) -> Result<()> {
    let start = Instant::now();
    let mut model = match load() {
        Ok(model) => model,
        Err(error) => return answer(&json!({ "unavailable": format!("{error:#}") })),
    };
    let load = start.elapsed().as_secs_f64();
    stopwatch.take();
    model.forward(&clips.select(0), clips)?;
    let operations: f64 = stopwatch.take().iter().map(|op| op.call.operations).sum();
    answer(&json!({ "ready": { "load": load, "operations": operations } }))?;
    for line in stdin().lock().lines() {
        let line = line?;
        let mut words = line.splitn(3, ' ').skip(1);
        let clip = words.next().context("expected `forward CLIP [FILE]`")?.parse()?;
        let pixel_values = clips.select(clip);
        let start = Instant::now();
        let logits = model.forward(&pixel_values, clips)?;
        let seconds = start.elapsed().as_secs_f64();
        stopwatch.take();
        if let Some(file) = words.next() {
            let bytes: Vec<u8> = logits.iter().flat_map(|value| value.to_le_bytes()).collect();
            fs::write(file, bytes).with_context(|| format!("writing {file}"))?;
        }
        answer(&json!({ "seconds": seconds }))?;
    }
    Ok(())
}

/// The best of a hundred samples at every question.
fn measure_peak(threads: usize) -> Result<()> {
    let peak = kernels::peak("auto", &kernels::Options { threads: Some(threads) })?
        .context("the fastest backend here has no peak that is known how to measure")?;
    answer(&json!({ "ready": { "load": 0.0 } }))?;
    for line in stdin().lock().lines() {
        line?;
        let start = Instant::now();
        let best = (0..100).map(|_| peak.sample()).fold(0.0, f64::max);
        answer(&json!({ "seconds": start.elapsed().as_secs_f64(), "peak": best }))?;
    }
    Ok(())
}

fn answer(value: &Value) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}

/// A model with the memory of its forward.
struct Model {
    network: Network,
    session: Session,
}

enum Network {
    Classification(Box<VideoMAEForVideoClassification>),
    PreTraining(Box<VideoMAEForPreTraining>),
}

impl Model {
    fn load(kind: &str, checkpoint: &str, dtype: WeightFormat, backend: Arc<dyn Backend>) -> Result<Self> {
        let options = LoadOptions { format: dtype, ..LoadOptions::default() };
        match kind {
            "classification" => {
                let (model, _) =
                    VideoMAEForVideoClassification::from_pretrained(checkpoint, backend, &options)?;
                Ok(Self { session: model.session()?, network: Network::Classification(Box::new(model)) })
            }
            "pretraining" => {
                let (model, _) = VideoMAEForPreTraining::from_pretrained(checkpoint, backend, &options)?;
                Ok(Self { session: model.session()?, network: Network::PreTraining(Box::new(model)) })
            }
            _ => bail!("expected classification or pretraining, found {kind}"),
        }
    }

    /// The logits of a batch.
    fn forward(&mut self, pixel_values: &[f32], clips: &Clips) -> Result<Vec<f32>> {
        let inputs = VideoInputs {
            bool_masked_pos: clips.mask.as_deref(),
            ..VideoInputs::new(pixel_values, clips.shape)
        };
        Ok(match &self.network {
            Network::Classification(model) => model.forward(&mut self.session, &inputs)?.logits.data,
            Network::PreTraining(model) => model.forward(&mut self.session, &inputs)?.logits.data,
        })
    }
}

/// All clips, from which batches are taken.
struct Clips {
    /// One after the other.
    pixel_values: Vec<f32>,
    /// `[B, T, C, H, W]` of a batch.
    shape: [usize; 5],
    /// `(B, N)` of a batch, for pre-training.
    mask: Option<Vec<bool>>,
}

impl Clips {
    fn read(path: &str, batch: usize) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {path}"))?;
        let file = SafeTensors::deserialize(&bytes)?;
        let pixels = file.tensor("pixel_values")?;
        ensure!(pixels.dtype() == Dtype::F32, "pixel_values: expected F32, found {:?}", pixels.dtype());
        let &[_, frames, channels, height, width] = pixels.shape() else {
            bail!("pixel_values: expected five dimensions, found {:?}", pixels.shape());
        };
        let (values, _) = pixels.data().as_chunks::<4>();
        // The mask is absent for classification, and one for all clips otherwise.
        let mask = file.tensor("bool_masked_pos").ok();
        Ok(Self {
            pixel_values: values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            shape: [batch, frames, channels, height, width],
            mask: mask.map(|mask| mask.data().repeat(batch).iter().map(|&hidden| hidden != 0).collect()),
        })
    }

    /// A batch that begins with clip `first` and goes round.
    fn select(&self, first: usize) -> Vec<f32> {
        let [batch, clip @ ..] = self.shape;
        let clip: usize = clip.iter().product();
        let count = self.pixel_values.len() / clip;
        (first..first + batch).flat_map(|i| &self.pixel_values[i % count * clip..][..clip]).copied().collect()
    }
}
