//! Results made up for the tests of those who show them, and the tests of the options.

use clap::Parser;

use super::{
    agreement::Agreement,
    peers::PEERS,
    results::{ColdStart, Measured, Row},
    *,
};

/// Ours, PyTorch, one peer that cannot run, and one far off.
pub(super) fn results() -> Results {
    let measured = |seconds: f64, largest_error: f64| Measured {
        load: 0.2,
        memory: Some(500_000_000),
        seconds: [1.0, 0.95, 1.1].map(|factor| Some(factor * seconds)).to_vec(),
        agreement: Agreement { cosine: 1.0, largest_error, clips: 4 },
    };
    let row = |name: &str, outcome| Row {
        peer: PEERS.iter().find(|peer| peer.name == name).expect("a known peer"),
        outcome,
    };
    Results {
        machine: Machine {
            processor: "a processor".to_owned(),
            cores: 2,
            instructions: vec!["avx2".to_owned()],
            rustc: "rustc 1.95.0".to_owned(),
            commit: "abc1234".to_owned(),
            date: "2026-11-23".to_owned(),
        },
        versions: vec!["torch 2.14.0".to_owned()],
        case: Case { size: Size::Base, kind: Kind::Classification, frames: 16, batch: 1, threads: 2 },
        rounds: 3,
        operations: 360e9,
        peak: 200e9,
        rows: vec![
            row("ours-f32", Ok(measured(2.0, 1e-6))),
            row("pytorch-f32", Ok(measured(3.0, 1e-6))),
            row("openvino-bf16", Err("no bf16 |\nhere".to_owned())),
            row("openvino-int8", Ok(measured(1.0, 0.6))),
        ],
        cold_start: Some(ColdStart {
            video: "left.mp4".to_owned(),
            ours: vec![3.1, 3.0, 2.9],
            python: vec![12.0, 11.0, 13.0],
        }),
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
    Line::try_parse_from(["bench-peers"].iter().chain(arguments)).map(|line| line.options)
}

#[test]
fn options_describe_the_case() {
    let options =
        parse(&["--model", "small", "--frames=8", "--batch=4", "--threads=3", "--pretraining"]).unwrap();
    let case = options.case().unwrap();
    assert_eq!((case.size, case.kind, case.frames), (Size::Small, Kind::Pretraining, 8));
    assert_eq!((case.batch, case.threads), (4, 3));
}

#[test]
fn odd_frames_and_nothing_at_all_are_refused() {
    for arguments in ["--frames=7", "--frames=0", "--rounds=0", "--threads=0", "--batch=0", "--model=tiny"] {
        assert!(parse(&[arguments]).is_err(), "{arguments}");
    }
}

#[test]
fn a_choice_of_peers_writes_nothing_unless_told_where() {
    let root = Path::new("root");
    assert_eq!(parse(&[]).unwrap().folder(root), Some(root.join("benches/results")));
    assert_eq!(parse(&["--only=openvino,onnx"]).unwrap().folder(root), None);
    let told = parse(&["--only=openvino", "--out=there"]).unwrap();
    assert_eq!(told.folder(root), Some(PathBuf::from("there")));
}

#[test]
fn the_peers_are_pinned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let versions = versions(root).unwrap();
    assert_eq!(versions.len(), 5);
    assert!(versions.iter().all(|version| version.split(' ').nth(1).is_some_and(|v| v.contains('.'))));
}

#[test]
fn json_has_every_peer_with_its_times_or_the_reason() {
    let json = results().to_json();
    let peers = json["peers"].as_array().unwrap();
    assert_eq!(peers[1]["ratio_to_ours"], 1.5);
    assert_eq!(peers[1]["median"], 3.0);
    assert_eq!(peers[2]["unavailable"], "no bf16 |\nhere");
    assert_eq!(peers[3]["within_bound"], false);
    assert_eq!(json["cold_start"]["ours"][2], 2.9);
    assert_eq!(json["machine"]["date"], "2026-11-23");
}
