//! compute-sanitizer, where it is installed: invalid memory, races between threads, barriers that not all threads reach.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    arguments::Options,
    check::{Entry, Size},
    child::{Answer, Process},
    clock::Deadline,
    record::{Kind, Line, Report, Status},
};

/// Its tools. `initcheck` is left out: outputs are written whole before every op, by the poison.
const TOOLS: [&str; 3] = ["memcheck", "racecheck", "synccheck"];

/// With which it ends when it has found something; not used by a check.
const FOUND: i32 = 86;

/// Where a CUDA toolkit puts it without adding it to the path.
const INSTALLED: &str = "/usr/local/cuda/bin/compute-sanitizer";

/// Runs small sizes of some entries under every tool, the types of a kernel together.
pub(crate) fn run(
    entries: &[Entry],
    options: &Options,
    deadline: Deadline,
    report: &mut Report,
) -> Result<()> {
    if options.compute_sanitizer == Path::new("none") || entries.is_empty() {
        return Ok(());
    }
    let Some(program) = find(&options.compute_sanitizer) else {
        let says =
            format!("{} is not installed, so nothing was run under it", options.compute_sanitizer.display());
        return report.add(line("compute-sanitizer", Status::Skipped, Duration::ZERO, says));
    };
    let mut subjects: Vec<&str> = entries.iter().map(Entry::subject).collect();
    subjects.dedup();
    for tool in TOOLS {
        for subject in &subjects {
            let names = entries.iter().filter(|entry| entry.subject() == *subject).map(Entry::name);
            let log = report.beside(&format!("{tool}.{subject}.log"));
            let started = Instant::now();
            let (status, says) = match deadline.left() < Duration::from_secs(1) {
                true => (Status::NotRun, "the time of this command was spent".to_owned()),
                false => one(&program, tool, names.collect(), options, &log, deadline)?,
            };
            report.add(line(&format!("{subject} {tool}"), status, started.elapsed(), says))?;
        }
    }
    Ok(())
}

fn line(name: &str, status: Status, took: Duration, says: String) -> Line {
    let detail = json!({ "text": says });
    Line { kind: Kind::Sanitizer, name: name.to_owned(), status, took, cells: vec![says], detail }
}

/// The program that starts.
fn find(asked: &Path) -> Option<PathBuf> {
    let starts = |program: &Path| {
        let mut command = Command::new(program);
        let quiet = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    [asked, Path::new(INSTALLED)].into_iter().find(|program| starts(program)).map(Path::to_owned)
}

/// Runs one tool on some entries; the log of what it finds is kept.
fn one(
    program: &Path,
    tool: &str,
    names: Vec<String>,
    options: &Options,
    log: &Path,
    deadline: Deadline,
) -> Result<(Status, String)> {
    let small = Options { size: Size::Small, plant: None, ..options.clone() };
    let inner = small.child("one")?;
    let mut command = Command::new(program);
    command
        .args(["--tool", tool, "--error-exitcode", &FOUND.to_string(), "--log-file"])
        .arg(log)
        // What the driver refuses is an error of ours already.
        .args(["--report-api-errors", "no"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .args(names);
    // It slows kernels down by ten and more, and its start takes seconds.
    let deadline = deadline.within(2 * options.timeout);
    let mut process = Process::start(&mut command)?;
    loop {
        match process.answer(deadline) {
            Answer::Line(_) => {}
            Answer::Late => return Ok((Status::Failed, "no result in time, so it was killed".to_owned())),
            Answer::End => break,
        }
    }
    let ended = process.end(deadline)?;
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    if ended.status.success() {
        // Nothing to look at.
        if log.exists() {
            fs::remove_file(log).with_context(|| format!("removing {}", log.display()))?;
        }
        return Ok((Status::Passed, summary(&text).unwrap_or("nothing found").to_owned()));
    }
    match ended.status.code() {
        Some(FOUND) => {
            let first = first_finding(&text).or(summary(&text)).unwrap_or("errors");
            Ok((Status::Failed, format!("{first}; see {}", log.display())))
        }
        _ => Ok((Status::Failed, ended.to_string())),
    }
}

/// The last line of a log, which counts.
fn summary(log: &str) -> Option<&str> {
    log.lines().rev().map(bare).find(|line| line.contains("SUMMARY"))
}

/// The first line that is about an error.
fn first_finding(log: &str) -> Option<&str> {
    let words = ["Invalid", "Error:", "hazard", "error detected", "Barrier error"];
    log.lines()
        .map(bare)
        .find(|line| words.iter().any(|word| line.contains(word)) && !line.contains("SUMMARY"))
}

/// A line without the mark that each begins with.
fn bare(line: &str) -> &str {
    line.trim_start_matches('=').trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_summed_up_by_its_first_finding_or_its_summary() {
        let clean = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n";
        assert_eq!((first_finding(clean), summary(clean)), (None, Some("ERROR SUMMARY: 0 errors")));
        let log = "========= COMPUTE-SANITIZER\n========= Invalid __global__ read of size 4 bytes\n=========     at cast\n\
                   ========= ERROR SUMMARY: 1 error\n";
        assert_eq!(first_finding(log), Some("Invalid __global__ read of size 4 bytes"));
    }
}
