//! Chores of this workspace, run as `cargo xtask <command>`.
//!
//! Whatever needs Python runs in an environment of its own, see [`python`]; nothing else in the workspace needs it.

mod bench_compare;
mod bench_peers;
mod build;
mod cuda;
mod files;
mod gen_fixtures;
mod inner_loops;
mod machine;
mod make_demo;
mod python;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::python::Environment;
use crate::workspace::Workspace;

/// Chores of this workspace.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the benches of the kernels and report what became slower than the committed baseline
    BenchCompare(bench_compare::Options),
    /// Time this program beside PyTorch, ONNX Runtime and OpenVINO
    BenchPeers(bench_peers::Options),
    /// Compile the CUDA kernels to the PTX that is committed, or check it
    Cuda(cuda::Options),
    /// Make or check the fixtures of the tests
    GenFixtures(gen_fixtures::Options),
    /// Look in the machine code of a release for register tiles that are not in registers
    InnerLoops(inner_loops::Options),
    /// Render and encode the clips of fixtures/clips, train the checkpoint of cli/demo
    MakeDemo(make_demo::Options),
    /// Check the rules of this workspace that no other tool knows
    Tidy,
    /// Make the pinned Python environment and run a command of it, its interpreter by default
    Python {
        /// Arguments for the interpreter
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let workspace = Workspace::find()?;
    match arguments.command {
        Command::BenchCompare(options) => bench_compare::run(&workspace, &options)?,
        Command::BenchPeers(options) => bench_peers::run(&workspace, &options)?,
        Command::Cuda(options) => cuda::run(&workspace, &options)?,
        Command::GenFixtures(options) => gen_fixtures::run(&workspace, &options)?,
        Command::InnerLoops(options) => inner_loops::run(&workspace, &options)?,
        Command::MakeDemo(options) => make_demo::run(&workspace, &options)?,
        Command::Tidy => tidy::run(&workspace)?,
        Command::Python { arguments } => {
            Environment::open(&workspace)?.run(arguments)?;
        }
    }
    Ok(())
}
