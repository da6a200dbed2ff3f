//! `fixtures/manifest.json`: what made every fixture, and the SHA-256 of every file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files;

/// Name of the manifest below `fixtures/`.
pub(crate) const MANIFEST: &str = "manifest.json";

/// The whole manifest.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Pinned Python packages, by name.
    pub(crate) versions: BTreeMap<String, String>,
    /// What each kind consists of.
    pub(crate) kinds: BTreeMap<String, KindRecord>,
    /// The finished sets, by name.
    pub(crate) sets: BTreeMap<String, SetRecord>,
}

/// The sets of one kind, as the scripts listed them.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KindRecord {
    /// Hash of the scripts that made the list.
    pub(crate) sources: String,
    /// The sets, without the kind before them.
    pub(crate) names: Vec<String>,
}

/// One finished set.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetRecord {
    /// Hash of the scripts that made it.
    pub(crate) sources: String,
    /// SHA-256 by path below `fixtures/`.
    pub(crate) files: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the manifest; one that is not there is empty.
    pub(crate) fn load(fixtures: &Path) -> Result<Self> {
        let path = fixtures.join(MANIFEST);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Replaces the manifest in one step.
    pub(crate) fn save(&self, fixtures: &Path) -> Result<()> {
        files::replace(&fixtures.join(MANIFEST), serde_json::to_string_pretty(self)? + "\n")
    }

    /// Whether a set was made from these sources and its files still are what they were.
    pub(crate) fn is_fresh(&self, fixtures: &Path, id: &str, sources: &str) -> Result<bool> {
        let Some(set) = self.sets.get(id) else { return Ok(false) };
        if set.sources != sources {
            return Ok(false);
        }
        for (path, hash) in &set.files {
            let path = fixtures.join(path);
            if !path.exists() || hash_file(&path)? != *hash {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets a set and deletes its files.
    pub(crate) fn remove(&mut self, fixtures: &Path, id: &str) -> Result<()> {
        for path in self.sets.remove(id).unwrap_or_default().files.keys() {
            let path = fixtures.join(path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The files below a folder, sorted, as paths relative to it with `/` between their parts.
pub(crate) fn files_below(folder: &Path) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut pending = vec![String::new()];
    while let Some(prefix) = pending.pop() {
        let here = folder.join(&prefix);
        for entry in fs::read_dir(&here).with_context(|| format!("reading {}", here.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let name =
                name.to_str().with_context(|| format!("a file name in {} is not UTF-8", here.display()))?;
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            if entry.file_type()?.is_dir() {
                pending.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    Ok(files)
}

/// The SHA-256 of a file.
pub(crate) fn hash_file(path: &Path) -> Result<String> {
    // Fixtures are a megabyte at most.
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(hex(&Sha256::digest(&bytes)))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Moves a file, also between file systems. The destination is whole or absent.
pub(crate) fn move_file(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a fixture lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    let partial = to.with_extension("tmp");
    let copied = fs::copy(from, &partial).with_context(|| format!("writing {}", partial.display()))?;
    ensure!(copied == fs::metadata(from)?.len(), "{}: copied {copied} bytes only", from.display());
    fs::rename(&partial, to).with_context(|| format!("writing {}", to.display()))?;
    fs::remove_file(from).with_context(|| format!("removing {}", from.display()))
}
