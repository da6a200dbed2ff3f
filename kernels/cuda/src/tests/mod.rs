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
mod rows;
mod transfer;

use std::sync::{Arc, LazyLock};

use kernels_backend::{
    Backend, DType, Layout, Linear, LinearBlock, Shape, Stream, Tensor, View, WeightFormat,
    tolerance::{Comparison, bound},
};
use kernels_cuda_stand_in::{Driver, Options, install, with_options};
use kernels_reference::ReferenceBackend;
use proptest::{prelude::*, test_runner::Config};

use crate::Kernels;

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

/// An op on a backend: what it computed, in canonical order.
pub(crate) type Run<'a> = &'a dyn Fn(&Arc<dyn Backend>) -> Vec<f32>;

/// Runs an op on the reference and on the device, and compares within the table for f32. `length` is the longest sum;
/// `terms` is the size of its terms, where they may be larger than what they sum to.
#[track_caller]
pub(crate) fn agree(what: &str, length: usize, terms: f32, run: Run<'_>) {
    agree_in(DType::F32, what, length, terms, run);
}

/// As [`agree`], for results rounded to a type.
#[track_caller]
pub(crate) fn agree_in(dtype: DType, what: &str, length: usize, terms: f32, run: Run<'_>) {
    agree_on(&[&CUDA.1], dtype, what, length, terms, run);
}

/// As [`agree_in`], on some backends.
#[track_caller]
pub(crate) fn agree_on(
    backends: &[&Arc<dyn Backend>],
    dtype: DType,
    what: &str,
    length: usize,
    terms: f32,
    run: Run<'_>,
) {
    let reference: Arc<dyn Backend> = ReferenceBackend::open();
    let expected = run(&reference);
    for (backend, seed) in
        backends.iter().flat_map(|backend| seeds().iter().map(move |&seed| (backend, seed)))
    {
        let found = with_options(&Options { seed, ..Options::default() }, || run(backend));
        let comparison = Comparison::of(&found, &expected);
        let bound = bound(dtype, length, comparison.scale.max(terms));
        let name = backend.name();
        assert!(
            comparison.error <= bound,
            "{what} on {name} with seed {seed}: {comparison}, bound {bound:.3e}"
        );
    }
}

/// A tensor of these elements in some type and layout.
pub(crate) fn laid_out(
    stream: &mut dyn Stream,
    shape: impl Into<Shape>,
    dtype: DType,
    layout: Layout,
    elements: &[f32],
) -> Tensor {
    let shape = shape.into();
    let mut tensor = stream.alloc(shape, dtype, layout).unwrap();
    stream.write(&View::f32(shape, elements).unwrap(), &mut tensor).unwrap();
    tensor
}

/// A tensor of these elements in some type.
pub(crate) fn typed(
    stream: &mut dyn Stream,
    shape: impl Into<Shape>,
    dtype: DType,
    elements: &[f32],
) -> Tensor {
    laid_out(stream, shape, dtype, Layout::Rows, elements)
}

/// An f32 tensor of these elements.
pub(crate) fn tensor(stream: &mut dyn Stream, shape: impl Into<Shape>, elements: &[f32]) -> Tensor {
    typed(stream, shape, DType::F32, elements)
}

/// An integer tensor of these elements.
pub(crate) fn integers(stream: &mut dyn Stream, shape: impl Into<Shape>, elements: &[i32]) -> Tensor {
    let shape = shape.into();
    let mut tensor = stream.alloc(shape, DType::I32, Layout::Rows).unwrap();
    stream.write(&View::i32(shape, elements).unwrap(), &mut tensor).unwrap();
    tensor
}

/// A tensor of a number that no op may leave behind; all types hold it exactly.
pub(crate) fn unset_in(stream: &mut dyn Stream, shape: impl Into<Shape>, dtype: DType) -> Tensor {
    let shape = shape.into();
    typed(stream, shape, dtype, &vec![-7680.0; shape.elements()])
}

/// As [`unset_in`], of f32.
pub(crate) fn unset(stream: &mut dyn Stream, shape: impl Into<Shape>) -> Tensor {
    unset_in(stream, shape, DType::F32)
}

/// The elements in canonical order.
pub(crate) fn values(stream: &mut dyn Stream, tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().elements()];
    stream.read(tensor, &mut values).unwrap();
    values
}

/// A linear layer of one block.
pub(crate) fn packed(
    backend: &Arc<dyn Backend>,
    format: WeightFormat,
    shape: [usize; 2],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Linear {
    let bias = bias.map(|bias| View::f32([shape[0]], bias).unwrap());
    let block = LinearBlock { weight: View::f32(shape, weight).unwrap(), bias };
    backend.pack_linear(&[block], format).unwrap()
}

/// `count` reproducible numbers in [−1, 1).
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        // Steele, Lea and Flood's SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Sizes around a vector, a warp and a tile, from `least`.
pub(crate) fn awkward(least: usize) -> impl Strategy<Value = usize> {
    let sizes = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 80, 127, 128, 129];
    proptest::sample::select(sizes.into_iter().filter(|&size| size >= least).collect::<Vec<_>>())
}

/// Any type of floats.
pub(crate) fn float_types() -> impl Strategy<Value = DType> {
    proptest::sample::select(vec![DType::F32, DType::Bf16, DType::F16])
}

/// The type whose rounding matters most among these.
pub(crate) fn coarsest(dtypes: &[DType]) -> DType {
    let coarser = |a: DType, b: DType| if b.epsilon() > a.epsilon() { b } else { a };
    dtypes.iter().copied().fold(DType::F32, coarser)
}

/// How many random cases a property sees: `count`, or `PROPTEST_CASES` if that is fewer. Nothing is written next to the
/// sources, so that the suite needs no file system.
pub(crate) fn cases(count: u32) -> Config {
    let config = Config::default();
    Config { cases: config.cases.min(count), failure_persistence: None, ..config }
}
