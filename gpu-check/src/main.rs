//! `gpu-check`: one program that is carried to a machine with an NVIDIA GPU, proves the CUDA kernels there and times them.
//!
//! ```sh
//! cargo build --release -p gpu-check             # on any machine with Rust
//! ./gpu-check --output results/                  # on the GPU machine, which needs a driver and nothing else
//! ```
//!
//! Without a command it does both of these, in turn:
//! - `correctness` compares every kernel with loops in f64, on fresh random data whose seed it prints, and whole models with
//!   the CPU backend. Each check has a process and a time-out of its own, so a crash, a hang or an error that sticks to the
//!   device is one line of the report. Where `compute-sanitizer` is there, small sizes run under it too.
//! - `bench` times products, attention and whole models, round by round beside PyTorch and cuBLASLt, where they are there.
//!
//! Results are lines of JSON, written as they come, and a table at the end. A command ends within `--time-limit` and says
//! what it did not come to; `--only` and `--list` help to divide the work.
//!
//! Exit codes: 0 when all that was asked for ran and every check passed, 1 when not, 2 for wrong usage.

mod arguments;
mod bench;
mod check;
mod child;
mod clock;
mod correctness;
mod machine;
mod one;
mod record;
mod sanitizer;
mod weights;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{
    arguments::{Arguments, Command},
    clock::Deadline,
    machine::Machine,
    record::Report,
};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Command::One { names }) => one::run(&arguments.options, names),
        Some(Command::Worker { contestant }) => bench::worker::run(&arguments.options, *contestant),
        command => run(&arguments, command.as_ref()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gpu-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything ran and passed.
fn run(arguments: &Arguments, command: Option<&Command>) -> Result<bool> {
    let options = &arguments.options;
    let checks = !matches!(command, Some(Command::Bench));
    let benches = !matches!(command, Some(Command::Correctness));
    let plan = options.plan(checks, benches)?;
    if options.list {
        plan.names().for_each(|name| println!("{name}"));
        return Ok(true);
    }
    let deadline = Deadline::after(options.time_limit);
    let machine = Machine::here(options)?;
    println!("{machine}");
    let mut report = Report::new(&machine, options)?;
    if checks {
        correctness::run(&plan.checks, options, &machine, deadline, &mut report)?;
    }
    if benches {
        bench::run(&plan.benches, options, &machine, deadline, &mut report)?;
    }
    report.finish()
}
