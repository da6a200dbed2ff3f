//! What was measured, for people and for programs.

use std::{fmt, time::Duration};

use kernels::stopwatch::Timed;
use serde_json::{Value, json};

/// Times of some forwards.
#[derive(Default)]
pub(super) struct Measured {
    /// Of each forward.
    forwards: Vec<Duration>,
    /// Ops of equal name and shape as one, over all forwards.
    ops: Vec<Op>,
    /// Operations per second, the best seen; zero where it was not measured.
    pub(super) peak: f64,
}

struct Op {
    timed: Timed,
    calls: usize,
}

impl Measured {
    /// Takes one forward in.
    pub(super) fn add(&mut self, elapsed: Duration, ops: &[Timed]) {
        self.forwards.push(elapsed);
        for timed in ops {
            match self.ops.iter_mut().find(|op| op.timed.call == timed.call) {
                Some(op) => {
                    op.timed.elapsed += timed.elapsed;
                    op.calls += 1;
                }
                None => self.ops.push(Op { timed: *timed, calls: 1 }),
            }
        }
    }

    /// Multiplications and additions of one forward.
    fn operations(&self) -> f64 {
        let total: f64 = self.ops.iter().map(|op| op.timed.call.operations * op.calls as f64).sum();
        total / self.forwards.len() as f64
    }

    /// Sorted.
    fn seconds(&self) -> Vec<f64> {
        let mut seconds: Vec<_> = self.forwards.iter().map(Duration::as_secs_f64).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    /// Of the peak, if there is one.
    fn fraction(&self, rate: f64) -> Option<f64> {
        (self.peak > 0.0).then(|| rate / self.peak)
    }
}

/// Everything that is told.
pub(super) struct Report {
    pub(super) model: String,
    pub(super) backend: String,
    pub(super) dtype: String,
    /// `None` where it is not known.
    pub(super) threads: Option<usize>,
    pub(super) shape: [usize; 5],
    /// Seconds; `None` for random weights.
    pub(super) load: Option<f64>,
    /// Bytes.
    pub(super) peak_memory: Option<u64>,
    pub(super) measured: Measured,
}

/// One line of the table: an op on a shape, per forward.
struct Row {
    name: String,
    shape: String,
    calls: usize,
    seconds: f64,
    share: f64,
    /// Operations per second; `None` for ops that make no products.
    rate: Option<f64>,
}

impl Report {
    fn rows(&self) -> Vec<Row> {
        let forwards = self.measured.forwards.len() as f64;
        let total: f64 = self.measured.forwards.iter().map(Duration::as_secs_f64).sum();
        let row = |op: &Op| {
            let (call, seconds) = (op.timed.call, op.timed.elapsed.as_secs_f64());
            let operations = call.operations * op.calls as f64;
            Row {
                name: call.op.to_owned(),
                shape: call.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
                calls: op.calls / self.measured.forwards.len(),
                seconds: seconds / forwards,
                share: seconds / total,
                rate: (operations > 0.0).then(|| operations / seconds),
            }
        };
        let mut rows: Vec<_> = self.measured.ops.iter().map(row).collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let seen: f64 = rows.iter().map(|row| row.share).sum();
        let rest = Row {
            name: "between the ops".to_owned(),
            shape: String::new(),
            calls: 1,
            seconds: (1.0 - seen) * total / forwards,
            share: 1.0 - seen,
            rate: None,
        };
        rows.push(rest);
        rows
    }

    /// The same for a program.
    pub(super) fn to_json(&self) -> Value {
        let seconds = self.measured.seconds();
        let operations = self.measured.operations();
        let rate = operations / median(&seconds);
        let ops: Vec<_> = self
            .rows()
            .iter()
            .map(|row| {
                json!({
                    "op": row.name, "shape": row.shape, "calls": row.calls, "seconds": row.seconds,
                    "share": row.share, "operations_per_second": row.rate,
                    "fraction_of_peak": row.rate.and_then(|rate| self.measured.fraction(rate)),
                })
            })
            .collect();
        json!({
            "model": self.model, "backend": self.backend, "dtype": self.dtype, "threads": self.threads,
            "shape": self.shape, "load": self.load, "forwards": seconds, "median": median(&seconds),
            "operations": operations, "operations_per_second": rate,
            "peak": (self.measured.peak > 0.0).then_some(self.measured.peak),
            "fraction_of_peak": self.measured.fraction(rate), "peak_memory": self.peak_memory, "ops": ops,
        })
    }
}

/// Of sorted numbers, at least one.
fn median(sorted: &[f64]) -> f64 {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [batch, frames, channels, height, width] = self.shape;
        let clips = if batch == 1 { "1 clip".to_owned() } else { format!("{batch} clips") };
        write!(f, "{} in {} on {}", self.model, self.dtype, self.backend)?;
        if let Some(threads) = self.threads {
            write!(f, ", {threads} {}", if threads == 1 { "thread" } else { "threads" })?;
        }
        writeln!(f, ", {clips} of {frames}×{channels}×{height}×{width}\n")?;
        let seconds = self.measured.seconds();
        let (median, operations) = (median(&seconds), self.measured.operations());
        if let Some(load) = self.load {
            writeln!(f, "load     {load:.3} s")?;
        }
        let [first, last] = [seconds[0], seconds[seconds.len() - 1]];
        writeln!(
            f,
            "forward  {median:.3} s, the median of {} from {first:.3} to {last:.3}; {:.1} clips a minute",
            seconds.len(),
            60.0 * batch as f64 / median
        )?;
        let rate = operations / median;
        write!(f, "speed    {:.1} GFLOP/s ({:.1} GFLOP)", rate / 1e9, operations / 1e9)?;
        match self.measured.fraction(rate) {
            Some(fraction) => writeln!(
                f,
                ", {:.1} % of the {:.1} GFLOP/s of multiply-adds on registers",
                100.0 * fraction,
                self.measured.peak / 1e9
            )?,
            None => writeln!(f)?,
        }
        if let Some(bytes) = self.peak_memory {
            writeln!(f, "memory   {:.0} MB at most", bytes as f64 / 1e6)?;
        }
        writeln!(
            f,
            "\n{:24}{:>18}{:>7}{:>11}{:>8}{:>10}{:>9}",
            "op", "shape", "calls", "ms", "share", "GFLOP/s", "of peak"
        )?;
        for row in self.rows() {
            let Row { name, shape, calls, seconds, share, rate } = row;
            write!(f, "{name:24}{shape:>18}{calls:>7}{:>11.2}{:>6.1} %", seconds * 1e3, share * 100.0)?;
            if let Some(rate) = rate {
                write!(f, "{:>10.1}", rate / 1e9)?;
                if let Some(fraction) = self.measured.fraction(rate) {
                    write!(f, "{:>7.1} %", fraction * 100.0)?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
