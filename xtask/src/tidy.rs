//! `cargo xtask tidy`: the rules of this workspace that no other tool knows.
//!
//! | rule | says |
//! |---|---|
//! | [`crate-graph`](crate_graph) | which crate may depend on which |
//! | [`file-length`](file_length) | how long a source file may be |
//! | [`fixture-hash`](fixture_hash) | every fixture is the one in the manifest |
//! | [`machine-path`](machine_path) | no path of somebody's machine |
//! | [`ops`] | every op exists in the trait, the backends, the tests and the benches |

mod crate_graph;
mod file_length;
mod fixture_hash;
mod machine_path;
mod ops;
mod sources;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use sources::Source;

/// One broken rule.
struct Problem {
    /// Path below the root.
    file: String,
    /// Counted from one; one where the whole file is meant.
    line: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.message)
    }
}

/// Prints every broken rule; any is an error.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let sources = Source::all(&workspace.root)?;
    let mut problems = Vec::new();
    problems.extend(crate_graph::check(workspace)?);
    problems.extend(file_length::check(&sources));
    problems.extend(fixture_hash::check(workspace)?);
    problems.extend(machine_path::check(workspace, &sources));
    problems.extend(ops::check(&sources));
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} broken rules", problems.len());
    }
    eprintln!("{} source files are tidy", sources.len());
    Ok(())
}
