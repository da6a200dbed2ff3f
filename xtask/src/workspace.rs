//! Where the workspace and its build directory are, and what its crates depend on: the answers of `cargo metadata`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The part of `cargo metadata` that the chores need.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the root Cargo.toml.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// The folder cargo builds in; ours is `xtask` below it.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    /// The members, in cargo's order.
    pub(crate) packages: Vec<Package>,
}

/// One member of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Name in its manifest.
    pub(crate) name: String,
    /// Its Cargo.toml.
    pub(crate) manifest_path: PathBuf,
    /// Its direct dependencies of every kind.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` table.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// Package name, whatever the line renames it to.
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// The folder of a path dependency, which for us means a sibling.
    pub(crate) path: Option<PathBuf>,
}

impl Workspace {
    /// Asks cargo, so that `CARGO_TARGET_DIR` and configuration files are honoured.
    pub(crate) fn find() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .output()
            .context("cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("reading the answer of cargo metadata")
    }

    /// As [`Self::scratch`], made if it is not there.
    pub(crate) fn scratch_folder(&self) -> Result<PathBuf> {
        let folder = self.scratch();
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// The folder for what the chores build: environments and half-made files.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }
}
