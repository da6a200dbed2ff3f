//! `--dtype` as a user meets it.

use std::process::{Command, Output};

use serde_json::Value;

fn videomae(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_videomae")).args(arguments).output().expect("the program starts")
}

fn classify(dtype: &str) -> Output {
    let clip = format!("{}/../fixtures/clips/clockwise.mp4", env!("CARGO_MANIFEST_DIR"));
    videomae(&["classify", "--model", "demo", "--json", "--dtype", dtype, &clip])
}

#[test]
fn less_precision_finds_the_same_label_with_slightly_other_scores() {
    let [full, bf16, int8] = ["f32", "bf16", "int8"].map(|dtype| {
        let output = classify(dtype);
        assert!(output.status.success(), "{dtype}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    });
    for narrow in [&bf16, &int8] {
        assert_eq!(narrow["labels"][0]["label"], "clockwise");
        assert_ne!(narrow["logits"], full["logits"]);
    }
    assert_ne!(bf16["logits"], int8["logits"]);
}

#[test]
fn a_precision_that_is_not_there_is_refused_with_what_is() {
    let error = |dtype| String::from_utf8_lossy(&classify(dtype).stderr).into_owned();
    assert!(error("fp8").contains("expected one of f32, bf16, f16, int8"), "{}", error("fp8"));
    assert!(error("f16").contains("f16 is not supported; use f32, bf16 or int8"), "{}", error("f16"));
}
