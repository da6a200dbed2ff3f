//! `cargo bench kernels`: every op over the shapes of VideoMAE-base, on every instruction set of this machine, and on its
//! GPU, if it has one.
//!
//! Ids are `kernels/<op>/<dtype>/<isa>/<shape>`, with `cuda` for an instruction set on a GPU, or `cuda90a` for its kernels
//! for compute capability 9.0. Criterion's options follow `--`, as do further filters: an op is measured when its id
//! matches any of them.

mod arguments;
mod cases;
mod gemm_crate;
mod meter;

use criterion::Criterion;
use kernels_backend::WeightFormat;
use kernels_cpu::{Isa, Peak, open};
use kernels_cuda::Kernels;

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
                let mut meter = Meter::new(&mut criterion, Some(peak), arguments.report);
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
    for (name, kernels) in [("cuda", Kernels::Ampere), ("cuda90a", Kernels::Hopper)] {
        match kernels_cuda::open_with(0, kernels) {
            Ok(backend) => {
                let mut meter = Meter::new(&mut criterion, None, arguments.report);
                // A GPU has no kernels for bytes.
                for case in cases::all().iter().filter(|case| case.format != WeightFormat::Int8) {
                    meter.measure(name, case, &backend);
                }
            }
            Err(error) => {
                eprintln!("skipped: {error}");
                // What cannot run the one cannot run the other, and one line is enough.
                break;
            }
        }
    }
    criterion.final_summary();
}
