//! The program as a user meets it: on a GPU where there is one, else on the stand-in for its driver, at small sizes.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A run of the program, and the lines it wrote.
struct Run {
    output: Output,
    lines: Vec<Value>,
    folder: TempDir,
}

impl Run {
    /// With the driver of this machine, else with the stand-in.
    fn new(arguments: &[&str]) -> Self {
        let mut command = program();
        if let Some(folder) = kernels_cuda_stand_in::folder().expect("a driver, or a stand-in for one") {
            command.env("LD_LIBRARY_PATH", folder);
        }
        Self::of(command, arguments)
    }

    fn of(mut command: Command, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let output = command
            .args(["--output", &folder.path().join("results").display().to_string()])
            .args(["--size", "small", "--seed", "7", "--python", "none", "--rounds", "1"])
            .args(arguments)
            .output()
            .expect("the program starts");
        let texts = files(folder.path(), "jsonl");
        let lines = texts.iter().flat_map(|text| {
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect::<Vec<_>>()
        });
        Self { output, lines: lines.collect(), folder }
    }

    /// Everything it said.
    fn text(&self) -> String {
        let Output { stdout, stderr, .. } = &self.output;
        format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
    }

    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// The status of every line, with its name.
    fn statuses(&self) -> Vec<(&str, &str)> {
        self.lines
            .iter()
            .map(|line| {
                (line["name"].as_str().unwrap_or_default(), line["status"].as_str().unwrap_or_default())
            })
            .collect()
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
    command.args(["--compute-sanitizer", "none"]);
    command
}

/// The contents of the files of this kind that a run left.
fn files(folder: &Path, ending: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder.join("results")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == ending));
    wanted.map(|path| fs::read_to_string(path).expect("a text")).collect()
}

#[test]
fn every_check_passes_and_leaves_a_line_and_a_table() {
    let run = Run::new(&["correctness"]);
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let list = Run::new(&["correctness", "--list"]);
    let names = String::from_utf8_lossy(&list.output.stdout).into_owned();
    let found: Vec<_> = run.statuses();
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names.lines().collect::<Vec<_>>());
    // Only a GPU without the kernels of 9.0 may leave some out.
    for (name, status) in found {
        assert!(status == "passed" || (status == "skipped" && name.contains("_90a")), "{name}: {status}");
    }
    for line in &run.lines {
        assert_eq!(line["seed"], 7, "{line}");
        for key in ["device", "commit", "date", "capability", "clocks", "driver", "seconds"] {
            assert!(line.get(key).is_some(), "{key} in {line}");
        }
    }
    let tables = files(run.folder.path(), "md");
    assert!(tables.len() == 1 && tables[0].contains("| layer_norm/bf16 | passed |"), "{tables:?}");
}

#[test]
fn a_mistake_in_a_check_is_noticed_and_spoils_no_other() {
    for (plant, says) in [("wrong", "largest error"), ("crash", "SIGABRT"), ("hang", "killed")] {
        let timeout = if plant == "hang" { "1" } else { "60" };
        let run = Run::new(&["correctness", "--only", "cast/", "--plant", plant, "--timeout", timeout]);
        assert_eq!(run.code(), Some(1), "{}", run.text());
        assert_eq!(run.statuses(), [("cast/f32", "failed"), ("cast/bf16", "failed"), ("cast/f16", "failed")]);
        for line in &run.lines {
            assert!(line["text"].as_str().is_some_and(|text| text.contains(says)), "{plant}: {line}");
        }
    }
}

#[test]
fn what_there_is_no_time_for_is_named_and_is_no_success() {
    let run = Run::new(&["--only", "cast/f32", "--only", "attention/base", "--time-limit", "0.01"]);
    assert_eq!(run.code(), Some(1), "{}", run.text());
    for name in ["cast/f32", "attention/base"] {
        assert!(run.statuses().contains(&(name, "not_run")), "{:?}", run.statuses());
    }
}

#[test]
fn without_a_driver_the_reason_is_told() {
    if kernels_cuda_stand_in::folder() == Ok(None) {
        return; // This machine has one.
    }
    let run = Run::of(program(), &["correctness"]);
    assert_eq!(run.code(), Some(1));
    assert!(
        run.text().contains("no GPU to check: no NVIDIA driver (libcuda.so.1 is not there)"),
        "{}",
        run.text()
    );
    assert!(run.lines.is_empty());
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    assert_eq!(Run::of(program(), &["--plant", "nothing"]).code(), Some(2));
    let run = Run::of(program(), &["--only", "layer_nrom"]);
    assert!(run.code() == Some(1) && run.text().contains("layer_norm/f32"), "{}", run.text());
}

#[test]
fn benches_have_figures_and_goals_and_say_who_is_absent() {
    let run = Run::new(&["bench", "--only", "gemm/base/qkv", "--only", "attention/base", "--only", "base/1"]);
    // base/16 has the same start.
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let line = |name: &str| run.lines.iter().find(|line| line["name"] == name).expect("a line of that name");
    assert!(line("PyTorch")["text"].as_str().is_some_and(|text| text.contains("--python none")));
    for (name, unit) in [
        ("gemm/base/qkv", "TFLOP/s"),
        ("attention/base", "TFLOP/s"),
        ("base/1", "ms"),
        ("base/16", "clips/s"),
    ] {
        let line = line(name);
        assert_eq!(line["status"], "measured", "{line}");
        assert!(line["contestants"]["cuda"]["median"].as_f64().is_some_and(|median| median > 0.0), "{line}");
        assert!(line["goals"][0]["goal"].as_str().is_some_and(|goal| goal.contains(unit)), "{line}");
    }
}

/// A stand-in for NVIDIA's program: runs what it is given, and finds something with one tool.
#[cfg(unix)]
#[test]
fn what_compute_sanitizer_finds_is_a_failure_and_its_log_is_kept() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a folder");
    let fake = folder.path().join("compute-sanitizer");
    let script = r#"#!/bin/sh
[ "$1" = --version ] && exit 0
tool=$2 log=$6; shift 8
"$@" || exit 1
[ $tool = racecheck ] || exit 0
echo '========= Error: Race reported between Read access and Write access' > "$log"
exit 86
"#;
    fs::write(&fake, script).expect("a script");
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("a program");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-check"));
    if let Some(folder) = kernels_cuda_stand_in::folder().expect("a driver, or a stand-in for one") {
        command.env("LD_LIBRARY_PATH", folder);
    }
    command.arg("--compute-sanitizer").arg(&fake);
    let run = Run::of(command, &["correctness", "--only", "cast/f"]);
    assert_eq!(run.code(), Some(1), "{}", run.text());
    let expected = [
        ("cast/f32", "passed"),
        ("cast/f16", "passed"),
        ("cast memcheck", "passed"),
        ("cast racecheck", "failed"),
        ("cast synccheck", "passed"),
    ];
    assert_eq!(run.statuses(), expected, "{}", run.text());
    assert_eq!(files(run.folder.path(), "log").len(), 1);
}
