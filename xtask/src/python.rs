//! The pinned Python environment: made on first use, kept in the build directory, never touched by the tests.
//!
//! An environment lives in a folder named after the hash of the files that describe it. A marker written last tells
//! a finished one from a half-made one, which is thrown away and made again (pip's own cache keeps the downloads).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::workspace::Workspace;

/// Name of the file that is written last.
const COMPLETE: &str = "complete";

/// A finished environment.
pub(crate) struct Environment {
    python: PathBuf,
    sources: PathBuf,
    scratch: PathBuf,
}

impl Environment {
    /// Opens the environment of `xtask/python/requirements.txt`, making it first where needed (about 6 GB on Linux,
    /// where the wheel of torch brings CUDA along; minutes).
    pub(crate) fn open(workspace: &Workspace) -> Result<Self> {
        Self::make(workspace, "python", "requirements.txt", Some("constraints.txt"))
    }

    /// Opens the environment of `xtask/python/requirements-cuda.txt`, making it first where needed (300 MB, half a
    /// minute): the compiler of the CUDA kernels.
    pub(crate) fn cuda(workspace: &Workspace) -> Result<Self> {
        Self::make(workspace, "python-cuda", "requirements-cuda.txt", None)
    }

    /// Makes `<name>-<hash>` from a file of requirements. With constraints pip resolves what they depend on; without,
    /// the requirements are all there is.
    fn make(
        workspace: &Workspace,
        name: &str,
        requirements: &str,
        constraints: Option<&str>,
    ) -> Result<Self> {
        let sources = workspace.root.join("xtask/python");
        let scratch = workspace.scratch();
        let requirements = sources.join(requirements);
        let constraints = constraints.map(|constraints| sources.join(constraints));
        let files: Vec<&Path> =
            [Some(&requirements), constraints.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
        let folder = scratch.join(format!("{name}-{}", short_hash(&files)?));
        let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
        make_once(&folder, || {
            // The name under which the platform's installer leaves Python 3.
            let system = if cfg!(windows) { "python" } else { "python3" };
            succeed_aside(Command::new(system).args(["-m", "venv"]).arg(&folder))?;
            let mut install = Command::new(&python);
            install
                .args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"])
                .arg(&requirements);
            match &constraints {
                Some(constraints) => install.arg("--constraint").arg(constraints),
                None => install.arg("--no-deps"),
            };
            succeed_aside(&mut install)
        })?;
        Ok(Self { python, sources, scratch })
    }

    /// A script of `xtask/python`, ready for arguments. Its module path is the folder of scripts and nothing else of
    /// the caller's; the network stays shut, so that no fixture depends on what a server answers.
    pub(crate) fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg(self.sources.join(name))
            .env_remove("PYTHONHOME")
            .env("PYTHONPATH", &self.sources)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("HF_HUB_OFFLINE", "1");
        command
    }

    /// As [`Self::script`], with transformers 4.57 in place of 5.23. Everything else, torch included, is shared.
    pub(crate) fn script_with_transformers_4(&self, name: &str) -> Result<Command> {
        self.script_over(name, "transformers-4")
    }

    /// As [`Self::script`], with the libraries that we are compared with. Torch and transformers are shared.
    pub(crate) fn script_with_peers(&self, name: &str) -> Result<Command> {
        self.script_over(name, "peers")
    }

    /// As [`Self::script`], with the packages of `requirements-OVERLAY.txt` before those of the main environment.
    fn script_over(&self, name: &str, overlay: &str) -> Result<Command> {
        let requirements = self.sources.join(format!("requirements-{overlay}.txt"));
        let folder = self.scratch.join(format!("python-{overlay}-{}", short_hash(&[&requirements])?));
        make_once(&folder, || {
            succeed_aside(
                Command::new(&self.python)
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--disable-pip-version-check",
                        "--no-deps",
                        "--requirement",
                    ])
                    .arg(&requirements)
                    .arg("--target")
                    .arg(&folder),
            )
        })?;
        let mut command = self.script(name);
        command.env("PYTHONPATH", std::env::join_paths([&folder, &self.sources])?);
        Ok(command)
    }

    /// Runs the interpreter itself.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
        succeed(Command::new(&self.python).args(arguments).env("PYTHONPATH", &self.sources))
    }
}

/// Runs a command with our own standard streams; a bad exit status is an error that shows the command.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    // Results go to standard output; what these commands print is progress.
    let status = command.stdout(Stdio::inherit()).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// As [`succeed`] for a command whose output is progress, which must not get between the results on ours.
pub(crate) fn succeed_aside(command: &mut Command) -> Result<()> {
    let status = command.stdout(std::io::stderr()).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Makes `folder` unless an earlier call finished it. Two processes take turns.
fn make_once(folder: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let parent = folder.parent().context("the folder of an environment has a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let lock = File::create(parent.join("python.lock"))?;
    lock.lock().context("waiting for another xtask to finish its Python environment")?;
    let marker = folder.join(COMPLETE);
    if marker.exists() {
        return Ok(());
    }
    eprintln!("making a Python environment in {} (once)", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing the half-made {}", folder.display()))?;
    }
    make().context("no Python environment: it needs Python 3 with venv, and a package index such as PyPI; run again once both are at hand")?;
    fs::write(&marker, "").with_context(|| format!("writing {}", marker.display()))
}

/// The first twelve hex digits of the SHA-256 of some files: enough to tell environments apart by name.
pub(crate) fn short_hash(files: &[&Path]) -> Result<String> {
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(fs::read(file).with_context(|| format!("reading {}", file.display()))?);
    }
    Ok(hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}
