//! `videomae inspect`: what a checkpoint is, and what is wrong with it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use videomae::{
    VideoMAEConfig,
    checkpoint::{
        Architecture, Checkpoint, SaveOptions, WeightData, WeightMap, WeightSource, save_pretrained,
    },
};

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_videomae"))
        .arg("inspect")
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn fixture(name: &str) -> String {
    format!("{}/../fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn json(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = inspect(&[arguments, &["--json"]].concat());
    (serde_json::from_slice(&output.stdout).expect("a JSON object"), output.status.code())
}

fn uses(value: &Value) -> Vec<&str> {
    let uses = value["uses"].as_array().expect("a list");
    uses.iter()
        .filter(|usage| usage["possible"] == true)
        .map(|usage| usage["command"].as_str().expect("text"))
        .collect()
}

#[test]
fn sound_checkpoints_are_described_and_the_exit_code_is_zero() {
    for (model, expected) in [
        ("demo", vec!["classify", "embed"]),
        (&fixture("checkpoints/classification-pickled"), vec!["classify", "embed"]),
        (&fixture("checkpoints/pretraining-sharded"), vec!["embed", "reconstruct"]),
        (&fixture("checkpoints/model-q-bias"), vec!["embed"]),
        (&fixture("checkpoints/classification-float16/model.safetensors"), vec!["classify", "embed"]),
    ] {
        let (value, code) = json(&[model]);
        assert_eq!(code, Some(0), "{model}: {}", value["problems"]);
        assert_eq!(uses(&value), expected, "{model}");
        assert_eq!(value["problems"], Value::Array(vec![]), "{model}");
        assert_eq!(value["missing"], Value::Array(vec![]), "{model}");
    }
}

#[test]
fn dialects_are_told_apart() {
    for (form, expected, extra) in [
        ("q-bias", "q_bias and v_bias", 0),
        ("query-bias", "5.18 and later have in memory", 0),
        ("key-bias", "5.6 to 5.17", 2),
        ("without-prefix", "without the prefix videomae.", 0),
    ] {
        let (value, code) = json(&[&fixture(&format!("checkpoints/classification-{form}"))]);
        assert_eq!(code, Some(0), "{form}");
        assert!(value["dialect"].to_string().contains(expected), "{form}: {}", value["dialect"]);
        assert_eq!(value["extra"].as_array().map(Vec::len), Some(extra), "{form}: {}", value["extra"]);
    }
}

#[test]
fn original_checkpoints_show_where_every_part_lies() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let alone = directory.path().join("alone.pth");
    fs::copy(fixture("original/v2-selected/weights.pth"), &alone).expect("a copy");
    let path = alone.to_str().expect("a path in Unicode");
    let output = inspect(&[path, "--num-heads", "1", "--image-size", "28", "--num-frames", "2"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    for expected in [
        "torch.save, weights under \"module\"",
        "fused qkv",
        "_orig_mod.",
        "1 heads of 88",
        "norm eps 1e-6",
        "_orig_mod.blocks.0.attn.qkv.weight rows 1D..2D",
        "classify      yes",
        "reconstruct   no: it has no decoder",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// The demo with some tensors changed.
fn changed(folder: &Path, change: impl Fn(&mut WeightMap)) {
    let demo = format!("{}/demo", env!("CARGO_MANIFEST_DIR"));
    let mut map = WeightMap::copy_of(&Checkpoint::open(&demo).expect("the demo")).expect("its weights");
    let config = VideoMAEConfig::from_pretrained(&demo).expect("its config");
    change(&mut map);
    let options = SaveOptions::default();
    save_pretrained(folder, &config, Architecture::VideoClassification, &map, &options).expect("a folder");
}

fn fill(map: &mut WeightMap, key: &str, value: f32) {
    let shape = map.get(key).expect("a tensor").expect("to be there").shape().to_vec();
    let data = vec![value; shape.iter().product()];
    map.insert(key, WeightData::f32(&shape, &data).expect("a tensor"));
}

#[test]
fn damage_is_found_and_the_exit_code_is_one() {
    let matrix = "videomae.encoder.layer.0.output.dense.weight";
    for (change, expected) in [
        (
            &|map: &mut WeightMap| fill(map, "classifier.bias", f32::NAN) as _,
            "classifier.bias: 10 elements are not a number",
        ),
        (&|map: &mut WeightMap| fill(map, matrix, f32::INFINITY), "0 elements are not a number and"),
        (&|map: &mut WeightMap| fill(map, matrix, 0.0), "output.dense.weight: every element is zero"),
        (
            &|map: &mut WeightMap| {
                for key in map.keys().iter().filter(|key| key.ends_with("q_bias") || key.ends_with("v_bias"))
                {
                    fill(map, key, 0.0);
                }
            },
            "transformers 5.6 to 5.17 lose them",
        ),
    ] as [(&dyn Fn(&mut WeightMap), &str); 4]
    {
        let directory = tempfile::tempdir().expect("a temporary folder");
        changed(directory.path(), change);
        let (value, code) = json(&[directory.path().to_str().expect("a path in Unicode")]);
        assert_eq!(code, Some(1), "{expected}");
        assert!(value["problems"].to_string().contains(expected), "{expected}: {}", value["problems"]);
    }
}

#[test]
fn missing_and_mismatched_tensors_are_named() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    changed(directory.path(), |_| {});
    let path = directory.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("the config")).expect("JSON");
    config["num_hidden_layers"] = 9.into();
    config["id2label"] = serde_json::json!({ "0": "only", "1": "two" });
    config["label2id"] = serde_json::json!({ "only": 0, "two": 1 });
    fs::write(&path, config.to_string()).expect("a file");
    let output = inspect(&[directory.path().to_str().expect("a path in Unicode")]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("missing       videomae.encoder.layer.8.layernorm_after.bias"), "{text}");
    assert!(text.contains("mismatched    classifier.bias: expected [2], found [10]"), "{text}");
    assert!(text.contains("classify      no: "), "{text}");
}

#[test]
fn statistics_are_those_of_the_numbers() {
    let (value, _) = json(&["demo"]);
    let tensors = value["tensors"].as_array().expect("a list");
    let demo = Checkpoint::open(format!("{}/demo", env!("CARGO_MANIFEST_DIR"))).expect("the demo");
    assert_eq!(tensors.len(), demo.keys().len());
    let facts = tensors.iter().find(|facts| facts["key"] == "classifier.weight").expect("a classifier");
    let data =
        demo.get("classifier.weight").expect("a tensor").expect("to be there").to_f32().expect("numbers");
    let mean = data.iter().map(|&x| f64::from(x)).sum::<f64>() / data.len() as f64;
    let found = facts["mean"].as_f64().expect("a mean");
    // Sums of ten thousand doubles agree to far more digits than this.
    assert!((found - mean).abs() < 1e-12, "{found} {mean}");
    let squares = data.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / data.len() as f64;
    let std = facts["std"].as_f64().expect("a deviation");
    assert!((std - (squares - mean * mean).sqrt()).abs() < 1e-9, "{std}");
}
