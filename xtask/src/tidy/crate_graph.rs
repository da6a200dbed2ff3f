//! Rule `crate-graph`: the kernels know nothing of models, the model names no backend, preprocessing knows neither.

use std::fs;

use anyhow::{Context, Result};

use super::Problem;
use crate::workspace::{Package, Workspace};

/// What one crate may use of its siblings.
struct Allowed {
    package: &'static str,
    /// As a normal or build dependency.
    normal: &'static [&'static str],
    /// In its tests, examples and benches besides.
    dev: &'static [&'static str],
}

/// The whole graph. A crate that is not here is a problem of its own, so that the graph grows by decision.
const GRAPH: &[Allowed] = &[
    Allowed { package: "kernels-backend", normal: &[], dev: &[] },
    Allowed { package: "kernels-reference", normal: &["kernels-backend"], dev: &[] },
    Allowed {
        package: "kernels-cpu",
        normal: &["kernels-backend"],
        dev: &["kernels-reference", "kernels-testing"],
    },
    Allowed {
        package: "kernels-cuda",
        normal: &["kernels-backend"],
        dev: &["kernels-cuda-stand-in", "kernels-reference", "kernels-testing"],
    },
    Allowed { package: "kernels-cuda-stand-in", normal: &[], dev: &[] },
    Allowed { package: "kernels-testing", normal: &["kernels-backend", "kernels-reference"], dev: &[] },
    Allowed {
        package: "kernels",
        normal: &["kernels-backend", "kernels-cpu", "kernels-cuda", "kernels-reference"],
        dev: &[],
    },
    Allowed { package: "videomae", normal: &["kernels-backend"], dev: &["kernels", "videomae-preprocess"] },
    Allowed { package: "videomae-preprocess", normal: &[], dev: &[] },
    Allowed {
        package: "conformance",
        normal: &["demo", "kernels", "kernels-backend", "videomae", "videomae-preprocess"],
        dev: &["kernels-cuda-stand-in"],
    },
    Allowed {
        package: "videomae-cli",
        normal: &["kernels", "videomae", "videomae-preprocess"],
        dev: &["demo"],
    },
    Allowed { package: "demo", normal: &[], dev: &[] },
    Allowed {
        package: "gpu-check",
        normal: &["kernels", "kernels-cuda", "videomae"],
        dev: &["kernels-cuda-stand-in"],
    },
    Allowed {
        package: "xtask",
        normal: &["demo", "kernels-backend", "videomae-preprocess"],
        dev: &["kernels", "videomae"],
    },
];

/// Checks the path dependencies of every member.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for package in &workspace.packages {
        let relative = package.manifest_path.strip_prefix(&workspace.root).unwrap_or(&package.manifest_path);
        let file = relative.display().to_string();
        let mut problem =
            |line, message| problems.push(Problem { file: file.clone(), line, rule: "crate-graph", message });
        let Some(allowed) = GRAPH.iter().find(|allowed| allowed.package == package.name) else {
            problem(1, format!("{} is not in the graph of xtask/src/tidy/crate_graph.rs", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let is_dev = dependency.kind.as_deref() == Some("dev");
            let name = dependency.name.as_str();
            if !(allowed.normal.contains(&name) || (is_dev && allowed.dev.contains(&name))) {
                let kind = if is_dev { "in its tests" } else { "at all" };
                problem(line_of(package, name)?, format!("{} may not depend on {name} {kind}", package.name));
            }
        }
    }
    Ok(problems)
}

/// The line of a manifest that names a dependency.
fn line_of(package: &Package, name: &str) -> Result<usize> {
    let path = &package.manifest_path;
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().position(|line| line.starts_with(name)).map_or(1, |index| index + 1))
}
