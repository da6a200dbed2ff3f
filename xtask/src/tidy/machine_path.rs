//! Rule `machine-path`: what is committed names no path of the machine it was written on.

use super::Problem;
use super::sources::Source;
use crate::workspace::Workspace;

/// Folders in which people's homes lie; without slashes, so that this file keeps its own rule.
const HOMES: [&str; 3] = ["home", "root", "Users"];

/// Checks every text file for the homes of users and for the place of this very workspace.
pub(super) fn check(workspace: &Workspace, sources: &[Source]) -> Vec<Problem> {
    let mut needles: Vec<String> = HOMES.iter().map(|home| format!("/{home}/")).collect();
    // A root such as `/src` is too short to tell from ordinary text.
    if workspace.root.components().count() > 2 {
        needles.extend(workspace.root.to_str().map(str::to_owned));
    }
    let mut problems = Vec::new();
    for source in sources {
        for (index, line) in source.text.lines().enumerate() {
            for needle in needles.iter().filter(|needle| holds_path(line, needle)) {
                problems.push(Problem {
                    file: source.path.clone(),
                    line: index + 1,
                    rule: "machine-path",
                    message: format!("found the absolute path `{needle}`"),
                });
            }
        }
    }
    problems
}

/// Whether a line holds a path that begins with `start`, and not merely a longer path that goes on with it.
fn holds_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-/}>~".contains(c)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_count() {
        let home = format!("/{}/", HOMES[0]);
        assert!(holds_path(&format!("open(\"{home}someone/clip.mp4\")"), &home));
        assert!(holds_path(&home, &home));
        assert!(!holds_path(&format!("at{home}work"), &home));
        assert!(!holds_path(&format!("..{home}x"), &home));
        assert!(!holds_path("nothing", &home));
    }
}
