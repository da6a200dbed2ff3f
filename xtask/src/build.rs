//! Programs of this workspace that chores run, built as they are now.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::workspace::Workspace;

/// Runs `cargo build` with arguments that select one executable; where it is, cargo says.
pub(crate) fn executable(workspace: &Workspace, arguments: &[&str]) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let shown = format!("cargo build {}", arguments.join(" "));
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .current_dir(&workspace.root)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| shown.clone())?;
    ensure!(output.status.success(), "{shown}: {}", output.status);
    let messages = std::str::from_utf8(&output.stdout).context("reading what cargo build prints")?;
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("reading what cargo build prints")?;
        if let Some(executable) = message.executable {
            return Ok(executable);
        }
    }
    bail!("{shown}: expected the path of a program, found none");
}
