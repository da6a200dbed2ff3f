//! The text files of the workspace that people write.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// One text file.
pub(super) struct Source {
    /// Path below the root, with `/` between its parts.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
}

/// Endings of the files that are read. JSON is left out: it is generated, and the manifest covers it.
const ENDINGS: [&str; 9] = ["rs", "py", "cu", "h", "cpp", "toml", "md", "txt", "sh"];

/// Folders that hold nothing written by hand. Hidden folders are read only where they are listed in [`HIDDEN`].
const SKIPPED: [&str; 2] = ["target", "__pycache__"];

/// Hidden folders of ours.
const HIDDEN: [&str; 2] = [".cargo", ".ci"];

impl Source {
    /// Reads the files, sorted by path.
    pub(super) fn all(root: &Path) -> Result<Vec<Self>> {
        let mut sources = Vec::new();
        let mut pending = vec![String::new()];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(root.join(&folder)).with_context(|| format!("reading {folder}"))? {
                let entry = entry?;
                // A name that is not UTF-8 is none of ours.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                if entry.file_type()?.is_dir() {
                    let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
                    if !hidden && !SKIPPED.contains(&name.as_str()) {
                        pending.push(path);
                    }
                } else if is_text(&path) {
                    let bytes = fs::read(root.join(&path)).with_context(|| format!("reading {path}"))?;
                    sources.push(Self { text: String::from_utf8_lossy(&bytes).into_owned(), path });
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(sources)
    }

    /// Whether the file lies below a folder.
    pub(super) fn is_below(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Scripts of `.ci` have no ending.
fn is_text(path: &str) -> bool {
    let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    ending.is_some_and(|ending| ENDINGS.contains(&ending)) || (path.starts_with(".ci/") && ending.is_none())
}
