//! Tensors to test with.

use std::sync::Arc;

use kernels_backend::{
    Backend, DType, Layout, Linear, LinearBlock, Shape, Stream, Tensor, View, WeightFormat,
};

/// A tensor of these elements in some type and layout.
pub fn laid_out(
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
pub fn typed(stream: &mut dyn Stream, shape: impl Into<Shape>, dtype: DType, elements: &[f32]) -> Tensor {
    laid_out(stream, shape, dtype, Layout::Rows, elements)
}

/// An f32 tensor of these elements.
pub fn tensor(stream: &mut dyn Stream, shape: impl Into<Shape>, elements: &[f32]) -> Tensor {
    typed(stream, shape, DType::F32, elements)
}

/// An integer tensor of these elements.
pub fn integers(stream: &mut dyn Stream, shape: impl Into<Shape>, elements: &[i32]) -> Tensor {
    let shape = shape.into();
    let mut tensor = stream.alloc(shape, DType::I32, Layout::Rows).unwrap();
    stream.write(&View::i32(shape, elements).unwrap(), &mut tensor).unwrap();
    tensor
}

/// A tensor of a number that no op may leave behind; all types hold it exactly.
pub fn unset_in(stream: &mut dyn Stream, shape: impl Into<Shape>, dtype: DType) -> Tensor {
    let shape = shape.into();
    typed(stream, shape, dtype, &vec![-7680.0; shape.elements()])
}

/// As [`unset_in`], of f32.
pub fn unset(stream: &mut dyn Stream, shape: impl Into<Shape>) -> Tensor {
    unset_in(stream, shape, DType::F32)
}

/// The elements in canonical order.
pub fn values(stream: &mut dyn Stream, tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.shape().elements()];
    stream.read(tensor, &mut values).unwrap();
    values
}

/// A linear layer of one block, `(out, in)`.
pub fn packed(
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
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
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
