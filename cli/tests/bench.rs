//! `videomae bench` as a user meets it.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_videomae"));
    command.arg("bench").args(arguments).output().expect("the program starts")
}

#[test]
fn the_parts_add_up_to_the_whole() {
    let output = bench(&["--model", "demo", "--batch", "3", "--threads", "1", "--runs", "2", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let number = |value: &Value| value.as_f64().expect("a number");
    assert_eq!(report["shape"][0], 3);
    assert_eq!(report["threads"], 1);
    assert_eq!(report["forwards"].as_array().map(Vec::len), Some(2));
    let ops = report["ops"].as_array().expect("a list");
    let shares: f64 = ops.iter().map(|op| number(&op["share"])).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let products: f64 = ops
        .iter()
        .filter(|op| !op["operations_per_second"].is_null())
        .map(|op| number(&op["operations_per_second"]) * number(&op["seconds"]))
        .sum();
    let operations = number(&report["operations"]);
    assert!((products / operations - 1.0).abs() < 1e-9, "{products} and {operations}");
    assert!(number(&report["load"]) > 0.0 && number(&report["peak"]) > 0.0);
}

#[test]
fn people_get_a_table_and_a_mistake_names_what_helps() {
    let output = bench(&["--model", "demo", "--runs", "1"]);
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["forward", "GFLOP/s", "attention", "layer_norm", "between the ops"] {
        assert!(text.contains(part), "{text}");
    }
    let output = bench(&["--model", "demo", "--backend", "cpu:sse9"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("videomae backends"));
}
