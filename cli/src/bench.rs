//! `videomae bench`.

mod report;

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use kernels::{Backend, Peak, intercept::Intercepted, stopwatch::Stopwatch};
use videomae::{
    Session, VideoInputs, VideoMAEConfig, VideoMAEForVideoClassification,
    checkpoint::{Architecture, FreshWeights, LoadOptions},
};

use self::report::{Measured, Report};
use crate::{arguments::Running, checkpoint};

/// Runs a classifier on random pixels. Between its forwards the peak of the machine is measured, so that both see the
/// same clock and the same neighbours.
#[derive(Args)]
pub(crate) struct Bench {
    /// A published size with random weights: small, base, large or huge; else a model as `classify` takes it
    #[arg(long, short, value_name = "SIZE|DIR|NAME|demo", default_value = "base")]
    model: String,

    /// Branch, tag or commit of a model on the hub [default: main]
    #[arg(long, value_name = "REV")]
    revision: Option<String>,

    #[command(flatten)]
    running: Running,

    /// Clips of a forward
    #[arg(long, value_name = "B", default_value = "1")]
    batch: NonZeroUsize,

    /// Forwards to measure, after one that is not
    #[arg(long, value_name = "N", default_value = "5")]
    runs: NonZeroUsize,

    /// Print a JSON object, times in seconds, memory in bytes
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Bench) -> Result<()> {
    let progress = ProgressBar::new(options.runs.get() as u64 + 1);
    progress.enable_steady_tick(Duration::from_millis(100));
    let threads = kernels::Options { threads: options.running.threads.map(Into::into) };
    let peak = kernels::peak(&options.running.backend, &threads)
        .context("`videomae backends` lists what can run here")?;
    let stopwatch = Arc::new(Stopwatch::default());
    let backend = checkpoint::backend(&options.running.backend, options.running.threads)?;
    let backend = Intercepted::around(backend, Arc::<Stopwatch>::clone(&stopwatch));
    let start = Instant::now();
    let (model, is_random) = open(options, backend, &progress)?;
    // Random weights are drawn while they are packed, so that their load says nothing.
    let load = (!is_random).then(|| start.elapsed());
    let mut bench = Forward::new(model, options.batch.get())?;
    bench.run()?;
    progress.inc(1);
    stopwatch.take();
    let mut measured = Measured::default();
    for _ in 0..options.runs.get() {
        measured.peak = measured.peak.max(sample(peak.as_ref()));
        let elapsed = bench.run()?;
        measured.add(elapsed, &stopwatch.take());
        progress.inc(1);
    }
    measured.peak = measured.peak.max(sample(peak.as_ref()));
    progress.finish_and_clear();
    let report = Report {
        model: options.model.clone(),
        backend: bench.session.backend_name().to_owned(),
        dtype: bench.model.format().to_string(),
        threads: peak.as_ref().map(Peak::threads),
        shape: bench.shape,
        load: load.map(|load| load.as_secs_f64()),
        peak_memory: peak_memory(),
        measured,
    };
    match options.json {
        true => println!("{}", serde_json::to_string(&report.to_json())?),
        false => print!("{report}"),
    }
    Ok(())
}

/// The model, and whether its weights are random.
fn open(
    options: &Bench,
    backend: Arc<dyn Backend>,
    progress: &ProgressBar,
) -> Result<(VideoMAEForVideoClassification, bool)> {
    let config = match options.model.as_str() {
        "small" => VideoMAEConfig::small(),
        "base" => VideoMAEConfig::base(),
        "large" => VideoMAEConfig::large(),
        "huge" => VideoMAEConfig::huge(),
        name => {
            let loaded = checkpoint::load(
                name,
                options.revision.as_deref(),
                backend,
                options.running.dtype,
                progress,
            )?;
            return Ok((loaded.model, false));
        }
    };
    // As many labels as Kinetics-400 has, and the pooling of the published classifiers.
    let config = VideoMAEConfig { use_mean_pooling: true, ..config }.with_num_labels(400);
    let weights = FreshWeights::new(&config, Architecture::VideoClassification, 0)?;
    let options = LoadOptions { format: options.running.dtype, ..LoadOptions::default() };
    let (model, _) = VideoMAEForVideoClassification::from_weights(config, &weights, backend, &options)?;
    Ok((model, true))
}

/// A model with what its forward needs.
struct Forward {
    model: VideoMAEForVideoClassification,
    session: Session,
    pixel_values: Vec<f32>,
    /// `(B, T, C, H, W)`
    shape: [usize; 5],
}

impl Forward {
    fn new(model: VideoMAEForVideoClassification, batch: usize) -> Result<Self> {
        let config = model.config();
        let (height, width) = (config.image_size.height, config.image_size.width);
        let shape = [batch, config.num_frames, config.num_channels, height, width];
        // The golden ratio's multiples fill the interval evenly; normalised pixels lie about within ±2.
        let pixel = |i: usize| ((i as f64 * 0.618_033_988_749_895).fract() * 4.0 - 2.0) as f32;
        let pixel_values = (0..shape.iter().product()).map(pixel).collect();
        Ok(Self { session: model.session()?, model, pixel_values, shape })
    }

    fn run(&mut self) -> Result<Duration> {
        let inputs = VideoInputs::new(&self.pixel_values, self.shape);
        let start = Instant::now();
        self.model.forward(&mut self.session, &inputs)?;
        Ok(start.elapsed())
    }
}

/// The largest of some short samples, since anything else that runs makes one smaller.
fn sample(peak: Option<&Peak>) -> f64 {
    const SAMPLES: usize = 100;
    peak.map_or(0.0, |peak| (0..SAMPLES).map(|_| peak.sample()).fold(0.0, f64::max))
}

/// The most memory this process has had at once, where the system tells it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
