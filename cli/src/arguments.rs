//! The command line.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, Parser, Subcommand};

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
    /// List what can run the model on this machine
    Backends(Backends),
}

/// Each video is decoded, sampled, processed and run through the model on its own; one that fails does not stop the
/// others, and makes the exit code 1.
#[derive(Args)]
pub(crate) struct Classify {
    /// Videos: H.264 in MP4 or MOV, or frames (T, H, W, 3) of type u8 in .npy
    #[arg(required = true, value_name = "VIDEO")]
    pub(crate) videos: Vec<PathBuf>,

    /// A folder with config.json, preprocessor_config.json and safetensors weights; or "demo", the tiny model in this
    /// program, which tells ten motions of a shape apart
    #[arg(long, short, value_name = "DIR|demo")]
    pub(crate) model: String,

    /// What runs the model; `videomae backends` lists the names
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) backend: String,

    /// Threads of a CPU backend [default: RAYON_NUM_THREADS, or one per core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Labels to print, most likely first
    #[arg(long, value_name = "K", default_value = "5")]
    pub(crate) top_k: NonZeroUsize,

    /// Frames to take, spread evenly over the video: frame ⌊i·total/N⌋ [default: num_frames of the model]
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<NonZeroUsize>,

    /// Print one JSON object per line and video: video, frames, logits, labels [{label, score}], timings in seconds
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Backends {
    /// Print a JSON array of {name, available, detail}
    #[arg(long)]
    pub(crate) json: bool,
}
