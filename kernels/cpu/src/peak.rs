//! The rate of multiply-adds that a processor can reach at all, to state the speed of kernels against.

use std::{hint::black_box, time::Instant};

use kernels_backend::{Error, Result};

use crate::{
    isa::{Isa, Visitor},
    simd::Simd,
    threads::Threads,
};

/// Measures the peak of one instruction set on some threads: independent multiply-adds on registers only. On a
/// processor or target without fused ones, a multiplication and an addition.
pub struct Peak {
    threads: Threads,
    burst: Box<dyn Fn() -> f64 + Send + Sync>,
}

/// Sums in flight: two pipes of four cycles each need eight, and twelve are what a tile has.
const SUMS: usize = 12;

/// Rounds of a burst, which takes about a tenth of a millisecond: long enough for the clock, short enough to
/// fall between two interruptions.
const ROUNDS: usize = 50_000;

impl Peak {
    /// Prepares to measure.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub fn new(isa: Isa, threads: Option<usize>) -> Result<Self> {
        let unavailable = |reason| Error::Unavailable { name: format!("cpu:{isa}"), reason };
        let burst = isa.visit(MakeBurst).map_err(unavailable)?;
        Ok(Self { threads: Threads::new(threads).map_err(unavailable)?, burst })
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// Floating-point operations per second of all threads together, measured once. On a machine with other
    /// work the largest of several is the peak.
    pub fn sample(&self) -> f64 {
        let mut rates = vec![0.0; self.threads.count()];
        self.threads.for_each_chunk(&mut rates, 1, |_, rate| rate[0] = (self.burst)());
        rates.iter().sum()
    }
}

struct MakeBurst;

impl Visitor for MakeBurst {
    type Output = Box<dyn Fn() -> f64 + Send + Sync>;

    fn visit<S: Simd>(self, s: S) -> Self::Output {
        Box::new(move || {
            s.vectorize(
                #[inline(always)]
                || burst(s),
            )
        })
    }
}

/// Operations per second of one burst on this thread.
#[inline(always)]
fn burst<S: Simd>(s: S) -> f64 {
    let (a, b) = (s.splat(black_box(0.999_9)), s.splat(black_box(1e-4)));
    let mut sums = [s.splat(black_box(1.0)); SUMS];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = s.mul_add(*sum, a, b);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let total = sums.into_iter().reduce(|x, y| s.add(x, y)).map_or(0.0, |v| s.sum_lanes(v));
    black_box(total);
    (2 * S::LANES * SUMS * ROUNDS) as f64 / seconds
}
