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

#[test]
fn a_file_is_described_with_the_frames_taken_and_a_sheet_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = folder.path().join("sheet.png");
    let sheet_name = sheet.to_str().unwrap();
    let output = videomae(&["video", &clip(), "--frames", "6", "--sheet", sheet_name, "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (key, expected) in [
        ("container", Value::from("mp4")),
        ("codec", "h264 (High)".into()),
        ("decoder", "builtin".into()),
        ("num_frames", 32.into()),
        ("frame_rate", 16.0.into()),
        ("duration", 2.0.into()),
        ("width", 128.into()),
        ("rotation", 0.into()),
        ("sampling", "uniform".into()),
    ] {
        assert_eq!(report[key], expected, "{key}");
    }
    assert_eq!(report["clips"][0][1], serde_json::json!({"frame": 5, "time": 0.3125}));
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&sheet).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    // Four frames of 128 pixels and three gaps of 4; two rows and one gap.
    assert_eq!((reader.info().width, reader.info().height), (524, 196));
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let mut video = videomae_preprocess::open_video(clip()).unwrap();
    let frames = videomae_preprocess::read_frames(&mut *video, &[5]).unwrap();
    // Small frames are not enlarged: the second of the first row is frame 5 as it is, and white text at the bottom.
    let line = |row: usize| &pixels[(row * 524 + 132) * 3..][..128 * 3];
    for row in 0..83 {
        assert_eq!(line(row), &frames.frame(0)[row * 128 * 3..][..128 * 3], "row {row}");
    }
    let white = (83..96).flat_map(|row| line(row).chunks(3)).filter(|pixel| *pixel == [255; 3]).count();
    // Of "5  0.31 s": 5 has 17, 0 has 19, the point 4, 3 has 14, 1 has 10 and s has 13 points.
    assert_eq!(white, 77);
    let output = videomae(&["video", &clip(), "--sampling", "indices:1,3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "mp4",
        "h264 (High)",
        "builtin",
        "16.00 fps",
        "2.00 s",
        "128×96",
        "limited range",
        "1 (0.06 s), 3 (0.19 s)",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let output =
        videomae(&["video", &clip(), "--sheet", folder.path().join("no/such.png").to_str().unwrap()]);
    assert!(!output.status.success() && stderr(&output).contains("the sheet cannot be written"));
}

/// Nine pictures.
fn folder() -> String {
    format!("{}/../fixtures/pictures/folders/turned", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_folder_of_pictures_is_a_video() {
    let folder = folder();
    let output = videomae(&["classify", "--model", "demo", "--json", &folder]);
    assert!(output.status.success(), "{}", stderr(&output));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(numbers(&line["frames"]), [0, 1, 2, 3, 4, 5, 6, 7].map(f64::from));
    let described = |more: &[&str]| {
        let sheet = tempfile::tempdir().unwrap();
        let name = sheet.path().join("sheet.png");
        let shown = ["video", &folder, "--frames", "2", "--json", "--sheet", name.to_str().unwrap()];
        let output = videomae(&[&shown, more].concat());
        assert!(output.status.success() && name.is_file(), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = described(&[]);
    assert_eq!((&report["container"], &report["codec"]), (&"folder".into(), &"png and webp".into()));
    assert_eq!(report["clips"][0][1], serde_json::json!({"frame": 4, "time": null}));
    let report = described(&["--frame-rate", "10"]);
    assert_eq!(report["clips"][0][1], serde_json::json!({"frame": 4, "time": 0.4}));
    assert_eq!((&report["frame_rate"], &report["duration"]), (&10.0.into(), &0.9.into()));
    let text = String::from_utf8(videomae(&["video", &folder, "--frames", "2"]).stdout).unwrap();
    assert!(text.contains("  clip 1     0, 4\n") && text.contains("  rate       unknown\n"), "{text}");
}

#[test]
fn times_need_a_rate_where_the_file_tells_none() {
    let (folder, clip) = (folder(), clip());
    let npy = tempfile::tempdir().unwrap();
    let npy = npy.path().join("a.npy");
    let frames = videomae_preprocess::Frames::new(vec![7; 4 * 2 * 2 * 3], 4, 2, 2).unwrap();
    videomae_preprocess::write_npy(&npy, &frames).unwrap();
    let npy = npy.to_str().unwrap();
    let seconds = "seconds:0,0,0,0,0.1,0.1,0.1,0.3";
    let run = |more: &[&str]| {
        videomae(&[&["classify", "--model", "demo", "--sampling", seconds, "--json"], more].concat())
    };
    for (file, expected) in [(folder.as_str(), [0, 0, 0, 0, 1, 1, 1, 3]), (npy, [0, 0, 0, 0, 1, 1, 1, 3])] {
        let output = run(&[file]);
        assert!(
            !output.status.success() && stderr(&output).contains("sampling: expected "),
            "{}",
            stderr(&output)
        );
        let output = run(&[file, "--frame-rate", "10"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(numbers(&line["frames"]), expected.map(f64::from), "{file}");
    }
    for (more, expected) in [
        ([clip.as_str(), "--frame-rate", "10"], "expected none for a file, which tells its own, found 10"),
        ([folder.as_str(), "--frame-rate", "0"], "expected a positive number of frames a second"),
    ] {
        let output = run(&more);
        assert!(!output.status.success() && stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn views_of_the_official_test_are_scored_one_by_one_and_averaged() {
    let line = classify(&["--sampling", "sparse", "--clips", "2", "--transform", "official-test"]);
    let clips = line["clips"].as_array().unwrap();
    let views: Vec<_> = clips.iter().map(|clip| clip["view"].as_u64().unwrap()).collect();
    assert_eq!(views, [0, 1, 2, 0, 1, 2]);
    let mean = clips.iter().map(|clip| clip["logits"][0].as_f64().unwrap()).sum::<f64>() / 6.0;
    assert!((line["logits"][0].as_f64().unwrap() - mean).abs() < 1e-5);
    assert_eq!(line["labels"][0]["label"], "left");
    // One view of another numerics: close to, but not, what the default makes.
    let pillow = classify(&["--numerics", "pillow"]);
    assert!(pillow.get("clips").is_none());
    assert_eq!(pillow["labels"][0]["label"], "left");
}
