//! The command line.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use kernels::WeightFormat;
use videomae_preprocess::{
    VideoOptions,
    decode::Decoder,
    sample::{SampleMode, Sampler},
};

use crate::processing::ProcessingOptions;

/// Classify videos with VideoMAE.
#[derive(Parser)]
#[command(name = "videomae", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Tell what happens in videos
    Classify(Classify),
    /// Show what a video holds and which frames are taken from it
    Video(crate::video::Video),
    /// List what can run the model on this machine
    Backends(Backends),
    /// Measure how fast a model runs here, op by op, against the peak of the machine
    Bench(crate::bench::Bench),
    /// Write a checkpoint of any kind as transformers has it
    Convert(crate::convert::Convert),
    /// Tell what a checkpoint holds, what is wrong with it and what it is good for
    Inspect(crate::inspect::Inspect),
}

/// Each video is decoded, sampled, processed and run through the model on its own; one that fails does not stop the
/// others, and makes the exit code 1.
#[derive(Args)]
pub(crate) struct Classify {
    /// Videos: H.264 or HEVC in MP4, MOV or Matroska, VP9 in WebM, GIF, a folder of JPEG, PNG or WebP pictures, frames
    /// (T, H, W, 3) of type u8 in .npy; and everything else that an ffmpeg program can read, if one is installed
    #[arg(required = true, value_name = "VIDEO")]
    pub(crate) videos: Vec<PathBuf>,

    /// A folder with config.json, preprocessor_config.json and weights; a name on the Hugging Face hub, such as
    /// MCG-NJU/videomae-base-finetuned-kinetics, downloaded once; or "demo", the tiny model in this program, which
    /// tells ten motions of a shape apart
    #[arg(long, short, value_name = "DIR|NAME|demo")]
    pub(crate) model: String,

    /// Branch, tag or commit of a model on the hub [default: main]
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,

    #[command(flatten)]
    pub(crate) running: Running,

    /// Labels to print, most likely first
    #[arg(long, value_name = "K", default_value = "5")]
    pub(crate) top_k: NonZeroUsize,

    #[command(flatten)]
    pub(crate) sampling: Sampling,

    #[command(flatten)]
    pub(crate) decoding: Decoding,

    #[command(flatten)]
    pub(crate) processing: ProcessingOptions,

    /// Print one JSON object per line and video: video, frames, logits, labels [{label, score}], timings in seconds;
    /// with --clips or several views also clips [{frames, view, logits}], whose mean is logits
    #[arg(long)]
    pub(crate) json: bool,
}

/// What runs a model, and how.
#[derive(Args)]
pub(crate) struct Running {
    /// What runs the model; `videomae backends` lists the names
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) backend: String,

    /// Threads of a CPU backend [default: RAYON_NUM_THREADS, or one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Precision of the linear layers: f32, bf16 (half the memory) or int8 (a quarter; scores differ a little, and labels
    /// rarely); f16 on the backend "reference" only
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub(crate) dtype: WeightFormat,
}

/// How videos are read.
#[derive(Args)]
pub(crate) struct Decoding {
    /// What decodes: auto, builtin, ffmpeg (the program that VIDEOMAE_FFMPEG names, or in PATH) or libav (FFmpeg's
    /// libraries in this process, the fastest, for files that are trusted; if compiled in). auto takes ffmpeg for what
    /// builtin does not know or fails at
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) decoder: Decoder,

    /// Leave pictures as they are coded, even if the file says that they lie on their side
    #[arg(long)]
    pub(crate) no_autorotate: bool,

    /// Frames a second of folders and .npy files, which do not tell; for --sampling seconds:…
    #[arg(long, value_name = "FPS", value_parser = frame_rate)]
    pub(crate) frame_rate: Option<f64>,
}

impl Decoding {
    /// The options of the library.
    pub(crate) fn options(&self) -> VideoOptions {
        let mut options = VideoOptions::default();
        options.decoder = self.decoder;
        options.autorotate = !self.no_autorotate;
        options.frame_rate = self.frame_rate;
        options
    }
}

/// A rate that times can be computed from.
fn frame_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected a positive number of frames a second".to_owned())
}

/// Which frames are taken.
#[derive(Args)]
pub(crate) struct Sampling {
    /// Frames of a clip [default: num_frames of the model, or as many as --sampling lists]
    #[arg(long, value_name = "T")]
    pub(crate) frames: Option<NonZeroUsize>,

    /// How they are chosen: uniform (spread evenly: frame ⌊i·total/T⌋), pipeline (the first ones), guide, pretrain,
    /// dense and sparse (the official tests for Kinetics and Something-Something), dense-train, dense-validation,
    /// sparse-train, sparse-validation, indices:3,7,…, seconds:0.5,1,…
    #[arg(long, value_name = "MODE", default_value = "uniform")]
    pub(crate) sampling: SampleMode,

    /// From one frame taken to the next [default: 4 for dense and pretrain, 1 for pipeline and guide; others have none]
    #[arg(long, value_name = "R")]
    pub(crate) stride: Option<NonZeroUsize>,

    /// Clips to take from each video, with dense, sparse and the random modes; scores are the mean of those of the
    /// clips. The paper takes 5 with dense and 2 with sparse
    #[arg(long, value_name = "K", default_value = "1")]
    pub(crate) clips: NonZeroUsize,

    /// What the random modes draw from
    #[arg(long, value_name = "SEED", default_value = "0")]
    pub(crate) seed: u64,
}

impl Sampling {
    /// With `default_frames` where neither the option nor the mode says how many.
    pub(crate) fn sampler(&self, default_frames: usize) -> Sampler {
        let listed = self.sampling.len_of_list().unwrap_or(default_frames);
        Sampler {
            mode: self.sampling.clone(),
            num_frames: self.frames.map_or(listed, Into::into),
            stride: self.stride.map(Into::into),
            num_clips: self.clips.into(),
            seed: self.seed,
        }
    }
}

#[derive(Args)]
pub(crate) struct Backends {
    /// Print a JSON array of {name, available, detail}
    #[arg(long)]
    pub(crate) json: bool,
}
