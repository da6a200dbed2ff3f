//! The kinds of fixtures, and the files each is made from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::manifest::{files_below, hex};

/// Fixtures that one module of `xtask/python/fixtures` makes.
pub(crate) struct Kind {
    /// Names the kind in the manifest.
    pub(crate) key: &'static str,
    /// The module, and the first part of the names of the sets.
    pub(crate) name: &'static str,
    /// Whether transformers 4 makes them.
    pub(crate) transformers_4: bool,
    /// Files and folders below the root, besides [`SHARED_SOURCES`], whose change makes the sets stale.
    sources: &'static [&'static str],
}

/// What every kind is made from.
const SHARED_SOURCES: [&str; 4] = [
    "xtask/python/gen_fixtures.py",
    "xtask/python/requirements.txt",
    "xtask/python/fixtures/hashing.py",
    "xtask/python/fixtures/writing.py",
];

/// All kinds, in the order in which they are made: quick ones first.
pub(crate) const KINDS: &[Kind] = &[
    Kind { key: "ops", name: "ops", transformers_4: false, sources: &["xtask/python/fixtures/ops.py"] },
    Kind {
        key: "models",
        name: "models",
        transformers_4: false,
        sources: &[
            "xtask/python/fixtures/building.py",
            "xtask/python/fixtures/cases.py",
            "xtask/python/fixtures/models.py",
            "xtask/python/fixtures/recording.py",
        ],
    },
    Kind {
        key: "checkpoints",
        name: "checkpoints",
        transformers_4: false,
        sources: &[
            "xtask/python/fixtures/batches.py",
            "xtask/python/fixtures/building.py",
            "xtask/python/fixtures/checkpoints.py",
        ],
    },
    Kind {
        key: "checkpoints of transformers 4",
        name: "checkpoints",
        transformers_4: true,
        sources: &[
            "xtask/python/fixtures/batches.py",
            "xtask/python/fixtures/building.py",
            "xtask/python/fixtures/checkpoints.py",
            "xtask/python/requirements-transformers-4.txt",
        ],
    },
    Kind {
        key: "original",
        name: "original",
        transformers_4: false,
        sources: &[
            "xtask/python/fixtures/batches.py",
            "xtask/python/fixtures/building.py",
            "xtask/python/fixtures/original.py",
        ],
    },
    Kind { key: "masks", name: "masks", transformers_4: false, sources: &["xtask/python/fixtures/masks.py"] },
    Kind {
        key: "scripts",
        name: "scripts",
        transformers_4: false,
        sources: &[
            "xtask/python/fixtures/scripts.py",
            "xtask/python/make_decode_fixtures.py",
            "xtask/python/make_preprocess_fixtures.py",
            "xtask/python/make_sampling_fixtures.py",
            "xtask/python/preprocess_cases.py",
            "xtask/python/requirements-pixels.txt",
            "xtask/python/requirements-transformers-4.txt",
        ],
    },
    Kind {
        key: "kept",
        name: "kept",
        transformers_4: false,
        sources: &["fixtures/clips", "xtask/python/fixtures/kept.py"],
    },
    Kind {
        key: "pictures",
        name: "pictures",
        transformers_4: false,
        sources: &["xtask/python/fixtures/pictures.py"],
    },
    Kind {
        key: "processor",
        name: "processor",
        transformers_4: false,
        sources: &["cli/demo", "fixtures/clips", "xtask/python/fixtures/processor.py"],
    },
    Kind {
        key: "published",
        name: "published",
        transformers_4: false,
        sources: &[
            "xtask/python/fixtures/building.py",
            "xtask/python/fixtures/published.py",
            "xtask/python/fixtures/recording.py",
        ],
    },
];

impl Kind {
    /// The name of a set in the manifest.
    pub(crate) fn id(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// One hash over the names and contents of everything the sets are made from.
    pub(crate) fn hash_sources(&self, root: &Path) -> Result<String> {
        let mut hasher = Sha256::new();
        for source in SHARED_SOURCES.iter().chain(self.sources) {
            let path = root.join(source);
            let files = if path.is_dir() {
                files_below(&path)?.into_iter().map(|file| format!("{source}/{file}")).collect()
            } else {
                vec![(*source).to_owned()]
            };
            for file in files {
                let bytes = fs::read(root.join(&file)).with_context(|| format!("reading {file}"))?;
                // Length first, so that no two lists of files read the same.
                hasher.update(format!("{file} {}\n", bytes.len()));
                hasher.update(bytes);
            }
        }
        Ok(hex(&hasher.finalize()))
    }
}

/// The pinned packages, by name.
pub(crate) fn versions(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for (file, suffix) in [
        ("requirements.txt", ""),
        ("requirements-transformers-4.txt", " (overlay)"),
        ("requirements-pixels.txt", " (pixels overlay)"),
    ] {
        let path = root.join("xtask/python").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for (name, version) in text.lines().filter_map(|line| line.split_once("==")) {
            versions.insert(format!("{name}{suffix}"), version.to_owned());
        }
    }
    Ok(versions)
}
