//! Who is compared, and on what.

use std::fmt;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

/// The precision of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Precision {
    F32,
    Bf16,
    Int8,
}

impl Precision {
    /// All, widest first.
    pub(super) const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// Its name everywhere.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// A program in one precision.
#[derive(Debug)]
pub(super) struct Peer {
    /// What `--only` and the scripts call it.
    pub(super) name: &'static str,
    /// What the table calls it, without the precision.
    pub(super) title: &'static str,
    pub(super) precision: Precision,
    /// Ours, or Python.
    pub(super) is_ours: bool,
    /// Whether it also runs pre-training.
    pub(super) pretrains: bool,
    /// The steps of `peer_prepare.py` that make what it reads, besides what all read.
    pub(super) steps: &'static [&'static str],
}

const OURS: Peer = Peer {
    name: "",
    title: "videomae",
    precision: Precision::F32,
    is_ours: true,
    pretrains: true,
    steps: &[],
};

const PYTORCH: Peer = Peer { title: "PyTorch", is_ours: false, ..OURS };

const OPENVINO: Peer = Peer { title: "OpenVINO", pretrains: false, steps: &["openvino"], ..PYTORCH };

/// Everybody, in the order of the table.
pub(super) const PEERS: [Peer; 10] = [
    Peer { name: "ours-f32", ..OURS },
    Peer { name: "pytorch-f32", ..PYTORCH },
    Peer { name: "pytorch-compile", title: "PyTorch, torch.compile", ..PYTORCH },
    Peer { name: "onnxruntime-f32", title: "ONNX Runtime", pretrains: false, steps: &["onnx"], ..PYTORCH },
    Peer { name: "openvino-f32", ..OPENVINO },
    Peer { name: "ours-bf16", precision: Precision::Bf16, ..OURS },
    Peer { name: "pytorch-bf16", precision: Precision::Bf16, ..PYTORCH },
    Peer { name: "openvino-bf16", precision: Precision::Bf16, ..OPENVINO },
    Peer { name: "ours-int8", precision: Precision::Int8, ..OURS },
    Peer {
        name: "openvino-int8",
        title: "OpenVINO, NNCF",
        precision: Precision::Int8,
        steps: &["openvino", "openvino-int8"],
        ..OPENVINO
    },
];

/// Ours, and of the others those that can run the case and are asked for: by name, by the beginning of a name, or all
/// if none is named. `ours` leaves us alone.
pub(super) fn select(only: &[String], case: &Case) -> Result<Vec<&'static Peer>> {
    for name in only {
        let names = PEERS.each_ref().map(|peer| peer.name);
        ensure!(
            names.iter().any(|known| known.starts_with(name.as_str())),
            "--only: expected some of {}, found `{name}`",
            names.join(", ")
        );
    }
    let wanted =
        |peer: &Peer| only.is_empty() || only.iter().any(|name| peer.name.starts_with(name.as_str()));
    let able = |peer: &Peer| peer.pretrains || case.kind == Kind::Classification;
    Ok(PEERS.iter().filter(|peer| able(peer) && (peer.is_ours || wanted(peer))).collect())
}

/// A published size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Size {
    Small,
    Base,
}

/// What the model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Classification,
    Pretraining,
}

/// What everybody computes.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) size: Size,
    pub(super) kind: Kind,
    /// Frames of a clip.
    pub(super) frames: usize,
    /// Clips of a forward.
    pub(super) batch: usize,
    /// Threads of everybody.
    pub(super) threads: usize,
}

impl Case {
    /// Of the size, as `--model` has it.
    pub(super) fn size_name(&self) -> &'static str {
        match self.size {
            Size::Small => "small",
            Size::Base => "base",
        }
    }

    /// Of the kind, as the scripts have it.
    pub(super) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Classification => "classification",
            Kind::Pretraining => "pretraining",
        }
    }

    /// What the models depend on, as part of a file name.
    pub(super) fn model_name(&self) -> String {
        format!("{}-{}-{}x{}", self.size_name(), self.kind_name(), self.batch, self.frames)
    }

    /// What tells the results of this case from those of the usual one: nothing for the usual one itself.
    pub(super) fn suffix(&self) -> String {
        let parts = [
            (self.size != Size::Base).then(|| self.size_name().to_owned()),
            (self.kind != Kind::Classification).then(|| self.kind_name().to_owned()),
            (self.frames != 16).then(|| format!("{}-frames", self.frames)),
            (self.batch != 1).then(|| format!("batch-{}", self.batch)),
        ];
        parts.into_iter().flatten().map(|part| format!("-{part}")).collect()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Classification => "",
            Kind::Pretraining => " in pre-training, nine tokens in ten hidden",
        };
        let clips = if self.batch == 1 { "one clip".to_owned() } else { format!("{} clips", self.batch) };
        write!(f, "VideoMAE-{}{what}, {clips} of {} frames of 224 × 224", self.size_name(), self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(kind: Kind) -> Case {
        Case { size: Size::Base, kind, frames: 16, batch: 1, threads: 2 }
    }

    fn names(only: &[&str], kind: Kind) -> Vec<&'static str> {
        let only: Vec<_> = only.iter().map(|&name| name.to_owned()).collect();
        select(&only, &case(kind)).unwrap().iter().map(|peer| peer.name).collect()
    }

    #[test]
    fn without_a_choice_everybody_runs() {
        assert_eq!(names(&[], Kind::Classification).len(), PEERS.len());
    }

    #[test]
    fn a_beginning_chooses_all_that_begin_so_and_we_always_run() {
        let chosen = names(&["openvino", "pytorch-c"], Kind::Classification);
        let expected = [
            "ours-f32",
            "pytorch-compile",
            "openvino-f32",
            "ours-bf16",
            "openvino-bf16",
            "ours-int8",
            "openvino-int8",
        ];
        assert_eq!(chosen, expected);
    }

    #[test]
    fn ours_alone_is_a_choice() {
        assert_eq!(names(&["ours"], Kind::Classification), ["ours-f32", "ours-bf16", "ours-int8"]);
    }

    #[test]
    fn pretraining_runs_where_it_can() {
        let chosen = names(&[], Kind::Pretraining);
        assert!(chosen.iter().all(|name| name.starts_with("ours") || name.starts_with("pytorch")));
        assert!(chosen.contains(&"pytorch-f32"));
    }

    #[test]
    fn an_unknown_peer_is_refused_with_those_there_are() {
        let error = select(&["tvm".to_owned()], &case(Kind::Classification)).unwrap_err().to_string();
        assert!(error.contains("pytorch-f32") && error.contains("`tvm`"), "{error}");
    }

    #[test]
    fn every_peer_has_one_of_ours_to_be_compared_with() {
        for peer in &PEERS {
            assert!(PEERS.iter().any(|ours| ours.is_ours && ours.precision == peer.precision), "{peer:?}");
        }
    }

    #[test]
    fn only_unusual_cases_have_a_suffix() {
        assert_eq!(case(Kind::Classification).suffix(), "");
        let unusual = Case { size: Size::Small, batch: 4, frames: 8, ..case(Kind::Pretraining) };
        assert_eq!(unusual.suffix(), "-small-pretraining-8-frames-batch-4");
    }
}
