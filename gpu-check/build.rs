//! Tells the program which commit it is made of, since a GPU machine has no repository to ask.

use std::{path::Path, process::Command};

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let commit = match (commit, changed) {
        (Some(commit), Some(changed)) => commit + if changed.is_empty() { "" } else { "+" },
        _ => "unknown".to_owned(),
    };
    println!("cargo::rustc-env=GPU_CHECK_COMMIT={commit}");
    // A commit writes the log of HEAD; a change after it that matters here is one of these folders.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    for folder in [".", "../kernels", "../model"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}

/// What git says, or nothing where there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
