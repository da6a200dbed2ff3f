//! The program as a user meets it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use videomae_preprocess::{Frames, open_video, read_frames, write_npy};

const LABELS: [&str; 10] =
    ["left", "right", "up", "down", "clockwise", "anticlockwise", "grow", "shrink", "bounce", "still"];

fn videomae(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_videomae")).args(arguments).output().expect("the program starts")
}

fn clip(label: &str) -> String {
    format!("{}/../fixtures/clips/{label}.mp4", env!("CARGO_MANIFEST_DIR"))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

/// The lines of `--json`.
fn json(output: &Output) -> Vec<Value> {
    stdout(output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object on every line"))
        .collect()
}

#[test]
fn the_demo_names_every_clip_and_is_quiet_when_piped() {
    let clips = LABELS.map(clip);
    let mut arguments = vec!["classify", "--json", "--model", "demo"];
    arguments.extend(clips.iter().map(String::as_str));
    let output = videomae(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let lines = json(&output);
    assert_eq!(lines.len(), LABELS.len());
    for (line, label) in lines.iter().zip(LABELS) {
        assert_eq!(line["labels"][0]["label"], label, "{line}");
        assert_eq!(line["video"], clip(label));
    }
}

#[test]
fn a_line_of_json_holds_frames_logits_labels_and_timings() {
    let left = clip("left");
    let output = videomae(&["classify", "--model", "demo", "--top-k", "3", "--json", &left]);
    let line = &json(&output)[0];
    let frames: Vec<u64> = line["frames"].as_array().unwrap().iter().map(|f| f.as_u64().unwrap()).collect();
    assert!(frames.len() == 8 && frames.is_sorted_by(|a, b| a < b), "{frames:?}");
    assert_eq!(line["logits"].as_array().unwrap().len(), LABELS.len());
    let labels = line["labels"].as_array().unwrap();
    let scores: Vec<f64> = labels.iter().map(|label| label["score"].as_f64().unwrap()).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b) && scores[0] <= 1.0, "{scores:?}");
    for stage in ["load", "decode", "preprocess", "forward"] {
        assert!(line["timings"][stage].as_f64().unwrap() > 0.0, "{stage}");
    }
}

#[test]
fn a_person_sees_labels_frames_and_times() {
    let output = videomae(&["classify", "--model", "demo", &clip("grow")]);
    let text = stdout(&output);
    for part in ["grow", "%", "frames 0 ", "load ", "decode ", "preprocess ", "forward ", "16 fps", "h264"] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn a_reversed_left_is_a_right() {
    let mut reader = open_video(clip("left")).unwrap();
    let backwards: Vec<usize> = (0..reader.info().num_frames).rev().collect();
    let frames = read_frames(&mut *reader, &backwards).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reversed.npy");
    write_npy(&path, &frames).unwrap();
    let output = videomae(&["classify", "--json", "--model", "demo", path.to_str().unwrap()]);
    assert_eq!(json(&output)[0]["labels"][0]["label"], "right", "{}", stdout(&output));
}

#[test]
fn backends_agree_and_threads_change_nothing() {
    let up = clip("up");
    let run = |more: &[&str]| {
        let output = videomae(&[&["classify", "--json", "--model", "demo", &up], more].concat());
        assert!(output.status.success(), "{more:?}: {}", stderr(&output));
        let line = json(&output).remove(0);
        line["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let reference = run(&["--backend", "reference"]);
    let largest = reference.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let one = run(&["--threads", "1"]);
    assert_eq!(one, run(&["--threads", "2"]));
    for found in [one, run(&["--backend", "cpu:portable"])] {
        let error = found.iter().zip(&reference).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
        assert!(error <= 1e-4 * largest, "{error} of {largest}");
    }
}

/// A file with this content, kept until the directory is dropped.
fn file(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).expect("a file in a temporary folder");
    path
}

#[test]
fn bad_videos_are_named_with_what_is_wrong_and_do_not_stop_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let whole = fs::read(clip("left")).unwrap();
    let missing = directory.path().join("missing.mp4");
    let short = Frames::new(vec![0; 4 * 8 * 8 * 3], 4, 8, 8).unwrap();
    let short_path = directory.path().join("short.npy");
    write_npy(&short_path, &short).unwrap();
    let bad = [
        missing,
        file(directory.path(), "empty.mp4", b""),
        file(directory.path(), "page.mp4", b"<!DOCTYPE html><html><body>404</body></html>"),
        file(directory.path(), "cut.mp4", &whole[..whole.len() / 2]),
        file(directory.path(), "noise.npy", b"\x93NUMPY\x01\x00nonsense"),
        short_path,
        directory.path().to_owned(),
    ];
    for path in &bad {
        let path = path.to_str().unwrap();
        let output = videomae(&["classify", "--json", "--model", "demo", path, &clip("right")]);
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{path}: {errors}");
        assert!(errors.contains(path) && !errors.contains("panicked"), "{path}: {errors}");
        assert_eq!(json(&output)[0]["labels"][0]["label"], "right", "the good video beside {path}");
    }
}

#[test]
fn wrong_names_and_folders_say_what_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_str().unwrap();
    let left = clip("left");
    for (arguments, expected) in [
        (["--model", "demo", "--backend", "gpu"], "cpu:avx2"),
        (["--model", "demo", "--backend", "cuda:99"], "backend cuda:99 cannot run on this machine: "),
        (["--model", "nowhere", "--backend", "auto"], "demo"),
        (["--model", folder, "--backend", "auto"], "config.json"),
        (["--model", "demo", "--frames", "15"], "15"),
    ] {
        let output = videomae(&[&["classify", left.as_str()], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn wrong_usage_is_exit_code_two() {
    for arguments in [
        &["classify"][..],
        &["classify", "--model", "demo"],
        &["classify", "x.mp4"],
        &["classify", "x.mp4", "--model", "demo", "--top-k", "0"],
        &["classify", "x.mp4", "--model", "demo", "--threads", "many"],
        &["dance"],
    ] {
        assert_eq!(videomae(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn backends_are_listed_with_reasons() {
    let output = videomae(&["backends"]);
    assert!(output.status.success());
    for name in ["auto", "cpu", "cpu:portable", "cpu:avx2", "cpu:avx512", "cuda:0", "reference"] {
        assert!(stdout(&output).contains(name), "{}", stdout(&output));
    }
    let rows: Value = serde_json::from_slice(&videomae(&["backends", "--json"]).stdout).unwrap();
    let cuda = rows.as_array().unwrap().iter().find(|row| row["name"] == "cuda:0").unwrap();
    // Without a GPU there is a reason; with one, its name.
    let detail = cuda["detail"].as_str().unwrap();
    let reason = if cfg!(feature = "cuda") { "driver" } else { "not compiled in" };
    assert!(if cuda["available"] == true { !detail.is_empty() } else { detail.contains(reason) }, "{detail}");
}
