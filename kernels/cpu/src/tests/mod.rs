//! Every op on every instruction set against the reference.

mod attention;
mod determinism;
mod linear;
mod loss;
mod patches;
mod refusals;
mod rows;

use std::sync::{Arc, LazyLock};

use kernels_backend::{
    Backend, DType, Layout, Linear, LinearBlock, Shape, Stream, Tensor, View, WeightFormat,
    tolerance::{Comparison, bound},
};
use kernels_reference::ReferenceBackend;
use proptest::{prelude::*, test_runner::Config};

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

/// An op on a backend: what it computed, in canonical order.
type Run<'a> = &'a dyn Fn(&Arc<dyn Backend>) -> Vec<f32>;

/// Runs an op on the reference and on every backend, and compares within the table. `length` is the longest
/// sum; `terms` is the size of its terms, where they may be larger than what they sum to.
#[track_caller]
pub(crate) fn agree(what: &str, length: usize, terms: f32, run: Run<'_>) {
    agree_in(DType::F32, what, length, terms, run);
}

/// [`agree`] where numbers of this type are what is multiplied.
#[track_caller]
pub(crate) fn agree_in(dtype: DType, what: &str, length: usize, terms: f32, run: Run<'_>) {
    let reference: Arc<dyn Backend> = ReferenceBackend::open();
    let expected = run(&reference);
    for backend in BACKENDS.iter() {
        let comparison = Comparison::of(&run(backend), &expected);
        let bound = bound(dtype, length, comparison.scale.max(terms));
        assert!(comparison.error <= bound, "{what} on {}: {comparison}, bound {bound:.3e}", backend.name());
    }
}

/// An f32 tensor of these elements in some layout.
pub(crate) fn laid_out(
    stream: &mut dyn Stream,
    shape: impl Into<Shape>,
    layout: Layout,
    elements: &[f32],
) -> Tensor {
    let shape = shape.into();
    let mut tensor = stream.alloc(shape, DType::F32, layout).unwrap();
    stream.write(&View::f32(shape, elements).unwrap(), &mut tensor).unwrap();
    tensor
}

/// An f32 tensor of these elements.
pub(crate) fn tensor(stream: &mut dyn Stream, shape: impl Into<Shape>, elements: &[f32]) -> Tensor {
    laid_out(stream, shape, Layout::Rows, elements)
}

/// An integer tensor of these elements.
pub(crate) fn integers(stream: &mut dyn Stream, shape: impl Into<Shape>, elements: &[i32]) -> Tensor {
    let shape = shape.into();
    let mut tensor = stream.alloc(shape, DType::I32, Layout::Rows).unwrap();
    stream.write(&View::i32(shape, elements).unwrap(), &mut tensor).unwrap();
    tensor
}

/// An f32 tensor of a number that no op may leave behind.
pub(crate) fn unset(stream: &mut dyn Stream, shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    tensor(stream, shape, &vec![-7.75e5; shape.elements()])
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
    shape: [usize; 2],
    weight: &[f32],
    bias: Option<&[f32]>,
) -> Linear {
    packed_as(backend, WeightFormat::F32, shape, weight, bias)
}

/// A linear layer of one block in some precision.
pub(crate) fn packed_as(
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

/// Sizes around the lanes and tiles of all instruction sets, from `least`.
pub(crate) fn awkward(least: usize) -> impl Strategy<Value = usize> {
    let sizes = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 24, 31, 32, 33, 64, 65, 78, 80, 88, 169, 182,
        193,
    ];
    let most = if cfg!(miri) { 9 } else { usize::MAX };
    let within = |size: &usize| (least..=most).contains(size);
    proptest::sample::select(sizes.into_iter().filter(within).collect::<Vec<_>>())
}

/// How many random cases a property sees: `count`, or `PROPTEST_CASES` if that is fewer, as emulators and Miri
/// want. Nothing is written next to the sources, so that the suite needs no file system.
pub(crate) fn cases(count: u32) -> Config {
    let config = Config::default();
    Config { cases: config.cases.min(count), failure_persistence: None, ..config }
}
