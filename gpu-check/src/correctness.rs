//! `gpu-check correctness`: every check in a process of its own.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::json;

use crate::{
    arguments::Options,
    check::{Entry, Kernels, trial::Outcome},
    child::{Answer, Process},
    clock::Deadline,
    machine::Machine,
    one::Finding,
    record::{Kind, Line, Report, Status},
    sanitizer,
};

/// Runs the checks; then, of those that passed, small sizes under compute-sanitizer.
pub(crate) fn run(
    entries: &[Entry],
    options: &Options,
    machine: &Machine,
    deadline: Deadline,
    report: &mut Report,
) -> Result<()> {
    let mut passed = Vec::new();
    for entry in entries {
        let started = Instant::now();
        let result = match unable(entry, machine) {
            Some(reason) => Verdict::plain(Status::Skipped, reason),
            None if deadline.left() < Duration::from_secs(1) => {
                Verdict::plain(Status::NotRun, "the time of this command was spent".to_owned())
            }
            None => {
                let mut command = options.child("one")?;
                command.arg(entry.name());
                check(&mut command, deadline.within(options.timeout))
            }
        };
        if result.status == Status::Passed {
            passed.push(*entry);
        }
        report.add(result.line(entry.name(), started.elapsed()))?;
    }
    sanitizer::run(&passed, options, deadline, report)
}

/// Why an entry cannot run on this machine.
fn unable(entry: &Entry, machine: &Machine) -> Option<String> {
    match entry.kernels() {
        Kernels::Ampere => None,
        Kernels::Hopper => machine.runs_hopper().err(),
    }
}

/// What came of the process of a check.
struct Verdict {
    status: Status,
    outcomes: Vec<Outcome>,
    text: String,
}

impl Verdict {
    /// One without cases.
    fn plain(status: Status, text: String) -> Self {
        Self { status, outcomes: Vec::new(), text }
    }

    fn failed(text: String) -> Self {
        Self::plain(Status::Failed, text)
    }

    fn line(self, name: String, took: Duration) -> Line {
        let failures: Vec<_> = self.outcomes.iter().filter(|outcome| !outcome.passed).collect();
        let detail = json!({ "text": self.text, "cases": self.outcomes.len(), "worst": worst(&self.outcomes), "failures": failures });
        let cases = match self.outcomes.len() {
            0 => String::new(),
            cases => format!("{} of {cases}", cases - failures.len()),
        };
        Line { kind: Kind::Check, name, status: self.status, took, cells: vec![cases, self.text], detail }
    }
}

/// The case that failed first, else the one that came nearest to its bound.
fn worst(outcomes: &[Outcome]) -> Option<&Outcome> {
    let used = |outcome: &Outcome| match (outcome.error, outcome.bound) {
        (Some(error), Some(bound)) if error > 0.0 => error / bound,
        _ => 0.0,
    };
    let failed = outcomes.iter().find(|outcome| !outcome.passed);
    failed.or_else(|| outcomes.iter().max_by(|a, b| used(a).total_cmp(&used(b))))
}

/// Starts a check and waits for what it says.
fn check(command: &mut Command, deadline: Deadline) -> Verdict {
    let limit = deadline.left();
    let mut process = match Process::start(command) {
        Ok(process) => process,
        Err(error) => return Verdict::failed(format!("{error:#}")),
    };
    let finding: Finding = match process.answer(deadline) {
        Answer::Line(line) => match serde_json::from_str(&line) {
            Ok(finding) => finding,
            Err(error) => return Verdict::failed(format!("expected a finding, found `{line}`: {error}")),
        },
        Answer::Late => {
            return Verdict::failed(format!(
                "no result within {:.1} s, so it was killed",
                limit.as_secs_f64()
            ));
        }
        Answer::End => {
            let how = process.end(deadline);
            return Verdict::failed(how.map_or_else(|error| format!("{error:#}"), |ended| ended.to_string()));
        }
    };
    let passed = finding.passed();
    let outcomes = finding.outcomes;
    let text =
        worst(&outcomes).map_or("no cases".to_owned(), |worst| format!("{}: {}", worst.case, worst.text));
    // The driver may find at the end what no result showed.
    match process.end(deadline) {
        Ok(ended) if passed && !ended.status.success() => {
            Verdict { outcomes, ..Verdict::failed(ended.to_string()) }
        }
        Err(error) => Verdict { outcomes, ..Verdict::failed(format!("{error:#}")) },
        Ok(_) => Verdict { status: if passed { Status::Passed } else { Status::Failed }, outcomes, text },
    }
}
