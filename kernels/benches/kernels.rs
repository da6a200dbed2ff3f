//! `cargo bench kernels`: every op over the shapes of VideoMAE-base, on every instruction set of this machine.
//!
//! Ids are `kernels/<op>/<dtype>/<isa>/<shape>`. Criterion's options follow `--`, as do further filters: an op
//! is measured when its id matches any of them.

mod arguments;
mod cases;
mod gemm_crate;
mod meter;

use criterion::Criterion;
use kernels_cpu::{Isa, Peak, open};

use crate::meter::Meter;

fn main() {
    let Some(arguments) = arguments::of_criterion() else { return };
    let mut criterion = Criterion::default()
        // Ten samples in a second and a half: the whole list takes a few minutes on two cores.
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1500))
        .configure_from_args();
    for &isa in Isa::all() {
        match (open(isa, None), Peak::new(isa, None)) {
            (Ok(backend), Ok(peak)) => {
                let mut meter = Meter::new(&mut criterion, peak, arguments.report);
                for case in cases::all() {
                    meter.measure(isa.name(), &case, &backend);
                }
                if isa == Isa::best() {
                    for case in gemm_crate::all(meter.threads()) {
                        meter.measure("gemm", &case, &backend);
                    }
                }
            }
            (Err(error), _) | (_, Err(error)) => eprintln!("skipped: {error}"),
        }
    }
    criterion.final_summary();
}
