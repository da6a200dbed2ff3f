//! `cargo xtask bench-compare`: whether a kernel became slower than the committed baseline.
//!
//! What is compared is not time but the part of the peak that an op reached, the peak being that of multiply-adds on
//! registers, measured beside it: a processor with a faster clock has both faster. The fastest repetition counts,
//! since whatever else runs on a machine only ever makes one slower, and what looks slower is measured again before
//! it is said to be.

mod baseline;
mod lines;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::{
    baseline::{Baseline, Change},
    lines::{Measurement, Speed},
};
use crate::{machine::Machine, workspace::Workspace};

/// The committed baseline.
const BASELINE: &str = "benches/baseline.json";

/// How often what looks slower is measured again.
const RETRIES: usize = 2;

/// What is measured, and what is done with it.
#[derive(Args)]
pub(crate) struct Options {
    /// Only ops whose ids match one of these, as `cargo bench kernels` takes them; ids are
    /// kernels/OP/DTYPE/ISA/SHAPE
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// Make what was measured the baseline, instead of comparing with it
    #[arg(long)]
    save: bool,

    /// How much slower, in percent, is not yet a regression. With compilers at work beside it, the same program differed by
    /// up to 20 percent, after all repetitions; on a quiet machine a smaller bound will do
    #[arg(long, value_name = "PERCENT", default_value = "20", value_parser = percent)]
    noise: f64,

    /// Take what an earlier `cargo bench kernels` printed, instead of running it
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Measures, then saves or compares. Regressions are an error.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let path = workspace.root.join(BASELINE);
    let mut measured = speeds(match &options.from {
        Some(file) => {
            let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            lines::parse(text.lines())?
        }
        None => bench(workspace, &options.filters)?,
    });
    ensure!(!measured.is_empty(), "no op was measured: expected lines `kernels/…: fastest …`, found none");
    if options.save {
        let mut baseline = if path.exists() { Baseline::load(&path)? } else { Baseline::default() };
        baseline.take(&measured, &Machine::here(&workspace.root)?);
        baseline.save(&path)?;
        eprintln!("wrote {} ops to {}", measured.len(), path.display());
        return Ok(());
    }
    let baseline = Baseline::load(&path).context("`cargo xtask bench-compare --save` makes one")?;
    let bound = 1.0 - options.noise / 100.0;
    for _ in 0..RETRIES {
        let slower = baseline.slower(&measured, bound);
        if slower.is_empty() || options.from.is_some() {
            break;
        }
        eprintln!("measuring {} again, which look slower", slower.len());
        let exact: Vec<_> = slower.iter().map(|change| format!("^{}$", change.id)).collect();
        for (id, speed) in speeds(bench(workspace, &exact)?) {
            keep_faster(&mut measured, id, speed);
        }
    }
    print!("{}", baseline.report(&measured, bound));
    let slower = baseline.slower(&measured, bound);
    if !slower.is_empty() {
        bail!("{} ops are slower than the baseline by more than {} %", slower.len(), options.noise);
    }
    Ok(())
}

/// Runs the benches, telling each line as it comes.
fn bench(workspace: &Workspace, filters: &[String]) -> Result<Vec<Measurement>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(&workspace.root)
        .args(["bench", "--quiet", "--package=kernels", "--bench=kernels", "--"])
        .args(filters)
        .stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let output = child.stdout.take().context("a piped child has a standard output")?;
    let mut printed = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.with_context(|| format!("reading what {command:?} prints"))?;
        if lines::is_measurement(&line) {
            eprintln!("{line}");
            printed.push(line);
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    lines::parse(printed.iter().map(String::as_str))
}

/// The speed of each op of ours, the fastest where one was measured twice.
fn speeds(measurements: Vec<Measurement>) -> BTreeMap<String, Speed> {
    let mut speeds = BTreeMap::new();
    for (id, speed) in lines::speeds(measurements) {
        keep_faster(&mut speeds, id, speed);
    }
    speeds
}

fn keep_faster(speeds: &mut BTreeMap<String, Speed>, id: String, speed: Speed) {
    let faster = speeds.get(&id).is_none_or(|known| Change::ratio(*known, speed) > 1.0);
    if faster {
        speeds.insert(id, speed);
    }
}

fn percent(text: &str) -> Result<f64> {
    let percent: f64 = text.parse()?;
    ensure!((0.0..100.0).contains(&percent), "expected at least 0 and less than 100, found {percent}");
    Ok(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_op_measured_twice_the_faster_counts() {
        let at = |part| Speed::OfPeak(part);
        let mut all = BTreeMap::from([("a".to_owned(), at(0.5))]);
        keep_faster(&mut all, "a".to_owned(), at(0.6));
        keep_faster(&mut all, "a".to_owned(), at(0.4));
        keep_faster(&mut all, "b".to_owned(), Speed::PeakOperations(2e6));
        keep_faster(&mut all, "b".to_owned(), Speed::PeakOperations(3e6));
        assert_eq!(all["a"], at(0.6));
        assert_eq!(all["b"], Speed::PeakOperations(2e6));
    }

    #[test]
    fn a_bound_is_a_percentage() {
        assert_eq!(percent("7.5").unwrap(), 7.5);
        for text in ["100", "-1", "NaN", "much"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
