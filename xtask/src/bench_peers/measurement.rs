//! Starting everybody, checking that they agree, and timing them in turns.

use std::{path::PathBuf, process::Command, thread::sleep, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::{
    agreement::Reference,
    peers::{Case, Peer},
    preparation::Preparation,
    results::{Measured, Row},
    worker::{Ready, Started, Worker},
};

/// Seconds of a forward from which a peer is compared on one clip and timed in [`SLOW_ROUNDS`] only, so that one that
/// has no kernels for this processor does not take most of the run.
const SLOW: f64 = 15.0;

/// Rounds of a slow peer.
const SLOW_ROUNDS: usize = 2;

/// Between two forwards, so that the threads of one have stopped spinning when the next begins: OpenMP of Intel spins
/// for 200 ms, the others less.
const PAUSE: Duration = Duration::from_millis(250);

/// What the rounds found.
pub(super) struct Measurement {
    pub(super) rows: Vec<Row>,
    /// Multiplications and additions of a forward.
    pub(super) operations: f64,
    /// Operations per second.
    pub(super) peak: f64,
}

/// A peer that is ready, with what is known of it so far.
struct Contestant {
    peer: &'static Peer,
    worker: Worker,
    measured: Measured,
    is_slow: bool,
}

/// Measures the peers of a case. `program` is `forward_worker`.
pub(super) fn measure(
    preparation: &Preparation<'_>,
    peers: &[&'static Peer],
    case: &Case,
    rounds: usize,
    program: &PathBuf,
) -> Result<Measurement> {
    let mut command = Command::new(program);
    command.args(["peak", &case.threads.to_string()]);
    let Started::Ready(mut meter, _) = Worker::start(&mut command, preparation.log("peak"))? else {
        bail!("the peak of this machine cannot be measured");
    };
    let reference = preparation.reference()?;
    let mut operations = None;
    let mut rows: Vec<(&'static Peer, Result<Contestant, String>)> = Vec::new();
    for &peer in peers {
        eprintln!("starting {}", peer.name);
        let contestant = match start(preparation, peer, case, program) {
            Ok(Started::Ready(worker, ready)) => {
                operations = operations.or(ready.operations);
                enter(preparation, &reference, peer, case, worker, ready)
            }
            Ok(Started::Unavailable(why)) => Ok(Err(why)),
            Err(error) => Ok(Err(format!("{error:#}"))),
        }
        .with_context(|| peer.name)?;
        if let Err(why) = &contestant {
            eprintln!("{}: not available: {why}", peer.name);
        }
        rows.push((peer, contestant));
    }
    let operations =
        operations.context("none of ours could run: a peer of another precision says why above")?;
    let peak = run_rounds(&mut rows, rounds, &mut meter)?;
    let rows = rows
        .into_iter()
        .map(|(peer, contestant)| Row { peer, outcome: contestant.map(|contestant| contestant.measured) })
        .collect();
    Ok(Measurement { rows, operations, peak })
}

/// Starts the process of a peer, making first what it reads.
fn start(preparation: &Preparation<'_>, peer: &Peer, case: &Case, program: &PathBuf) -> Result<Started> {
    preparation.make_for(peer)?;
    let mut command = if peer.is_ours {
        let mut command = Command::new(program);
        command
            .args([peer.precision.name(), &case.threads.to_string(), case.kind_name()])
            .arg(case.batch.to_string())
            .arg(preparation.checkpoint())
            .arg(preparation.inputs());
        command
    } else {
        let mut command = preparation.script("peer_worker.py")?;
        command.arg(peer.name);
        command
    };
    Worker::start(&mut command, preparation.log(peer.name))
}

/// Compares the logits of a peer that has just started. One of ours, or one in f32, that differs is an error, since
/// its times would be those of another computation.
fn enter(
    preparation: &Preparation<'_>,
    reference: &Reference,
    peer: &'static Peer,
    case: &Case,
    mut worker: Worker,
    ready: Ready,
) -> Result<Result<Contestant, String>> {
    let file = preparation.logits();
    let mut all = None;
    let mut is_slow = false;
    // Batches that together hold every clip once.
    for clip in (0..reference.clips()).step_by(case.batch) {
        let forward = match worker.forward(clip, Some(&file)) {
            Ok(forward) => forward,
            Err(error) => return Ok(Err(format!("{error:#}"))),
        };
        let one = reference.compare(&file, clip, case.batch)?;
        all = Some(all.map_or(one, |all| one.and(&all)));
        is_slow = forward.seconds > SLOW;
        if is_slow {
            break;
        }
    }
    let agreement = all.context("expected clips to compare on, found none")?;
    let bound = peer.precision.bound();
    let agrees = bound.holds(&agreement);
    eprintln!(
        "{}: ready in {:.1} s; cosine {:.7}, largest error {:.1e} of the largest logit",
        peer.name, ready.load, agreement.cosine, agreement.largest_error
    );
    ensure!(
        agrees || !(peer.is_ours || peer.precision == super::peers::Precision::F32),
        "disagrees with PyTorch in f32: expected {bound}; found cosine {:.7}, largest error {:.1e}",
        agreement.cosine,
        agreement.largest_error
    );
    let measured = Measured { load: ready.load, memory: None, seconds: Vec::new(), agreement };
    Ok(Ok(Contestant { peer, worker, measured, is_slow }))
}

/// One forward of each in every round; the round begins with another one each time, so that nobody always follows the
/// same neighbour. Returns the best of the peaks measured before each forward.
fn run_rounds(
    rows: &mut [(&'static Peer, Result<Contestant, String>)],
    rounds: usize,
    meter: &mut Worker,
) -> Result<f64> {
    let mut best: f64 = 0.0;
    for round in 0..rounds {
        let count = rows.len();
        for index in 0..count {
            let (peer, entry) = &mut rows[(round + index) % count];
            let Ok(contestant) = entry else { continue };
            if contestant.is_slow && round >= SLOW_ROUNDS {
                contestant.measured.seconds.push(None);
                continue;
            }
            sleep(PAUSE);
            best = best.max(meter.forward(0, None)?.peak.unwrap_or(0.0));
            match contestant.worker.forward(0, None) {
                Ok(forward) => {
                    contestant.measured.seconds.push(Some(forward.seconds));
                    contestant.measured.memory = contestant.worker.peak_memory();
                }
                Err(error) if peer.is_ours => return Err(error.context(peer.name)),
                Err(error) => {
                    eprintln!("{}: {error:#}", peer.name);
                    *entry = Err(format!("ended in round {}: {error:#}", round + 1));
                }
            }
        }
        eprintln!("round {} of {rounds}: {}", round + 1, times(rows));
    }
    Ok(best)
}

/// The last time of each.
fn times(rows: &[(&'static Peer, Result<Contestant, String>)]) -> String {
    let ran = rows.iter().filter_map(|(_, contestant)| contestant.as_ref().ok());
    let times = ran.filter_map(|contestant| {
        let seconds = contestant.measured.seconds.last().copied().flatten()?;
        Some(format!("{} {seconds:.2} s", contestant.peer.name))
    });
    times.collect::<Vec<_>>().join(", ")
}
