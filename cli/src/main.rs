//! `videomae`: what happens in this video?
//!
//! Exit codes: 0 when everything asked for was done, 1 when something failed, 2 for wrong usage.

mod arguments;
mod backends;
mod bench;
mod checkpoint;
mod classify;
mod clip;
mod convert;
mod demo;
mod failure;
mod font;
mod head_rows;
mod hub;
mod inspect;
mod prediction;
mod processing;
mod sheet;
mod video;
mod weights;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Classify(options) => classify::run(&options),
        Command::Video(options) => video::run(&options),
        Command::Backends(options) => backends::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Convert(options) => convert::run(&options),
        Command::Inspect(options) => inspect::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", failure::text(&error));
            ExitCode::FAILURE
        }
    }
}
