//! `cargo xtask bench-peers`: this implementation beside PyTorch, ONNX Runtime and OpenVINO, on one checkpoint and the
//! same clips.
//!
//! Every peer lives in a process of its own that does nothing unless it is asked for a forward. First all are compared
//! with PyTorch in f32, so that only equal computations are timed; then they take turns, one forward of each in every
//! round, so that all see the same clock and the same neighbours. What is prepared once stays in the build directory.

mod agreement;
mod cold_start;
mod measurement;
mod peers;
mod plot;
mod preparation;
mod results;
mod statistics;
mod table;
mod worker;

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::{
    peers::{Case, Kind, Size},
    preparation::Preparation,
    results::Results,
};
use crate::{
    build, files,
    machine::{Machine, physical_cores},
    workspace::Workspace,
};

/// Who is compared, and on what.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these besides ours: names, or how they begin (`openvino,pytorch-f32`); `ours` is nobody else. Then files are
    /// written with --out only
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    only: Vec<String>,

    /// Forwards of each
    #[arg(long, value_name = "N", default_value = "9")]
    rounds: NonZeroUsize,

    /// Threads of each [default: the physical cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Published size, with hashed weights and 400 labels
    #[arg(long, value_enum, default_value = "base")]
    model: Size,

    /// Clips of a forward
    #[arg(long, value_name = "B", default_value = "1")]
    batch: NonZeroUsize,

    /// Frames of a clip, an even number
    #[arg(long, value_name = "T", default_value = "16", value_parser = frames)]
    frames: usize,

    /// Pre-training with nine tokens in ten hidden, which only PyTorch runs besides us
    #[arg(long)]
    pretraining: bool,

    /// Do not time whole programs
    #[arg(long)]
    no_cold_start: bool,

    /// Folder of the table and the plot [default: benches/results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print a JSON object instead of the table, times in seconds, memory in bytes
    #[arg(long)]
    json: bool,
}

/// Measures and writes.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let case = options.case()?;
    let peers = peers::select(&options.only, &case)?;
    eprintln!("building the release program");
    let worker = build::executable(workspace, &["--release", "--package=xtask", "--example=forward_worker"])?;
    let preparation = Preparation::new(workspace, &case)?;
    let rounds = options.rounds.get();
    let measurement = measurement::measure(&preparation, &peers, &case, rounds, &worker)?;
    let times_programs = !options.no_cold_start && case.kind == Kind::Classification;
    let cold_start = match times_programs {
        true => {
            let program =
                build::executable(workspace, &["--release", "--package=videomae-cli", "--bin=videomae"])?;
            Some(cold_start::measure(&workspace.root, &preparation, &case, &program)?)
        }
        false => None,
    };
    let results = Results {
        machine: Machine::here(&workspace.root)?,
        versions: versions(&workspace.root)?,
        case,
        rounds,
        operations: measurement.operations,
        peak: measurement.peak,
        rows: measurement.rows,
        cold_start,
    };
    let name = format!("{}-peers{}", results.machine.date, results.case.suffix());
    let table = table::markdown(&results, &format!("{name}.svg"));
    if let Some(folder) = options.folder(&workspace.root) {
        write(&folder.join(format!("{name}.svg")), &plot::svg(&results))?;
        write(&folder.join(format!("{name}.md")), &table)?;
    }
    match options.json {
        true => println!("{}", results.to_json()),
        false => print!("{table}"),
    }
    Ok(())
}

impl Options {
    fn case(&self) -> Result<Case> {
        let threads = match self.threads {
            Some(threads) => threads.get(),
            None => physical_cores()?,
        };
        let kind = if self.pretraining { Kind::Pretraining } else { Kind::Classification };
        Ok(Case { size: self.model, kind, frames: self.frames, batch: self.batch.get(), threads })
    }

    /// Where files go. A choice of peers is an experiment, and not what the results of a day are.
    fn folder(&self, root: &Path) -> Option<PathBuf> {
        let usual = || self.only.is_empty().then(|| root.join("benches/results"));
        self.out.clone().or_else(usual)
    }
}

/// A tubelet holds two frames.
fn frames(text: &str) -> Result<usize> {
    let frames: usize = text.parse()?;
    ensure!(frames > 0 && frames.is_multiple_of(2), "expected a positive even number, found {frames}");
    Ok(frames)
}

/// The pinned versions of the peers, `name version`.
fn versions(root: &Path) -> Result<Vec<String>> {
    let read = |file: &str| {
        let path = root.join("xtask/python").join(file);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let pinned = read("requirements.txt")? + &read("requirements-peers.txt")?;
    ["torch", "transformers", "onnxruntime", "openvino", "nncf"]
        .iter()
        .map(|&name| {
            let line = pinned.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("=="));
            Ok(format!("{name} {}", line.with_context(|| format!("{name} is not pinned"))?))
        })
        .collect()
}

/// Writes a file of results and says where.
fn write(path: &Path, text: &str) -> Result<()> {
    files::replace(path, text)?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests;
