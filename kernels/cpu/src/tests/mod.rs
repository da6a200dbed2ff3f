//! Every op on every instruction set against the reference.

mod determinism;
mod operand;
mod refusals;

use std::sync::{Arc, LazyLock};

use kernels_backend::{Backend, DType, Layout, Stream, WeightFormat};
use kernels_testing::{Operand, Subject, noise, packed, tensor, unset, values};

use crate::{
    Isa,
    backend::CpuBackend,
    open,
    simd::{EmulatedDot, Instructions},
    threads::Threads,
};

/// Every instruction set of this machine, and three that run anywhere: lanes and tiles of AVX2 and of AVX-512 on
/// arrays, without and with its dot products. What those leave untested are the intrinsics themselves. Miri, a thousand times slower, sees the first
/// only.
pub(crate) fn backends(threads: usize) -> Vec<Arc<dyn Backend>> {
    let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
    for &isa in Isa::all() {
        match isa.check() {
            Ok(()) => backends.push(open(isa, Some(threads)).unwrap()),
            Err(reason) => eprintln!("skipped cpu:{isa}: {reason}"),
        }
    }
    if cfg!(miri) {
        return backends;
    }
    let threads = || Threads::new(Some(threads)).unwrap();
    backends.push(CpuBackend::new(Instructions::<_, 6>(pulp::Scalar256b), "emulated avx2", threads()));
    backends.push(CpuBackend::new(Instructions::<_, 14>(pulp::Scalar512b), "emulated avx512", threads()));
    backends.push(CpuBackend::new(Instructions::<_, 14>(EmulatedDot), "emulated avx512bf16", threads()));
    backends
}

/// [`backends`] on two threads, opened once.
static BACKENDS: LazyLock<Vec<Arc<dyn Backend>>> = LazyLock::new(|| backends(2));

/// The tests of every backend.
mod every_op {
    use super::Cpu;

    kernels_testing::test_backend!(Cpu);
}

/// All instruction sets.
struct Cpu;

impl Subject for Cpu {
    fn each(&self, check: &mut dyn FnMut(&Arc<dyn Backend>, &str)) {
        BACKENDS.iter().for_each(|backend| check(backend, ""));
    }

    fn formats(&self) -> &[WeightFormat] {
        &[WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8]
    }

    fn takes(&self, operand: Operand, dtype: DType) -> bool {
        let own =
            matches!(operand, Operand::Handed | Operand::ByHeads | Operand::LinearInput(WeightFormat::Bf16));
        dtype == DType::Bf16 && own
    }

    fn sizes(&self) -> &[usize] {
        const SIZES: &[usize] = &[
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 24, 31, 32, 33, 64, 65, 78, 80, 88, 169,
            182, 193,
        ];
        if cfg!(miri) { &SIZES[..10] } else { SIZES }
    }

    fn cases(&self) -> u32 {
        60
    }
}
