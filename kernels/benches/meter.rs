//! One measurement, and the line that is printed about it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode};
use kernels_backend::{Backend, WeightFormat};
use kernels_cpu::Peak;

/// An op on a shape.
pub(crate) struct Case {
    /// The op's name.
    pub(crate) op: &'static str,
    /// The precision of its products.
    pub(crate) format: WeightFormat,
    /// The shape, as it stands in the id.
    pub(crate) shape: String,
    /// Multiplications and additions, of ops that are bound by them.
    pub(crate) operations: Option<f64>,
    /// Makes the operands, and returns what runs the op once.
    #[expect(clippy::type_complexity, reason = "a function that makes a function")]
    pub(crate) prepare: Box<dyn Fn(&Arc<dyn Backend>) -> Box<dyn FnMut()>>,
}

/// Runs cases through Criterion and compares them with the peak.
pub(crate) struct Meter<'a> {
    criterion: &'a mut Criterion,
    /// Where it is known how to measure it.
    peak: Option<Peak>,
    report: bool,
}

impl<'a> Meter<'a> {
    /// A meter for one instruction set, or for a GPU.
    pub(crate) fn new(criterion: &'a mut Criterion, peak: Option<Peak>, report: bool) -> Self {
        Self { criterion, peak, report }
    }

    /// Threads of the backend and of the peak.
    pub(crate) fn threads(&self) -> usize {
        self.peak.as_ref().map_or(1, Peak::threads)
    }

    /// Measures one case, if Criterion's filter lets it.
    pub(crate) fn measure(&mut self, isa: &str, case: &Case, backend: &Arc<dyn Backend>) {
        let name = format!("kernels/{}/{}/{isa}", case.op, case.format);
        let mut group = self.criterion.benchmark_group(&name);
        group.sampling_mode(SamplingMode::Flat);
        let (mut fastest, mut peak) = (Duration::MAX, 0.0f64);
        // Criterion calls the closure for every sample; the operands are made for the first.
        let mut run = None;
        group.bench_function(&case.shape, |bencher| {
            let run = run.get_or_insert_with(|| (case.prepare)(backend));
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    if let (Some(_), Some(meter)) = (case.operations, &self.peak) {
                        // Right beside, so that both see the same clock and the same neighbours.
                        peak = peak.max(meter.sample());
                    }
                    let start = Instant::now();
                    run();
                    let elapsed = start.elapsed();
                    total += elapsed;
                    fastest = fastest.min(elapsed);
                }
                total
            });
        });
        group.finish();
        if self.report && run.is_some() {
            let id = format!("{name}/{}", case.shape);
            println!("{}", summary(&id, case.operations, fastest, peak));
        }
    }
}

fn summary(id: &str, operations: Option<f64>, fastest: Duration, peak: f64) -> String {
    let milliseconds = fastest.as_secs_f64() * 1e3;
    let time = format!("{id}: fastest {milliseconds:.3} ms");
    match operations {
        Some(operations) => {
            let rate = operations / fastest.as_secs_f64();
            let time = format!("{time}, {:.1} GF/s", rate / 1e9);
            match peak {
                0.0 => time,
                _ => format!("{time}, {:.0} % of the FMA peak {:.1} GF/s", 100.0 * rate / peak, peak / 1e9),
            }
        }
        None => time,
    }
}
