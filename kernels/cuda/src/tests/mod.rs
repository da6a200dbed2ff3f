//! Every op against the reference: on a GPU where there is one, else on the stand-in driver, with several orders of threads.

mod attention;
mod graph;
mod linear;
mod loss;
mod memory;
mod patches;
mod planted;
mod primitives;
mod refusals;
mod transfer;

use std::sync::{Arc, LazyLock};

use kernels_backend::{
    Backend, DType, Layout, Linear, LinearBlock, Shape, Stream, Tensor, View, WeightFormat,
    tolerance::Comparison,
};
use kernels_cuda_stand_in::{Driver, Options, install, with_options};
use kernels_reference::ReferenceBackend;
use kernels_testing::{
    Operand, Run, Subject, agree, agree_in, cases, integers, laid_out, noise, packed, tensor, typed, unset,
    unset_in, values,
};
use proptest::prelude::*;

use crate::Kernels;

/// The tests of every backend.
mod every_op {
    use super::Cuda;

    kernels_testing::test_backend!(Cuda);
}

/// What runs the kernels, and the backend on it.
pub(crate) static CUDA: LazyLock<(Driver, Arc<dyn Backend>)> = LazyLock::new(|| {
    let driver = install().unwrap();
    (driver, crate::open(0).unwrap())
});

/// The backend of the kernels for compute capability 9.0, where the device has it; the stand-in does.
pub(crate) static HOPPER: LazyLock<Option<Arc<dyn Backend>>> = LazyLock::new(|| {
    // Before anything else asks for a driver.
    let driver = CUDA.0;
    let hopper = crate::open_with(0, Kernels::Hopper);
    assert!(hopper.is_ok() || driver == Driver::Real, "{:?}", hopper.err());
    hopper.ok()
});

/// The orders of threads that every op is tested in: in turn, and two random ones. A real device has its own.
pub(crate) fn seeds() -> &'static [u64] {
    match CUDA.0 {
        Driver::StandIn => &[0, 1, 2],
        Driver::Real => &[0],
    }
}

/// The kernels for compute capability 8.0 and up.
pub(crate) struct Cuda;

/// Those for 9.0, where the device has it.
pub(crate) struct Hopper;

impl Subject for Cuda {
    fn each(&self, check: &mut dyn FnMut(&Arc<dyn Backend>, &str)) {
        in_every_order(&CUDA.1, check);
    }

    fn formats(&self) -> &[WeightFormat] {
        &[WeightFormat::F32, WeightFormat::Bf16, WeightFormat::F16]
    }

    fn takes(&self, _: Operand, dtype: DType) -> bool {
        dtype.is_float()
    }

    fn sizes(&self) -> &[usize] {
        // Around a vector, a warp and a tile.
        &[0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 80, 127, 128, 129]
    }

    fn cases(&self) -> u32 {
        24
    }
}

impl Subject for Hopper {
    fn each(&self, check: &mut dyn FnMut(&Arc<dyn Backend>, &str)) {
        HOPPER.iter().for_each(|backend| in_every_order(backend, check));
    }

    fn formats(&self) -> &[WeightFormat] {
        Cuda.formats()
    }

    fn takes(&self, operand: Operand, dtype: DType) -> bool {
        Cuda.takes(operand, dtype)
    }

    fn sizes(&self) -> &[usize] {
        Cuda.sizes()
    }

    fn cases(&self) -> u32 {
        Cuda.cases()
    }
}

/// Any type of floats.
pub(crate) fn float_types() -> impl Strategy<Value = DType> {
    proptest::sample::select(vec![DType::F32, DType::Bf16, DType::F16])
}

fn in_every_order(backend: &Arc<dyn Backend>, check: &mut dyn FnMut(&Arc<dyn Backend>, &str)) {
    for &seed in seeds() {
        let options = Options { seed, ..Options::default() };
        with_options(&options, || check(backend, &format!("with seed {seed}")));
    }
}
