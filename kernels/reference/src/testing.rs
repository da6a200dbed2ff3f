//! What the tests of every op need: tensors from slices, reproducible noise, gradients from differences.

use kernels_backend::{
    BackwardStream, DType, Layout, Linear, LinearBlock, Shape, Tensor, View, WeightFormat,
};
use proptest::test_runner::Config;

use crate::{ReferenceBackend, storage};

/// A stream to run an op in.
pub(crate) fn stream() -> Box<dyn BackwardStream> {
    ReferenceBackend::open().backward_stream().unwrap()
}

/// An f32 tensor of these elements.
pub(crate) fn tensor(shape: impl Into<Shape>, elements: &[f32]) -> Tensor {
    typed(shape, DType::F32, elements)
}

/// A float tensor of these elements, rounded to `dtype`.
pub(crate) fn typed(shape: impl Into<Shape>, dtype: DType, elements: &[f32]) -> Tensor {
    let shape = shape.into();
    let mut tensor = storage::alloc(shape, dtype, Layout::Rows).unwrap();
    stream().write(&View::f32(shape, elements).unwrap(), &mut tensor).unwrap();
    tensor
}

/// An integer tensor of these elements.
pub(crate) fn integers(shape: impl Into<Shape>, elements: &[i32]) -> Tensor {
    ReferenceBackend::open().upload(&View::i32(shape, elements).unwrap()).unwrap()
}

/// A tensor of these levels.
pub(crate) fn levels(shape: impl Into<Shape>, elements: &[u8]) -> Tensor {
    ReferenceBackend::open().upload(&View::u8(shape, elements).unwrap()).unwrap()
}

/// An f32 tensor that an op has yet to fill.
pub(crate) fn undefined(shape: impl Into<Shape>) -> Tensor {
    storage::alloc(shape.into(), DType::F32, Layout::Rows).unwrap()
}

/// An f32 tensor of zeros.
pub(crate) fn zeros(shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    tensor(shape, &vec![0.0; shape.elements()])
}

/// A linear layer of one block.
pub(crate) fn packed(
    shape: [usize; 2],
    weight: &[f32],
    bias: Option<&[f32]>,
    format: WeightFormat,
) -> Linear {
    let bias = bias.map(|bias| View::f32([shape[0]], bias).unwrap());
    let block = LinearBlock { weight: View::f32(shape, weight).unwrap(), bias };
    ReferenceBackend::open().pack_linear(&[block], format).unwrap()
}

/// The elements in canonical order.
pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().elements()];
    stream().read(tensor, &mut values).unwrap();
    values
}

/// Multiples of 2⁻⁷ in `[-1, 1)`: exact in bf16, and sums of products of them are exact in f32.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        // The multiplier of Knuth's MMIX generator; its upper bits are random enough for test data.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as f32 / 128.0 - 1.0
    };
    next();
    (0..count).map(|_| next()).collect()
}

/// How many random cases a property sees: `count`, or `PROPTEST_CASES` if that is fewer, as emulators and Miri
/// want. Nothing is written next to the sources, so that the suite needs no file system.
pub(crate) fn cases(count: u32) -> Config {
    let config = Config::default();
    Config { cases: config.cases.min(count), failure_persistence: None, ..config }
}

/// A gradient by differences of a forward op.
///
/// The five-point stencil `(8(f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h` has two errors: each f is rounded to f32
/// and the weights of the stencil add up to 1.5/h; and it cuts the Taylor series, an error of h⁴/30·f⁽⁵⁾.
#[derive(Clone, Copy)]
pub(crate) struct Differences {
    step: f32,
    fifth_derivative: f64,
}

impl Differences {
    /// Of a polynomial of degree four at most: nothing is cut, so a wide step keeps the rounding small.
    pub(crate) const POLYNOMIAL: Self = Self { step: 1.0, fifth_derivative: 0.0 };

    /// Of a smooth function whose fifth derivative stays below a bound. With h = 2⁻⁵ the cut is 3·10⁻⁸ of it
    /// and the rounding 3·10⁻⁶ of the function.
    pub(crate) const fn smooth(fifth_derivative: f64) -> Self {
        Self { step: 1.0 / 32.0, fifth_derivative }
    }

    /// Compares `gradient` with the derivative of `Σ dy·f(x)` by every element of `x`.
    #[track_caller]
    pub(crate) fn check(
        self,
        what: &str,
        gradient: &[f32],
        x: &[f32],
        dy: &[f32],
        f: impl Fn(&[f32]) -> Vec<f32>,
    ) {
        assert_eq!(gradient.len(), x.len(), "{what}: one derivative for each element");
        let weighted =
            |x: &[f32]| -> f64 { f(x).iter().zip(dy).map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum() };
        let at = |i: usize, steps: f32| {
            let mut moved = x.to_vec();
            moved[i] += steps * self.step;
            weighted(&moved)
        };
        let magnitude: f64 = f(x).iter().zip(dy).map(|(&y, &dy)| f64::from(y * dy).abs()).sum();
        let epsilon = f64::from(f32::EPSILON);
        let step = f64::from(self.step);
        for (i, &found) in gradient.iter().enumerate() {
            let expected = (8.0 * (at(i, 1.0) - at(i, -1.0)) - (at(i, 2.0) - at(i, -2.0))) / (12.0 * step);
            // A step changes the function, so its size at x is doubled; the gradient itself is rounded, from
            // stats that are rounded.
            let bound = 1.5 * epsilon * magnitude / step
                + step.powi(4) / 30.0 * self.fifth_derivative
                + 4.0 * epsilon * (expected.abs() + 1.0);
            let error = (f64::from(found) - expected).abs();
            assert!(error <= bound, "{what} [{i}]: {found}, by differences {expected}, bound {bound:e}");
        }
    }
}
