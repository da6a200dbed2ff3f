//! Which frames are taken, as a user sees it.

use std::process::{Command, Output};

use serde_json::Value;

fn videomae(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_videomae")).args(arguments).output().expect("the program starts")
}

/// 32 frames at 16 a second.
fn clip() -> String {
    format!("{}/../fixtures/clips/left.mp4", env!("CARGO_MANIFEST_DIR"))
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

/// The line of JSON for the clip.
fn classify(more: &[&str]) -> Value {
    let output = videomae(&[&["classify", "--model", "demo", "--json", &clip()], more].concat());
    assert!(output.status.success(), "{more:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// The numbers of an array.
fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number")).collect()
}

#[test]
fn each_mode_takes_the_frames_of_its_formula() {
    for (more, expected) in [
        (&[][..], [0, 4, 8, 12, 16, 20, 24, 28]),
        (&["--sampling", "pipeline"], [0, 1, 2, 3, 4, 5, 6, 7]),
        (&["--sampling", "pipeline", "--stride", "4"], [0, 4, 8, 13, 17, 22, 26, 31]),
        (&["--sampling", "dense", "--stride", "2"], [8, 10, 12, 14, 16, 18, 20, 22]),
        (&["--sampling", "sparse"], [0, 4, 8, 12, 16, 20, 24, 28]),
        (&["--sampling", "indices:9,8,7,6,5,4,3,2"], [9, 8, 7, 6, 5, 4, 3, 2]),
        (&["--sampling", "seconds:0,0.25,0.5,0.75,1,1.25,1.5,1.99"], [0, 4, 8, 12, 16, 20, 24, 31]),
    ] {
        assert_eq!(numbers(&classify(more)["frames"]), expected.map(f64::from), "{more:?}");
    }
}

#[test]
fn a_seed_means_the_same_frames_again_and_another_seed_others() {
    let take = |seed: &str| {
        numbers(&classify(&["--sampling", "dense-train", "--stride", "1", "--seed", seed])["frames"])
    };
    assert_eq!(take("1"), take("1"));
    assert!(["2", "3", "4", "5"].into_iter().any(|seed| take(seed) != take("1")));
}

#[test]
fn several_clips_are_decoded_once_and_their_scores_averaged() {
    let line = classify(&["--sampling", "sparse", "--clips", "2", "--top-k", "10"]);
    let clips = line["clips"].as_array().unwrap();
    assert_eq!(numbers(&clips[1]["frames"]), [2, 6, 10, 14, 18, 22, 26, 30].map(f64::from));
    assert_eq!(numbers(&line["frames"]), (0..32).step_by(2).map(f64::from).collect::<Vec<_>>());
    let softmax = |logits: Vec<f64>| {
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.into_iter().map(move |logit| logit.exp() / sum).collect::<Vec<f64>>()
    };
    let [a, b] = [0, 1].map(|clip| softmax(numbers(&clips[clip]["logits"])));
    let mut expected: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a + b) / 2.0).collect();
    expected.sort_by(|a, b| b.total_cmp(a));
    for (label, expected) in line["labels"].as_array().unwrap().iter().zip(expected) {
        let found = label["score"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6, "found {found}, expected {expected}");
    }
    let alone = classify(&["--sampling", "sparse", "--clips", "1"]);
    assert_eq!((alone.get("clips"), &alone["logits"]), (None, &clips[0]["logits"]));
}

#[test]
fn what_cannot_be_sampled_is_refused_with_the_reason() {
    for (more, expected) in [
        (
            &["--frames", "64"][..],
            "expected from 1 to 32 frames, as many as the video has, found 64 frames asked for",
        ),
        (&["--sampling", "evenly"], "expected one of uniform, pipeline, guide"),
        (&["--stride", "2"], "expected no stride with uniform, found 2"),
        (&["--clips", "2"], "expected one clip with uniform, found 2"),
        (&["--sampling", "indices:32"], "expected frames from 0 to 31, found frame 32"),
        (
            &["--sampling", "seconds:2.5"],
            "expected a time from 0 to below 2 s, where the video ends, found 2.5 s",
        ),
    ] {
        let output = videomae(&[&["classify", "--model", "demo", &clip()], more].concat());
        assert!(!output.status.success() && stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn a_decoder_can_be_forced_and_says_what_it_lacks() {
    let mpeg4 = format!("{}/../fixtures/video/mpeg4.mp4", env!("CARGO_MANIFEST_DIR"));
    let run = |file: &str, decoder: &str| {
        Command::new(env!("CARGO_BIN_EXE_videomae"))
            .args(["classify", "--model", "demo", "--frames", "1", "--decoder", decoder, file])
            .env("VIDEOMAE_FFMPEG", "")
            .env("PATH", "")
            .output()
            .expect("the program starts")
    };
    assert!(
        run(&clip(), "auto").status.code() != Some(2)
            && !stderr(&run(&clip(), "builtin")).contains("decoder")
    );
    for (file, decoder, expected) in [
        (&mpeg4, "builtin", "not supported: MPEG-4 part 2 (\"mp4v\") in MP4"),
        (
            &mpeg4,
            "auto",
            "no FFmpeg found: install it (apt install ffmpeg, brew install ffmpeg) or set VIDEOMAE_FFMPEG",
        ),
        (&clip(), "ffmpeg", "there is no ffmpeg program to read it with; no FFmpeg found: install it"),
        (&clip(), "libav", "expected auto, builtin or ffmpeg, found libav, which is not compiled in"),
        (&clip(), "quicktime", "expected auto, builtin, ffmpeg, libav, found \"quicktime\""),
    ] {
        let output = run(file, decoder);
        assert!(!output.status.success() && stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
