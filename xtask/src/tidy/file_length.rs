//! Rule `file-length`: a file holds one idea, and one idea fits in 600 lines.

use super::Problem;
use super::sources::Source;

/// Most lines of a source file.
const LIMIT: usize = 600;

/// What code ends in.
const CODE: [&str; 5] = [".rs", ".py", ".cu", ".h", ".cpp"];

/// Checks Rust, Python, CUDA and C++.
pub(super) fn check(sources: &[Source]) -> Vec<Problem> {
    let code = sources.iter().filter(|source| CODE.iter().any(|ending| source.path.ends_with(ending)));
    code.filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > LIMIT).then(|| Problem {
            file: source.path.clone(),
            line: LIMIT + 1,
            rule: "file-length",
            message: format!("expected at most {LIMIT} lines, found {lines}; split it by idea"),
        })
    })
    .collect()
}
