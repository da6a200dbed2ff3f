//! The committed file: speeds by instruction set, each with the machine it was measured on.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::lines::{Speed, isa};
use crate::{files, machine::Machine};

/// What later speeds are compared with.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Baseline {
    /// By instruction set, because no machine has all.
    instruction_sets: BTreeMap<String, Section>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Section {
    machine: Machine,
    /// By id.
    speeds: BTreeMap<String, Speed>,
}

/// An op that both the baseline and a run have.
#[derive(Debug, PartialEq)]
pub(super) struct Change<'a> {
    pub(super) id: &'a str,
    old: Speed,
    new: Speed,
}

impl Change<'_> {
    /// How many times as fast the new one is. An op that began or ceased to count as one that makes products cannot
    /// be compared, and counts as infinitely slow, so that it is noticed.
    pub(super) fn ratio(old: Speed, new: Speed) -> f64 {
        match (old, new) {
            (Speed::OfPeak(old), Speed::OfPeak(new)) => new / old,
            (Speed::PeakOperations(old), Speed::PeakOperations(new)) => old / new,
            _ => 0.0,
        }
    }
}

impl Baseline {
    /// Reads the file.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// Writes the file, speeds rounded to four digits: the noise is in the second.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        files::replace(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// Takes speeds in, in place of those of the same ids.
    pub(super) fn take(&mut self, measured: &BTreeMap<String, Speed>, machine: &Machine) {
        for (id, speed) in measured {
            let new = || Section { machine: machine.clone(), speeds: BTreeMap::new() };
            let section = self.instruction_sets.entry(isa(id).to_owned()).or_insert_with(new);
            section.machine = machine.clone();
            section.speeds.insert(id.clone(), speed.rounded());
        }
    }

    fn changes<'a>(&self, measured: &'a BTreeMap<String, Speed>) -> Vec<Change<'a>> {
        let change = |(id, &new): (&'a String, &Speed)| {
            let old = *self.instruction_sets.get(isa(id))?.speeds.get(id)?;
            Some(Change { id, old, new })
        };
        measured.iter().filter_map(change).collect()
    }

    /// The ops below `bound` times the speed they had.
    pub(super) fn slower<'a>(&self, measured: &'a BTreeMap<String, Speed>, bound: f64) -> Vec<Change<'a>> {
        let mut changes = self.changes(measured);
        changes.retain(|change| Change::ratio(change.old, change.new) < bound);
        changes
    }

    /// One line for every op that changed by more than the bound in either direction, and a summary.
    pub(super) fn report(&self, measured: &BTreeMap<String, Speed>, bound: f64) -> String {
        let mut text = String::new();
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{arguments}");
        };
        let changes = self.changes(measured);
        let (mut slower, mut faster) = (0, 0);
        for Change { id, old, new } in &changes {
            let ratio = Change::ratio(*old, *new);
            let verdict = match ratio {
                _ if ratio < bound => "slower",
                _ if ratio > 1.0 / bound => "faster",
                _ => continue,
            };
            slower += usize::from(verdict == "slower");
            faster += usize::from(verdict == "faster");
            line(format_args!("{verdict}  {id}: {ratio:.2} times the speed ({old} before, {new} now)"));
        }
        for (isa, section) in &self.instruction_sets {
            if changes.iter().any(|change| super::lines::isa(change.id) == isa) {
                line(format_args!("{isa}: baseline of {}, {}", section.machine.date, section.machine));
            }
        }
        let unknown = measured.len() - changes.len();
        line(format_args!(
            "{} ops compared, {slower} slower, {faster} faster, {unknown} not in the baseline",
            changes.len()
        ));
        text
    }
}

impl Speed {
    fn rounded(self) -> Self {
        // Four digits of either, whatever its magnitude.
        let round = |value: f64| format!("{value:.3e}").parse().unwrap_or(value);
        match self {
            Self::OfPeak(part) => Self::OfPeak(round(part)),
            Self::PeakOperations(operations) => Self::PeakOperations(round(operations)),
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfPeak(part) => write!(f, "{:.1} % of the peak", 100.0 * part),
            Self::PeakOperations(operations) => write!(f, "worth {:.3} GFLOP at the peak", operations / 1e9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAR: &str = "kernels/linear/f32/avx2/1568x768x768";
    const NORM: &str = "kernels/layer_norm/f32/avx2/1568x768";

    fn machine() -> Machine {
        Machine {
            processor: "a processor".to_owned(),
            cores: 2,
            instructions: Vec::new(),
            rustc: "rustc 1.95.0".to_owned(),
            commit: "abc1234".to_owned(),
            date: "2026-11-23".to_owned(),
        }
    }

    fn speeds(linear: f64, norm: f64) -> BTreeMap<String, Speed> {
        let speeds = [(LINEAR, Speed::OfPeak(linear)), (NORM, Speed::PeakOperations(norm))];
        speeds.map(|(id, speed)| (id.to_owned(), speed)).into()
    }

    fn baseline() -> Baseline {
        let mut baseline = Baseline::default();
        baseline.take(&speeds(0.9, 50e6), &machine());
        baseline
    }

    #[test]
    fn within_the_noise_nothing_is_slower() {
        let now = speeds(0.82, 54e6);
        assert_eq!(baseline().slower(&now, 0.9), []);
        let report = baseline().report(&now, 0.9);
        assert!(report.ends_with("2 ops compared, 0 slower, 0 faster, 0 not in the baseline\n"), "{report}");
    }

    #[test]
    fn a_smaller_part_of_the_peak_and_more_time_are_both_slower() {
        let now = speeds(0.7, 70e6);
        let slower: Vec<_> = baseline().slower(&now, 0.9).iter().map(|change| change.id.to_owned()).collect();
        assert_eq!(slower, [NORM, LINEAR]);
        let report = baseline().report(&now, 0.9);
        let line = "0.78 times the speed (90.0 % of the peak before, 70.0 % of the peak now)";
        assert!(report.contains(line), "{report}");
        assert!(report.contains("avx2: baseline of 2026-11-23, a processor, 2 cores"), "{report}");
    }

    #[test]
    fn what_is_faster_is_told_and_no_regression() {
        let now = speeds(0.9, 30e6);
        assert!(baseline().slower(&now, 0.9).is_empty());
        assert!(baseline().report(&now, 0.9).contains("faster  kernels/layer_norm"));
    }

    #[test]
    fn an_op_that_changed_its_kind_is_noticed() {
        let now = BTreeMap::from([(LINEAR.to_owned(), Speed::PeakOperations(1.0))]);
        assert_eq!(baseline().slower(&now, 0.9).len(), 1);
    }

    #[test]
    fn new_ops_are_counted_and_other_instruction_sets_are_kept() {
        let new = "kernels/linear/bf16/avx512bf16/1x2x3".to_owned();
        let now = BTreeMap::from([(new, Speed::OfPeak(0.5))]);
        assert!(baseline().report(&now, 0.9).contains("0 ops compared, 0 slower, 0 faster, 1 not in the"));
        let mut both = baseline();
        both.take(&now, &machine());
        assert_eq!(both.instruction_sets.len(), 2);
    }

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        let mut baseline = baseline();
        baseline.take(&speeds(1.0 / 3.0, 123_456.0), &machine());
        baseline.save(&path).unwrap();
        let read = Baseline::load(&path).unwrap();
        assert_eq!(read, baseline);
        let section = &read.instruction_sets["avx2"];
        assert_eq!(section.speeds[LINEAR], Speed::OfPeak(0.3333));
        assert_eq!(section.speeds[NORM], Speed::PeakOperations(123_500.0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_none_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        assert!(Baseline::load(&path).unwrap_err().to_string().contains("baseline.json"));
        fs::write(&path, "{").unwrap();
        assert!(Baseline::load(&path).unwrap_err().to_string().contains("baseline.json"));
    }
}
