//! The command line.

use std::{
    path::PathBuf,
    process::Command as Process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    bench::{Bench, Ours},
    check::{Entry, Size},
};

/// Prove the CUDA kernels of videomae on this machine's GPU, and time them beside PyTorch.
#[derive(Parser)]
#[command(name = "gpu-check", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compare every kernel with loops in f64, and whole models with the CPU backend
    Correctness,
    /// Time products, attention and whole models beside PyTorch and cuBLASLt
    Bench,
    /// Run checks in this process, as lines of JSON: what `correctness` starts for each
    One {
        /// Names, as --list shows them
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Time what standard input asks for: what `bench` starts for each contestant
    #[command(hide = true)]
    Worker { contestant: Ours },
}

/// What holds for every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where lines of JSON and tables go
    #[arg(long, global = true, value_name = "DIR", default_value = "results")]
    pub(crate) output: PathBuf,

    /// Only checks and benches whose name holds this; may be given more than once
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) only: Vec<String>,

    /// Print the names of all checks and benches, and end
    #[arg(long, global = true)]
    pub(crate) list: bool,

    /// Of all random data [default: from the clock]
    #[arg(long, global = true, value_name = "N", default_value_t = fresh_seed(), hide_default_value = true)]
    pub(crate) seed: u64,

    /// The number of the GPU
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    pub(crate) device: usize,

    /// How large the operands are
    #[arg(long, global = true, value_enum, default_value_t = Size::Model)]
    pub(crate) size: Size,

    /// Seconds that a check or an answer of a bench may take, before its process is killed. A first launch compiles
    /// kernels, and a comparison loop in f64 takes a second or two
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds, default_value = "120")]
    pub(crate) timeout: Duration,

    /// Seconds that the whole command may take. What is left then is reported as not run
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds, default_value = "570")]
    pub(crate) time_limit: Duration,

    /// NVIDIA's checker of memory and races, if it is installed; "none" leaves it out
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "compute-sanitizer")]
    pub(crate) compute_sanitizer: PathBuf,

    /// The Python that has PyTorch, if there is one; "none" leaves it out
    #[arg(long, global = true, value_name = "PROGRAM", default_value = "python3")]
    pub(crate) python: PathBuf,

    /// cuBLASLt, if it is not where libraries are, nor where PyTorch has it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cublaslt: Option<PathBuf>,

    /// Rounds of a bench; each contestant runs once in a round
    #[arg(long, global = true, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Put a mistake into every check, to see that it is noticed
    #[arg(long, global = true, value_enum)]
    pub(crate) plant: Option<Plant>,
}

/// A mistake on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plant {
    /// Something else is expected
    Wrong,
    /// The check does not come to an end
    Hang,
    /// The process of the check crashes
    Crash,
}

/// What will run.
pub(crate) struct Plan {
    pub(crate) checks: Vec<Entry>,
    pub(crate) benches: Vec<Bench>,
}

impl Plan {
    /// The names of all of it, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let checks = self.checks.iter().map(Entry::name);
        checks.chain(self.benches.iter().map(|bench| bench.name.clone()))
    }
}

impl Options {
    /// The checks and benches that were asked for.
    ///
    /// # Errors
    /// When `--only` leaves nothing.
    pub(crate) fn plan(&self, checks: bool, benches: bool) -> Result<Plan> {
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|part| name.contains(part));
        let mut plan = Plan {
            checks: if checks { Entry::all() } else { Vec::new() },
            benches: if benches { Bench::all(self.size) } else { Vec::new() },
        };
        let known: Vec<_> = plan.names().collect();
        plan.checks.retain(|entry| wanted(&entry.name()));
        plan.benches.retain(|bench| wanted(&bench.name));
        if plan.names().next().is_none() {
            bail!(
                "expected --only to be a part of one of {}; found {}",
                known.join(", "),
                self.only.join(", ")
            );
        }
        Ok(plan)
    }

    /// This program, to run another command under the same options.
    pub(crate) fn child(&self, command: &str) -> Result<Process> {
        let mut process = Process::new(std::env::current_exe().context("finding this program")?);
        process.args([command, "--seed", &self.seed.to_string(), "--device", &self.device.to_string()]);
        if self.size == Size::Small {
            process.args(["--size", "small"]);
        }
        if let Some(plant) = self.plant.as_ref().and_then(ValueEnum::to_possible_value) {
            process.args(["--plant", plant.get_name()]);
        }
        process.arg("--python").arg(&self.python);
        if let Some(cublaslt) = &self.cublaslt {
            process.arg("--cublaslt").arg(cublaslt);
        }
        Ok(process)
    }
}

/// Nobody can have chosen it.
fn fresh_seed() -> u64 {
    // Before 1970 there is still a seed.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let found = || format!("expected a number of seconds above 0, found {text:?}");
    let seconds: f64 = text.parse().map_err(|_| found())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(found)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn options(arguments: &[&str]) -> Options {
        Arguments::try_parse_from([&["gpu-check"], arguments].concat()).unwrap().options
    }

    #[test]
    fn the_command_line_is_sound_and_options_may_follow_a_command() {
        Arguments::command().debug_assert();
        assert_eq!(options(&["correctness", "--seed", "7"]).seed, 7);
        assert_eq!(options(&["--time-limit", "0.5"]).time_limit, Duration::from_millis(500));
        for bad in ["0", "-1", "soon", "inf"] {
            assert!(Arguments::try_parse_from(["gpu-check", &format!("--timeout={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_is_a_part_of_a_name_and_one_that_fits_nothing_is_told_the_names() {
        let plan = options(&["--only", "layer_norm/", "--only", "cast/f16"]).plan(true, true).unwrap();
        let names: Vec<_> = plan.names().collect();
        assert_eq!(names, ["cast/f16", "layer_norm/f32", "layer_norm/bf16", "layer_norm/f16"]);
        let error = options(&["--only", "nothing"]).plan(true, false).err().unwrap().to_string();
        assert!(error.contains("cast/f32, ") && error.ends_with("found nothing"), "{error}");
    }
}
