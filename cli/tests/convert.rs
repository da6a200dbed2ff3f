//! `videomae convert`: any checkpoint in, a folder of transformers out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use videomae::{
    VideoMAEConfig,
    checkpoint::{Checkpoint, WeightMap, WeightSource},
};

fn videomae(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_videomae")).args(arguments).output().expect("the program starts")
}

fn fixture(name: &str) -> String {
    format!("{}/../fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in Unicode")
}

/// Converts into a new folder, which must succeed.
fn convert(input: &str, more: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let out = directory.path().join("out");
    let output = videomae(&[&["convert", input, text(&out)], more].concat());
    assert!(output.status.success(), "{input}: {}", stderr(&output));
    (directory, out)
}

fn weights(folder: &Path) -> WeightMap {
    WeightMap::copy_of(&Checkpoint::open(folder).expect("a checkpoint")).expect("its weights")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in Unicode"))
        .collect();
    names.sort();
    names
}

#[test]
fn every_dialect_becomes_the_same_files() {
    let (_whole, expected) = convert(&fixture("checkpoints/classification-q-bias"), &[]);
    assert_eq!(names(&expected), ["config.json", "model.safetensors", "preprocessor_config.json"]);
    let tensors = weights(&expected);
    for form in
        ["query-bias", "key-bias", "mixed-biases", "sharded", "pickled", "pickled-sharded", "without-prefix"]
    {
        let (_directory, out) = convert(&fixture(&format!("checkpoints/classification-{form}")), &[]);
        assert_eq!(weights(&out), tensors, "{form}");
        let config = VideoMAEConfig::from_pretrained(&out).expect("a config");
        assert_eq!(
            config.id2label.into_values().collect::<Vec<_>>(),
            ["falling", "rising", "still"],
            "{form}"
        );
    }
}

#[test]
fn original_checkpoints_become_those_of_transformers() {
    let input = fixture("original/v1-pretraining/weights.pth");
    let (_directory, out) = convert(
        &input,
        &["--num-heads", "3", "--decoder-num-heads", "2", "--image-size", "8", "--num-frames", "4"],
    );
    let config = VideoMAEConfig::from_pretrained(&out).expect("a config");
    assert_eq!(config.layer_norm_eps, 1e-6);
    assert_eq!(config.architectures, ["VideoMAEForPreTraining"]);
    assert!(!config.use_mean_pooling);
    let keys = weights(&out).keys();
    assert!(keys.contains(&"videomae.encoder.layer.1.attention.attention.q_bias".to_owned()), "{keys:?}");
    let processor = fs::read_to_string(out.join("preprocessor_config.json")).expect("a processor");
    let processor: Value = serde_json::from_str(&processor).expect("JSON");
    assert_eq!(processor["size"]["shortest_edge"], 8);
    assert_eq!(processor["image_mean"][0], 0.485);
}

#[test]
fn rows_of_a_head_are_selected_and_named() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    // Alone, as downloaded: there is no config.json beside it.
    let input = directory.path().join("vit_g.pth");
    fs::copy(fixture("original/v2-selected/weights.pth"), &input).expect("a copy");
    let rows = directory.path().join("rows.json");
    fs::write(&rows, "[5, 0, 2]").expect("a file");
    let labels = directory.path().join("labels.json");
    let options = ["--num-heads", "1", "--image-size", "28", "--num-frames", "2", "--head-rows", text(&rows)];
    for (content, expected) in [
        (r#"{"0": "jump", "1": "run", "2": "sit"}"#, ["jump", "run", "sit"]),
        (r#"{"id2label": {"2": "c", "0": "a", "1": "b"}}"#, ["a", "b", "c"]),
        (r#"["x", "y", "z"]"#, ["x", "y", "z"]),
        ("one\n\n two \nthree\n", ["one", "two", "three"]),
    ] {
        fs::write(&labels, content).expect("a file");
        let (_directory, out) = convert(text(&input), &[&options[..], &["--labels", text(&labels)]].concat());
        let config = VideoMAEConfig::from_pretrained(&out).expect("a config");
        assert_eq!(config.id2label.into_values().collect::<Vec<_>>(), expected);
    }
    for (content, expected) in [
        ("one\ntwo\n", "expected 3 names, as the classifier has rows, found 2"),
        (r#"{"1": "a", "2": "b", "3": "c"}"#, "an object from numbers 0, 1, … to names"),
        ("[1, 2, 3]", "expected a list of names"),
        ("{", "expected JSON"),
    ] {
        fs::write(&labels, content).expect("a file");
        let out = directory.path().join("refused");
        let output = videomae(
            &[&["convert", text(&input), text(&out)], &options[..], &["--labels", text(&labels)]].concat(),
        );
        assert!(!output.status.success() && stderr(&output).contains(expected), "{}", stderr(&output));
        assert!(!out.exists());
    }
}

#[test]
fn types_and_shards_are_as_asked() {
    let input = fixture("checkpoints/classification-q-bias");
    for (name, dtype) in [("f32", "float32"), ("bf16", "bfloat16"), ("f16", "float16")] {
        let (_directory, out) = convert(&input, &["--dtype", name]);
        let config: Value =
            serde_json::from_slice(&fs::read(out.join("config.json")).expect("a config")).expect("JSON");
        assert_eq!(config["dtype"], dtype);
    }
    let (_directory, out) = convert(&input, &["--shard-size", "6KB"]);
    assert!(names(&out).contains(&"model-00003-of-00003.safetensors".to_owned()), "{:?}", names(&out));
    let (_whole, whole) = convert(&input, &[]);
    assert_eq!(weights(&out), weights(&whole));
    let (_directory, halved) = convert("demo", &["--dtype", "f16"]);
    assert!(names(&halved).contains(&"preprocessor_config.json".to_owned()));
}

#[test]
fn a_folder_with_files_is_left_alone_without_force() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let kept = directory.path().join("notes.txt");
    fs::write(&kept, "mine").expect("a file");
    let out = text(directory.path());
    let refused = videomae(&["convert", "demo", out]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--force writes into it"), "{}", stderr(&refused));
    assert_eq!(names(directory.path()), ["notes.txt"]);
    assert!(videomae(&["convert", "demo", out, "--force"]).status.success());
    assert_eq!(
        names(directory.path()),
        ["config.json", "model.safetensors", "notes.txt", "preprocessor_config.json"]
    );
    assert_eq!(fs::read_to_string(&kept).expect("the file"), "mine");
}

#[test]
fn what_cannot_be_converted_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let alone = directory.path().join("alone.pth");
    fs::copy(fixture("original/v1-finetuned/weights.pth"), &alone).expect("a copy");
    let broken = directory.path().join("broken.pth");
    let bytes = fs::read(&alone).expect("the copy");
    fs::write(&broken, &bytes[..bytes.len() / 2]).expect("a file");
    let rows = directory.path().join("rows.json");
    fs::write(&rows, "[0, 9]").expect("a file");
    let out = directory.path().join("out");
    for (arguments, expected) in [
        (vec![text(&alone)], "num_attention_heads: expected the number of heads to be given"),
        (vec![text(&alone), "--num-heads", "5"], "hidden_size: expected a multiple of num_attention_heads 5"),
        (vec![text(&alone), "--num-heads", "3", "--image-size", "9"], "image_size: expected multiples of"),
        (vec![text(&alone), "--num-heads", "3", "--head-rows", text(&rows)], "rows below 5"),
        (vec!["demo", "--head-rows", text(&rows)], "the original layout"),
        (vec![text(&broken)], "a whole zip file"),
        (vec!["./absent"], "found nothing"),
    ] {
        let output = videomae(
            &[&["convert", text(&out)][..1], &arguments[..1], &[text(&out)], &arguments[1..]].concat(),
        );
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert!(!out.exists(), "{arguments:?}");
    }
}
