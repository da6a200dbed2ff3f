//! What is made of the times: a line, with the goals beside the figures.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    Bench,
    contestant::Who,
    rounds::Measured,
    task::{Goal, Task},
};
use crate::record::{Kind, Line, Status};

/// The heads of the table.
pub(crate) const COLUMNS: &[&str] =
    &["cuda", "cuda 90a", "PyTorch", "compiled", "cuBLASLt", "goals, of the faster of ours"];

/// A bench without figures.
pub(super) fn plain(bench: &Bench, status: Status, text: String) -> Line {
    let detail = json!({ "text": text });
    // Under the goals, which are last.
    let mut cells = vec![String::new(); COLUMNS.len() - 1];
    cells.push(text);
    Line { kind: Kind::Bench, name: bench.name.clone(), status, took: Duration::ZERO, cells, detail }
}

/// A bench with figures. It fails where somebody's logits are others.
pub(super) fn line(bench: &Bench, measured: &Measured) -> Line {
    let differing: Vec<_> = measured
        .agreements
        .iter()
        .filter(|(_, agreement)| !agreement.holds())
        .map(|(who, agreement)| {
            let (cosine, error) = (agreement.cosine, agreement.largest_error);
            format!("{} gives other logits: cosine {cosine:.5}, largest error {error:.1e}", who.title())
        })
        .collect();
    let goals: Vec<_> = bench.subject.goals().iter().filter_map(|goal| judge(*goal, measured)).collect();
    let mut cells: Vec<String> = Who::ALL.iter().map(|&who| cell(who, measured)).collect();
    let mut last: Vec<_> = goals.iter().map(|goal| goal.text.clone()).collect();
    last.extend(differing.iter().cloned());
    last.extend(measured.absent.iter().map(|(who, reason)| format!("{}: {reason}", who.title())));
    cells.push(last.join("; "));
    let contestants: Map<_, _> =
        Who::ALL.iter().map(|&who| (who.title().to_owned(), contestant(who, measured))).collect();
    let goals: Vec<_> =
        goals.iter().map(|goal| json!({ "goal": goal.text, "reached": goal.reached })).collect();
    let detail = json!({
        "task": measured.task, "contestants": contestants, "goals": goals, "clocks": measured.clocks,
        "text": differing.join("; "),
    });
    let status = if differing.is_empty() { Status::Measured } else { Status::Failed };
    Line { kind: Kind::Bench, name: bench.name.clone(), status, took: Duration::ZERO, cells, detail }
}

/// What a program wants to know of a contestant.
fn contestant(who: Who, measured: &Measured) -> Value {
    match (measured.seconds.get(&who), measured.absent.get(&who)) {
        (Some(seconds), _) => json!({
            "seconds": seconds, "median": median(seconds), "rate": rate(&measured.task, median(seconds)),
            "agreement": measured.agreements.get(&who),
        }),
        (None, Some(reason)) => json!({ "absent": reason }),
        (None, None) => Value::Null,
    }
}

/// `612 TFLOP/s`, `1510 clips/s (5.30 ms)`, or a dash.
fn cell(who: Who, measured: &Measured) -> String {
    let Some(seconds) = measured.seconds.get(&who) else { return "–".to_owned() };
    let (seconds, rate) = (median(seconds), rate(&measured.task, median(seconds)));
    match measured.task {
        Task::Forward { .. } => format!("{rate:.0} clips/s ({:.2} ms)", seconds * 1e3),
        _ => format!("{rate:.0} TFLOP/s"),
    }
}

/// Clips a second, or 10¹² operations.
fn rate(task: &Task, seconds: f64) -> f64 {
    match (task.clips(), task.operations()) {
        (Some(clips), _) => clips as f64 / seconds,
        (None, Some(operations)) => operations / seconds / 1e12,
        (None, None) => 1.0 / seconds,
    }
}

/// A goal beside what was found.
struct Judged {
    text: String,
    reached: bool,
}

/// Of the faster of ours; nothing where the goal is about somebody who was not there.
fn judge(goal: Goal, measured: &Measured) -> Option<Judged> {
    let ours = [Who::Cuda, Who::Hopper].into_iter().filter_map(|who| measured.seconds.get(&who));
    let ours = ours.min_by(|a, b| median(a).total_cmp(&median(b)))?;
    let (seconds, speed) = (median(ours), rate(&measured.task, median(ours)));
    let (wanted, found, reached) = match goal {
        Goal::Teraflops(least) => (format!("≥ {least} TFLOP/s"), format!("{speed:.0}"), speed >= least),
        Goal::ClipsPerSecond(least) => (format!("≥ {least} clips/s"), format!("{speed:.0}"), speed >= least),
        Goal::Milliseconds(most) => {
            (format!("≤ {most} ms"), format!("{:.2}", seconds * 1e3), seconds * 1e3 <= most)
        }
        Goal::TimesCompiled(least) => {
            let ratio = ratio(ours, measured.seconds.get(&Who::Compiled)?);
            (format!("≥ {least}× compiled"), format!("{ratio:.2}"), ratio >= least)
        }
    };
    let verdict = if reached { "reached" } else { "missed" };
    Some(Judged { text: format!("{wanted}: {verdict}, {found}"), reached })
}

/// How long they took beside us, as the median of the rounds.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| theirs / ours).collect();
    median(&ratios)
}

/// The middle of some numbers, or the mean of the two in the middle; NaN of none.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count => (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::machine::Clocks;

    fn measured(seconds: &[(Who, &[f64])]) -> Measured {
        Measured {
            task: Task::Forward {
                checkpoint: "c".into(),
                pixel_values: "p".into(),
                shape: [8, 16, 3, 224, 224],
                resident: true,
            },
            seconds: seconds.iter().map(|(who, seconds)| (*who, seconds.to_vec())).collect(),
            absent: BTreeMap::new(),
            agreements: BTreeMap::new(),
            clocks: Clocks::default(),
        }
    }

    #[test]
    fn goals_are_judged_by_medians_of_the_faster_of_ours() {
        let found = measured(&[
            (Who::Cuda, &[0.02; 3]),
            (Who::Hopper, &[0.004, 0.1, 0.005]),
            (Who::Compiled, &[0.008, 0.2, 0.008]),
        ]);
        let judged = judge(Goal::ClipsPerSecond(1500.0), &found).unwrap();
        assert!(judged.reached && judged.text == "≥ 1500 clips/s: reached, 1600", "{}", judged.text);
        let judged = judge(Goal::TimesCompiled(2.1), &found).unwrap();
        assert!(!judged.reached && judged.text.ends_with("missed, 2.00"), "{}", judged.text);
        assert!(judge(Goal::TimesCompiled(1.0), &measured(&[(Who::Cuda, &[1.0])])).is_none());
    }

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
