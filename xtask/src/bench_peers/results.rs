//! Everything that one run of the command found out.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    agreement::Agreement,
    peers::{Case, Peer, Precision},
    statistics::{Comparison, median},
};
use crate::machine::Machine;

/// One run.
pub(super) struct Results {
    pub(super) machine: Machine,
    /// Pinned packages, `name version`.
    pub(super) versions: Vec<String>,
    pub(super) case: Case,
    pub(super) rounds: usize,
    /// Multiplications and additions of a forward.
    pub(super) operations: f64,
    /// Multiply-adds on registers in f32, operations per second, the best of the run.
    pub(super) peak: f64,
    pub(super) rows: Vec<Row>,
    pub(super) cold_start: Option<ColdStart>,
}

/// One peer.
pub(super) struct Row {
    pub(super) peer: &'static Peer,
    /// What was measured, or why nothing was.
    pub(super) outcome: Result<Measured, String>,
}

/// What was measured of a peer.
pub(super) struct Measured {
    /// Seconds from the checkpoint to a model ready to run.
    pub(super) load: f64,
    /// The most memory of its process, bytes.
    pub(super) memory: Option<u64>,
    /// Seconds of a forward, by round; `None` in rounds it was left out of.
    pub(super) seconds: Vec<Option<f64>>,
    pub(super) agreement: Agreement,
}

/// Whole programs, from the start of the process to the printed label, by round.
#[derive(Serialize)]
pub(super) struct ColdStart {
    /// File name of the video.
    pub(super) video: String,
    /// Seconds of `videomae classify`.
    pub(super) ours: Vec<f64>,
    /// Seconds of a script with transformers.
    pub(super) python: Vec<f64>,
}

impl Measured {
    /// The times there are.
    pub(super) fn times(&self) -> Vec<f64> {
        self.seconds.iter().flatten().copied().collect()
    }
}

impl Results {
    /// The peers that ran, with what they did.
    pub(super) fn measured(&self) -> impl Iterator<Item = (&'static Peer, &Measured)> {
        self.rows.iter().filter_map(|row| Some((row.peer, row.outcome.as_ref().ok()?)))
    }

    /// Ours in a precision, if it ran.
    fn ours(&self, precision: Precision) -> Option<&Measured> {
        self.measured().find(|(peer, _)| peer.is_ours && peer.precision == precision).map(|(_, ours)| ours)
    }

    /// How a peer compares with ours in its precision; `None` for ours.
    pub(super) fn comparison(&self, peer: &Peer, measured: &Measured) -> Option<Comparison> {
        let ours = self.ours(peer.precision).filter(|_| !peer.is_ours)?;
        Comparison::of(&ours.seconds, &measured.seconds)
    }

    /// The same for a program.
    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(|row| self.row_to_json(row)).collect();
        json!({
            "machine": self.machine, "versions": self.versions, "model": self.case.size_name(),
            "kind": self.case.kind_name(), "frames": self.case.frames, "batch": self.case.batch,
            "threads": self.case.threads, "rounds": self.rounds, "operations": self.operations,
            "peak": self.peak, "peers": rows, "cold_start": self.cold_start,
        })
    }

    fn row_to_json(&self, Row { peer, outcome }: &Row) -> Value {
        let head = json!({ "name": peer.name, "title": peer.title, "precision": peer.precision });
        let rest = match outcome {
            Ok(measured) => {
                let times = measured.times();
                let comparison = self.comparison(peer, measured);
                json!({
                    "seconds": measured.seconds, "median": median(&times),
                    "ratio_to_ours": comparison.as_ref().map(|comparison| comparison.ratio),
                    "rounds_slower_than_ours": comparison.as_ref().map(|comparison| comparison.won),
                    "load": measured.load, "memory": measured.memory, "agreement": measured.agreement,
                    "within_bound": peer.precision.bound().holds(&measured.agreement),
                })
            }
            Err(why) => json!({ "unavailable": why }),
        };
        let fields = [head, rest].into_iter().filter_map(|value| value.as_object().cloned());
        Value::Object(fields.flatten().collect())
    }
}
