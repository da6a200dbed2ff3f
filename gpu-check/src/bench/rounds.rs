//! The rounds of a bench.

use std::{collections::BTreeMap, thread};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{
    Bench,
    contestant::{Contestant, Who},
    task::Task,
};
use crate::{arguments::Options, check::Size, clock::Deadline, machine::Clocks};

/// Seconds of a run: long beside a launch and a wait, short beside the rounds of a bench.
const RUN: f64 = 0.1;

/// Seconds of a run during which clocks are read: nvidia-smi takes a quarter of one to start.
const LOADED: f64 = 0.6;

/// What the rounds found.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) task: Task,
    /// Seconds of one repetition, by round.
    pub(super) seconds: BTreeMap<Who, Vec<f64>>,
    /// Why others, which were there when benches began, have none.
    pub(super) absent: BTreeMap<Who, String>,
    /// Of forwards, by who else ran them.
    pub(super) agreements: BTreeMap<Who, Agreement>,
    /// While the first of ours ran.
    pub(super) clocks: Clocks,
}

/// How far logits are from ours.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Agreement {
    /// Of the angle between them, the smallest of any clip.
    pub(super) cosine: f64,
    /// The largest difference over the largest logit, the largest of any clip.
    pub(super) largest_error: f64,
}

impl Agreement {
    /// Both keep 8 bits in every layer and round in other places: some 4e-3 of the largest logit in practice. A layer that
    /// is left out gives tenths.
    pub(super) fn holds(&self) -> bool {
        self.cosine >= 0.999 && self.largest_error <= 0.05
    }

    fn of(ours: &[f32], theirs: &[f32], clips: usize) -> Result<Self> {
        if ours.len() != theirs.len() || clips == 0 || !ours.len().is_multiple_of(clips) {
            bail!("expected {} logits of {clips} clips, found {}", ours.len(), theirs.len());
        }
        let mut all = Self { cosine: 1.0, largest_error: 0.0 };
        let width = ours.len() / clips;
        for (a, b) in ours.chunks(width).zip(theirs.chunks(width)) {
            let dot = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            };
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            let scale = a.iter().fold(0.0, |scale, &a| larger(scale, f64::from(a.abs())));
            let error = a.iter().zip(b).fold(0.0, |error, (&a, &b)| larger(error, f64::from(a - b).abs()));
            all.cosine = -larger(-all.cosine, -cosine);
            all.largest_error = larger(all.largest_error, error / scale);
        }
        Ok(all)
    }
}

/// The larger of two numbers, and NaN if either is, which `f64::max` would forget.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// A contestant that is ready, and how often it repeats.
struct Ready<'a> {
    contestant: &'a mut Contestant,
    times: u32,
    seconds: Vec<f64>,
}

/// Prepares everybody who can, and times them in turns.
///
/// # Errors
/// Where one of ours fails, which is then named. What others lack is in the result.
pub(super) fn measure(
    bench: &Bench,
    task: &Task,
    contestants: &mut [Contestant],
    options: &Options,
    deadline: Deadline,
) -> Result<Measured> {
    let mut absent = BTreeMap::new();
    let mut ready = Vec::new();
    for contestant in contestants.iter_mut().filter(|contestant| contestant.who.takes_part(&bench.subject)) {
        let who = contestant.who;
        // Why, was said when it could not be started.
        if contestant.opening().is_err() {
            continue;
        }
        match enter(contestant, task, options, deadline) {
            Ok(Ok(times)) => ready.push(Ready { contestant, times, seconds: Vec::new() }),
            Ok(Err(reason)) => drop(absent.insert(who, reason)),
            Err(error) if who.is_ours() => return Err(error.context(who.title())),
            Err(error) => drop(absent.insert(who, format!("{error:#}"))),
        }
    }
    let mut agreements = BTreeMap::new();
    if let Some(clips) = task.clips() {
        compare(&mut ready, clips, options, deadline, &mut absent, &mut agreements)?;
    }
    for round in 0..options.rounds as usize {
        let count = ready.len();
        for index in 0..count {
            let runner = &mut ready[(round + index) % count];
            let who = runner.contestant.who;
            if absent.contains_key(&who) {
                continue;
            }
            match runner.contestant.run(runner.times, options, deadline) {
                Ok(seconds) => runner.seconds.push(seconds / f64::from(runner.times)),
                Err(error) if who.is_ours() => return Err(error.context(who.title())),
                Err(error) => drop(absent.insert(who, format!("in round {}: {error:#}", round + 1))),
            }
        }
    }
    let first = ready.first_mut().context("no contestant could run")?;
    let clocks = under_load(first, options, deadline)?;
    let seconds = ready.into_iter().filter(|ready| !absent.contains_key(&ready.contestant.who));
    let seconds = seconds.map(|ready| (ready.contestant.who, ready.seconds)).collect();
    Ok(Measured { task: task.clone(), seconds, absent, agreements, clocks })
}

/// Prepares one, and finds how often it repeats in a run.
fn enter(
    contestant: &mut Contestant,
    task: &Task,
    options: &Options,
    deadline: Deadline,
) -> Result<std::result::Result<u32, String>> {
    contestant.revive(options, deadline)?;
    if let Err(reason) = contestant.prepare(task, options, deadline)? {
        return Ok(Err(reason));
    }
    let one = contestant.run(1, options, deadline)?;
    Ok(Ok(repetitions(one, if options.size == Size::Small { 0.0 } else { RUN })))
}

/// How often something that takes `one` second fits in a run.
fn repetitions(one: f64, run: f64) -> u32 {
    (run / one.max(1e-7)).ceil().clamp(1.0, 100_000.0) as u32
}

/// Compares everybody's logits with those of the first of ours.
fn compare(
    ready: &mut [Ready<'_>],
    clips: usize,
    options: &Options,
    deadline: Deadline,
    absent: &mut BTreeMap<Who, String>,
    agreements: &mut BTreeMap<Who, Agreement>,
) -> Result<()> {
    let mut ours: Option<Vec<f32>> = None;
    for Ready { contestant, .. } in ready {
        let who = contestant.who;
        match (contestant.logits(options, deadline), &ours) {
            (Ok(logits), Some(ours)) => drop(agreements.insert(who, Agreement::of(ours, &logits, clips)?)),
            (Ok(logits), None) => ours = Some(logits),
            (Err(error), _) if who.is_ours() => return Err(error.context(who.title())),
            (Err(error), _) => drop(absent.insert(who, format!("{error:#}"))),
        }
    }
    Ok(())
}

/// The clocks while a contestant runs, in a run that does not count.
fn under_load(runner: &mut Ready<'_>, options: &Options, deadline: Deadline) -> Result<Clocks> {
    let Some(&one) = runner.seconds.first() else { return Ok(Clocks::default()) };
    let times = repetitions(one, if options.size == Size::Small { 0.0 } else { LOADED });
    let device = options.device;
    let reader = thread::spawn(move || Clocks::now(device));
    runner.contestant.run(times, options, deadline).context("while clocks were read")?;
    Ok(reader.join().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_clip_counts_and_nan_agrees_with_nothing() {
        let ours = [1.0, -2.0, 0.5, 4.0, 0.0, 1.0];
        assert!(Agreement::of(&ours, &ours, 2).unwrap().holds());
        let near = Agreement::of(&ours, &[1.0, -2.0, 0.5, 4.0, 0.0, 1.4], 2).unwrap();
        assert!((near.largest_error - 0.1).abs() < 1e-6 && !near.holds(), "{near:?}");
        for place in [0, 5] {
            let mut theirs = ours;
            theirs[place] = f32::NAN;
            assert!(!Agreement::of(&ours, &theirs, 2).unwrap().holds());
        }
        assert!(Agreement::of(&ours, &ours[1..], 2).is_err());
    }

    #[test]
    fn a_run_is_as_long_as_it_should_be() {
        assert_eq!(repetitions(0.001, RUN), 100);
        assert_eq!(repetitions(7.0, RUN), 1);
        assert_eq!(repetitions(0.0, RUN), 100_000);
    }
}
