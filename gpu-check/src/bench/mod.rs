//! `gpu-check bench`: who is how fast, round by round.
//!
//! Every contestant is a process that prepares a task and then runs it when told. In each round all of them run, one after
//! the other, the round beginning with another one each time; so all see the same clocks and the same heat, and a ratio of
//! two times of one round says more than a ratio of two runs. A run is many repetitions that end with a wait for the
//! device; a forward ends with its logits in host memory, as a user has them.

mod contestant;
mod cublaslt;
mod forward;
mod materials;
mod rounds;
mod table;
mod task;
pub(crate) mod worker;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use serde_json::json;

pub(crate) use self::table::COLUMNS;
use self::{
    contestant::{Contestant, Who},
    materials::Materials,
    task::Subject,
};
use crate::{
    arguments::Options,
    check::Size,
    clock::Deadline,
    machine::Machine,
    record::{Kind, Line, Report, Status},
};

/// Contestants that this program is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ours {
    /// The kernels for compute capability 8.0 and up
    Cuda,
    /// Those for 9.0
    Hopper,
    /// NVIDIA's library
    Cublaslt,
}

/// Something to be timed.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// `gemm/base/qkv`, `base/8`
    pub(crate) name: String,
    subject: Subject,
}

impl Bench {
    /// All of them, in the order they run: whole models last, since their compilation takes longest.
    pub(crate) fn all(size: Size) -> Vec<Self> {
        Subject::all(size).into_iter().map(|(name, subject)| Self { name, subject }).collect()
    }
}

/// Times what was asked for.
pub(crate) fn run(
    benches: &[Bench],
    options: &Options,
    machine: &Machine,
    deadline: Deadline,
    report: &mut Report,
) -> Result<()> {
    if benches.is_empty() {
        return Ok(());
    }
    let mut contestants = Vec::new();
    for who in Who::ALL.into_iter().filter(|who| benches.iter().any(|bench| who.takes_part(&bench.subject))) {
        let started = Instant::now();
        let contestant = Contestant::start(who, options, machine, deadline);
        // Ours is there or is a failure of each bench; what others lack is said once.
        let (status, text) = match contestant.opening() {
            Ok(text) => (Status::Ready, text.to_owned()),
            Err(reason) => (Status::Skipped, reason.to_owned()),
        };
        let detail = json!({ "text": text });
        let (name, took) = (who.title().to_owned(), started.elapsed());
        report.add(Line { kind: Kind::Contestant, name, status, took, cells: vec![text], detail })?;
        contestants.push(contestant);
    }
    let mut materials = Materials::new(options)?;
    for bench in benches {
        let started = Instant::now();
        let line = match deadline.left() < Duration::from_secs(5) {
            true => table::plain(bench, Status::NotRun, "the time of this command was spent".to_owned()),
            false => one(bench, &mut contestants, &mut materials, options, deadline),
        };
        report.add(Line { took: started.elapsed(), ..line })?;
    }
    Ok(())
}

/// One bench; what goes wrong with it is its line.
fn one(
    bench: &Bench,
    contestants: &mut [Contestant],
    materials: &mut Materials,
    options: &Options,
    deadline: Deadline,
) -> Line {
    let measured = materials
        .task(&bench.subject, options)
        .and_then(|task| rounds::measure(bench, &task, contestants, options, deadline));
    match measured {
        Ok(measured) => table::line(bench, &measured),
        Err(error) => table::plain(bench, Status::Failed, format!("{error:#}")),
    }
}
