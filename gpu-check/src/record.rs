//! Lines of JSON as results come, and a table when all have.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    arguments::Options,
    machine::{Clocks, Machine},
};

/// How a check or a bench ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Passed,
    Failed,
    /// It cannot run on this machine, which says nothing against it.
    Skipped,
    /// The time of the command was spent.
    NotRun,
    /// A figure, which is neither.
    Measured,
    /// Somebody to be measured is there.
    Ready,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
            Self::NotRun => "NOT RUN",
            Self::Measured => "measured",
            Self::Ready => "ready",
        }
    }
}

/// What a line is about; one table each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Check,
    Sanitizer,
    Contestant,
    Bench,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Check, Self::Sanitizer, Self::Contestant, Self::Bench];

    /// The heads of its table, after those of name and status.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Check => &["cases", "worst"],
            Self::Sanitizer => &["says"],
            Self::Contestant => &["is"],
            Self::Bench => crate::bench::COLUMNS,
        }
    }
}

/// A result.
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) took: Duration,
    /// For the table, below [`Kind::columns`].
    pub(crate) cells: Vec<String>,
    /// For programs: the fields of an object.
    pub(crate) detail: Value,
}

/// What was found so far.
pub(crate) struct Report {
    lines: Vec<Line>,
    machine: Machine,
    device: usize,
    clocks: (Instant, Clocks),
    json: File,
    /// Without its ending.
    path: PathBuf,
}

/// Clocks that were asked for within this time are not asked for again.
const FRESH: Duration = Duration::from_secs(10);

impl Report {
    /// Makes the folder and the file of lines, both named in an error.
    pub(crate) fn new(machine: &Machine, options: &Options) -> Result<Self> {
        fs::create_dir_all(&options.output)
            .with_context(|| format!("making {}", options.output.display()))?;
        let path = options.output.join(format!("gpu-check-{}", machine.date.replace(':', "")));
        let lines = with_ending(&path, "jsonl");
        let json = File::create(&lines).with_context(|| format!("making {}", lines.display()))?;
        let clocks = (Instant::now(), Clocks::now(options.device));
        Ok(Self { lines: Vec::new(), machine: machine.clone(), device: options.device, clocks, json, path })
    }

    /// A file beside the lines, for what one of them is about.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        with_ending(&self.path, name)
    }

    /// Prints a result and keeps it.
    pub(crate) fn add(&mut self, line: Line) -> Result<()> {
        if self.clocks.0.elapsed() > FRESH {
            self.clocks = (Instant::now(), Clocks::now(self.device));
        }
        let mut fields = json!({
            "kind": line.kind, "name": line.name, "status": line.status, "seconds": line.took.as_secs_f64(),
            "clocks": self.clocks.1,
        });
        for source in [serde_json::to_value(&self.machine)?, line.detail.clone()] {
            if let (Value::Object(fields), Value::Object(more)) = (&mut fields, source) {
                fields.extend(more);
            }
        }
        writeln!(self.json, "{fields}").and_then(|()| self.json.flush()).context("writing a result")?;
        let text: Vec<_> = line.cells.iter().filter(|cell| !cell.is_empty()).map(String::as_str).collect();
        println!(
            "{:8} {:28} {:6.1} s  {}",
            line.status.word(),
            line.name,
            line.took.as_secs_f64(),
            text.join("  ")
        );
        self.lines.push(line);
        Ok(())
    }

    /// Prints and writes the tables; whether everything ran and passed.
    pub(crate) fn finish(self) -> Result<bool> {
        let text = self.tables();
        print!("\n{text}");
        let path = with_ending(&self.path, "md");
        let unfinished = with_ending(&self.path, "md.part");
        fs::write(&unfinished, &text)
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("writing {}", path.display()))?;
        println!("\nwritten to {} and {}", with_ending(&self.path, "jsonl").display(), path.display());
        Ok(self.count(Status::Failed) + self.count(Status::NotRun) == 0)
    }

    fn count(&self, status: Status) -> usize {
        self.lines.iter().filter(|line| line.status == status).count()
    }

    fn tables(&self) -> String {
        let mut text = format!("# gpu-check\n\n{}\n", self.machine);
        for kind in Kind::ALL {
            let lines: Vec<_> = self.lines.iter().filter(|line| line.kind == kind).collect();
            if lines.is_empty() {
                continue;
            }
            let columns = kind.columns();
            let head = format!("{kind:?}").to_lowercase();
            let _ = write!(
                text,
                "\n| {head} | | {} |\n|---|---|{}\n",
                columns.join(" | "),
                "---|".repeat(columns.len())
            );
            for line in lines {
                let cells: Vec<_> = line.cells.iter().map(|cell| cell.replace('|', "/")).collect();
                let _ = writeln!(text, "| {} | {} | {} |", line.name, line.status.word(), cells.join(" | "));
            }
        }
        let counts = [Status::Passed, Status::Failed, Status::Skipped, Status::NotRun, Status::Measured]
            .map(|status| format!("{} {}", self.count(status), status.word().to_lowercase()));
        let _ = writeln!(text, "\n{}", counts.join(", "));
        text
    }
}

/// The path with more behind its name, in which a dot may occur.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
