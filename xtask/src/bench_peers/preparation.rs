//! What everybody reads: one checkpoint, its inputs, the reference, and the forms that others want it in.
//!
//! Python makes each once per case, in a folder of the build directory named after the scripts that make it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result};

use super::{
    agreement::Reference,
    peers::{Case, Peer},
};
use crate::{
    python::{Environment, short_hash, succeed_aside},
    workspace::Workspace,
};

/// What the content of the folder depends on, below `xtask/python`.
const SOURCES: [&str; 7] = [
    "requirements.txt",
    "requirements-peers.txt",
    "fixtures/building.py",
    "fixtures/hashing.py",
    "fixtures/published.py",
    "peers/case.py",
    "peers/making.py",
];

/// The folder of a case.
pub(super) struct Preparation<'a> {
    environment: Environment,
    case: &'a Case,
    folder: PathBuf,
}

impl<'a> Preparation<'a> {
    /// Makes what every worker reads, unless it is there.
    pub(super) fn new(workspace: &Workspace, case: &'a Case) -> Result<Self> {
        let python = workspace.root.join("xtask/python");
        let sources = SOURCES.map(|source| python.join(source));
        let sources = sources.each_ref().map(PathBuf::as_path);
        let parent = workspace.scratch().join("peers");
        let folder = parent.join(format!("{}-{}", case.model_name(), short_hash(&sources)?));
        remove_stale(&parent, &case.model_name(), &folder)?;
        fs::create_dir_all(folder.join("logs")).with_context(|| format!("making {}", folder.display()))?;
        let preparation = Self { environment: Environment::open(workspace)?, case, folder };
        for step in ["checkpoint", "inputs", "reference"] {
            preparation.make(step)?;
        }
        Ok(preparation)
    }

    /// Makes what one peer reads besides.
    pub(super) fn make_for(&self, peer: &Peer) -> Result<()> {
        peer.steps.iter().try_for_each(|step| self.make(step))
    }

    fn make(&self, step: &str) -> Result<()> {
        if self.folder.join(step).exists() {
            return Ok(());
        }
        eprintln!("making {step} (once)");
        let start = Instant::now();
        let mut command = self.script("peer_prepare.py")?;
        succeed_aside(command.arg(step)).with_context(|| format!("making {step}"))?;
        eprintln!("made {step} in {:.0} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A script with the options of the case.
    pub(super) fn script(&self, name: &str) -> Result<Command> {
        let mut command = self.environment.script_with_peers(name)?;
        let Case { frames, batch, threads, .. } = self.case;
        command
            .arg("--folder")
            .arg(&self.folder)
            .args(["--size", self.case.size_name(), "--kind", self.case.kind_name()])
            .args(["--frames", &frames.to_string(), "--batch", &batch.to_string()])
            .args(["--threads", &threads.to_string()])
            .env("OMP_NUM_THREADS", threads.to_string());
        Ok(command)
    }

    /// A script without options.
    pub(super) fn plain_script(&self, name: &str) -> Command {
        let mut command = self.environment.script(name);
        command.env("OMP_NUM_THREADS", self.case.threads.to_string());
        command
    }

    /// The checkpoint, a folder.
    pub(super) fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// The file of inputs.
    pub(super) fn inputs(&self) -> PathBuf {
        self.folder.join("inputs/inputs.safetensors")
    }

    /// Where a worker leaves its messages.
    pub(super) fn log(&self, peer: &str) -> PathBuf {
        self.folder.join(format!("logs/{peer}.log"))
    }

    /// Where a worker leaves logits, one at a time.
    pub(super) fn logits(&self) -> PathBuf {
        self.folder.join("logs/logits.f32")
    }

    /// The logits that count as right.
    pub(super) fn reference(&self) -> Result<Reference> {
        Reference::read(&self.folder.join("reference/logits.safetensors"))
    }
}

/// Removes folders that older scripts made of the same model: the base model takes 1.5 GB in all its forms.
fn remove_stale(parent: &Path, model: &str, current: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(parent) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_of_model = name.strip_prefix(model).is_some_and(|rest| rest.starts_with('-'));
        if is_of_model && path != current {
            fs::remove_dir_all(&path).with_context(|| format!("removing the stale {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_folders_of_the_same_model_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let of = |name: &str| parent.path().join(name);
        for name in ["base-1x16-new", "base-1x16-old", "base-1x160-old", "small-1x16-old"] {
            fs::create_dir(of(name)).unwrap();
        }
        remove_stale(parent.path(), "base-1x16", &of("base-1x16-new")).unwrap();
        let left: Vec<_> = ["base-1x16-new", "base-1x16-old", "base-1x160-old", "small-1x16-old"]
            .into_iter()
            .filter(|name| of(name).exists())
            .collect();
        assert_eq!(left, ["base-1x16-new", "base-1x160-old", "small-1x16-old"]);
    }
}
