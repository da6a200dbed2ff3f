//! Rule `fixture-hash`: what the manifest lists is there, unchanged, and nothing else lies beside it.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use super::Problem;
use crate::gen_fixtures::manifest::{MANIFEST, Manifest, files_below, hash_file};
use crate::workspace::Workspace;

/// Checks `fixtures/` against its manifest. Pages about the fixtures need no hash.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Problem>> {
    let fixtures = workspace.root.join("fixtures");
    let manifest = Manifest::load(&fixtures)?;
    let manifest_text = fs::read_to_string(fixtures.join(MANIFEST)).unwrap_or_default();
    let mut problems = Vec::new();
    let mut problem = |file: String, line: usize, message: String| {
        problems.push(Problem { file, line, rule: "fixture-hash", message });
    };
    let mut listed = BTreeSet::new();
    for (path, hash) in manifest.sets.values().flat_map(|set| &set.files) {
        listed.insert(path.clone());
        let file = fixtures.join(path);
        if !file.exists() {
            let quoted = format!("\"{path}\"");
            let line =
                manifest_text.lines().position(|line| line.contains(&quoted)).map_or(1, |index| index + 1);
            problem(format!("fixtures/{MANIFEST}"), line, format!("{path} is not there"));
            continue;
        }
        let found = hash_file(&file)?;
        if found != *hash {
            problem(format!("fixtures/{path}"), 1, format!("expected SHA-256 {hash}, found {found}"));
        }
    }
    for path in files_below(&fixtures)? {
        if path != MANIFEST && !path.ends_with(".md") && !listed.contains(&path) {
            problem(
                format!("fixtures/{path}"),
                1,
                format!("not in {MANIFEST}; run cargo xtask gen-fixtures"),
            );
        }
    }
    Ok(problems)
}
