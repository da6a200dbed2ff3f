//! What a backend tells of itself, and how it is compared.

use std::sync::Arc;

use kernels_backend::{
    Backend, DType, WeightFormat,
    tolerance::{Comparison, bound},
};
use kernels_reference::ReferenceBackend;
use proptest::{sample::select, strategy::Strategy, test_runner::Config};

/// A backend under test.
pub trait Subject {
    /// Calls `check(backend, circumstances)` for every backend in all circumstances that could change a result.
    fn each(&self, check: &mut dyn FnMut(&Arc<dyn Backend>, &str));

    /// The precisions of linear layers that it has.
    fn formats(&self) -> &[WeightFormat];

    /// Whether an operand may be of this type of floats; f32 is always taken.
    fn takes(&self, operand: Operand, dtype: DType) -> bool;

    /// Sizes around its vectors and tiles.
    fn sizes(&self) -> &[usize];

    /// Random cases of a usual property. `PROPTEST_CASES` can only lower it.
    fn cases(&self) -> u32 {
        40
    }
}

/// Operands by what types a backend may hold them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The input of a linear layer in some precision.
    LinearInput(WeightFormat),
    /// What may become such an input: outputs of linear layers, layer norm and attention, and both sides of a cast.
    Handed,
    /// Queries, keys and values laid out by heads, as a linear layer writes them.
    ByHeads,
    /// Any other that is made of floats.
    Other,
}

/// An op on a backend: what it computed, in canonical order.
pub type Run<'a> = &'a dyn Fn(&Arc<dyn Backend>) -> Vec<f32>;

/// Runs an op on the reference and on the subject, and compares within the table for f32. `length` is the longest sum;
/// `terms` is the size of its terms, where they may be larger than what they sum to.
#[track_caller]
pub fn agree(subject: &dyn Subject, what: &str, length: usize, terms: f32, run: Run<'_>) {
    agree_in(subject, DType::F32, what, length, terms, run);
}

/// As [`agree`], where numbers are rounded to this type.
#[track_caller]
pub fn agree_in(subject: &dyn Subject, dtype: DType, what: &str, length: usize, terms: f32, run: Run<'_>) {
    let expected = run(&reference());
    subject.each(&mut |backend, circumstances| {
        let comparison = Comparison::of(&run(backend), &expected);
        let bound = bound(dtype, length, comparison.scale.max(terms));
        let name = backend.name();
        assert!(
            comparison.error <= bound,
            "{what} on {name} {circumstances}: {comparison}, bound {bound:.3e}"
        );
    });
}

pub(crate) fn reference() -> Arc<dyn Backend> {
    ReferenceBackend::open()
}

/// The configuration of a property with at most `count` random cases, or `PROPTEST_CASES` if that is fewer, as emulators
/// and Miri want. Nothing is written next to the sources, so that a suite needs no file system.
pub fn cases(count: u32) -> Config {
    let config = Config::default();
    Config { cases: config.cases.min(count), failure_persistence: None, ..config }
}

/// Sizes of the subject, from `least`.
pub(crate) fn awkward(subject: &dyn Subject, least: usize) -> impl Strategy<Value = usize> + use<> {
    let sizes = subject.sizes().iter().copied();
    select(sizes.filter(|&size| size >= least).collect::<Vec<_>>())
}

/// A precision of the subject.
pub(crate) fn formats(subject: &dyn Subject) -> impl Strategy<Value = WeightFormat> + use<> {
    select(subject.formats().to_vec())
}

/// Any type of floats that an operand may have.
pub(crate) fn types(subject: &dyn Subject, operand: Operand) -> impl Strategy<Value = DType> + use<> {
    let floats = [DType::F32, DType::Bf16, DType::F16];
    let taken = floats.into_iter().filter(|&dtype| dtype == DType::F32 || subject.takes(operand, dtype));
    select(taken.collect::<Vec<_>>())
}

/// A precision of the subject, and a type that the input of such a layer may have.
pub(crate) fn inputs(subject: &dyn Subject) -> impl Strategy<Value = (WeightFormat, DType)> + use<> {
    let floats = [DType::F32, DType::Bf16, DType::F16];
    let pairs = subject.formats().iter().flat_map(|&format| floats.map(|dtype| (format, dtype)));
    let taken = pairs
        .filter(|&(format, dtype)| dtype == DType::F32 || subject.takes(Operand::LinearInput(format), dtype));
    select(taken.collect::<Vec<_>>())
}

/// The type whose rounding matters most among these.
pub(crate) fn coarsest(dtypes: &[DType]) -> DType {
    let coarser = |a: DType, b: DType| if b.epsilon() > a.epsilon() { b } else { a };
    dtypes.iter().copied().fold(DType::F32, coarser)
}
