//! Whole programs: from the start of a process to the label it prints.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{peers::Case, preparation::Preparation, results::ColdStart};

/// Runs of each, in turns, after one that is not counted and puts the files into the page cache.
const ROUNDS: usize = 3;

/// The clip of fixtures/clips that is classified.
const VIDEO: &str = "left.mp4";

/// Two programs must print scores as near as this, of the largest: the sums of f32 in another order.
const LARGEST_ERROR: f64 = 1e-4;

/// Of what both print, the scores.
#[derive(Deserialize)]
struct Printed {
    logits: Vec<f64>,
}

/// Times `videomae classify` and a script with transformers, on the same checkpoint and video.
pub(super) fn measure(
    root: &Path,
    preparation: &Preparation<'_>,
    case: &Case,
    program: &Path,
) -> Result<ColdStart> {
    let video = root.join("fixtures/clips").join(VIDEO);
    let threads = case.threads.to_string();
    let ours = || {
        let mut command = Command::new(program);
        command.args(["classify", "--json", "--threads", &threads, "--model"]);
        command.arg(preparation.checkpoint()).arg(&video);
        command
    };
    let python = || {
        let mut command = preparation.plain_script("peer_cold_start.py");
        command.arg(preparation.checkpoint()).arg(&video).arg(&threads);
        command
    };
    let mut cold = ColdStart { video: VIDEO.to_owned(), ours: Vec::new(), python: Vec::new() };
    for round in 0..=ROUNDS {
        let (ours_seconds, ours_printed) = time(&mut ours())?;
        let (python_seconds, python_printed) = time(&mut python())?;
        check(&ours_printed.logits, &python_printed.logits)?;
        eprintln!("cold start: ours {ours_seconds:.2} s, transformers {python_seconds:.2} s");
        if round > 0 {
            cold.ours.push(ours_seconds);
            cold.python.push(python_seconds);
        }
    }
    Ok(cold)
}

/// Seconds until a process prints its line, and the line.
fn time(command: &mut Command) -> Result<(f64, Printed)> {
    let start = Instant::now();
    // What it says besides is of interest only if it fails, and then it is on the terminal.
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("{command:?}"))?;
    let output = child.stdout.take().context("a piped child has a standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).with_context(|| format!("{command:?}"))?;
    let seconds = start.elapsed().as_secs_f64();
    let status = child.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    let printed = serde_json::from_str(&line).with_context(|| format!("{command:?} printed `{line}`"))?;
    Ok((seconds, printed))
}

fn check(ours: &[f64], theirs: &[f64]) -> Result<()> {
    ensure!(
        ours.len() == theirs.len(),
        "cold start: {} logits of ours, {} of theirs",
        ours.len(),
        theirs.len()
    );
    let scale = theirs.iter().fold(0.0, |largest: f64, logit| largest.max(logit.abs()));
    for (class, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let is_near = (a - b).abs() <= LARGEST_ERROR * scale;
        ensure!(is_near, "cold start: logit {class} of {VIDEO}: ours {a}, transformers {b}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_logits_are_an_error_that_names_the_class() {
        assert!(check(&[1.0, -8.0], &[1.000_1, -8.0]).is_ok());
        let error = check(&[1.0, -8.0], &[1.001, -8.0]).unwrap_err().to_string();
        assert!(error.contains("logit 0") && error.contains("1.001"), "{error}");
        assert!(check(&[f64::NAN], &[1.0]).is_err());
        assert!(check(&[1.0], &[1.0, 2.0]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_line_counts_and_a_failure_after_it_is_an_error() {
        let mut command = Command::new("sh");
        let (_, printed) = time(command.args(["-c", r#"echo '{"logits":[1,2]}'"#])).unwrap();
        assert_eq!(printed.logits, [1.0, 2.0]);
        let mut command = Command::new("sh");
        assert!(time(command.args(["-c", r#"echo '{"logits":[1]}'; exit 2"#])).is_err());
    }
}
