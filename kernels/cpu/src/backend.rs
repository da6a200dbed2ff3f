//! The backend: what outlives a run.

use std::sync::Arc;

use kernels_backend::{
    Backend, BackwardStream, DType, Error, Layout, Linear, LinearBlock, Result, Shape, Stream, Tensor, View,
    WeightFormat, check,
};

use crate::{
    gemm::Packed,
    memory::Buffer,
    simd::Simd,
    storage::{CpuStorage, capacity},
    stream::CpuStream,
    threads::Threads,
    transfer,
};

/// A backend for one instruction set.
pub(crate) struct CpuBackend<S> {
    pub(crate) simd: S,
    pub(crate) name: String,
    pub(crate) threads: Threads,
}

impl<S: Simd> CpuBackend<S> {
    /// A backend named `name` that runs on `threads`.
    pub(crate) fn new(simd: S, name: &str, threads: Threads) -> Arc<Self> {
        Arc::new(Self { simd, name: name.to_owned(), threads })
    }

    /// Memory for a tensor.
    pub(crate) fn alloc(&self, shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
        if dtype == DType::F16 {
            let instead = "f32 or bf16";
            return Err(Error::unsupported(&self.name, format!("a tensor of {dtype}"), instead));
        }
        if let Layout::Heads { num_heads } = layout
            && (!dtype.is_float()
                || shape.len() != 3
                || num_heads == 0
                || !shape[2].is_multiple_of(3 * num_heads))
        {
            return Err(Error::Shape {
                op: "alloc",
                expected: format!("floats of shape (B, N, 3·D) with D a multiple of {num_heads} heads"),
                found: format!("{shape} {dtype}"),
            });
        }
        let buffer = Buffer::of_shape(capacity(&shape), &self.name, shape)?;
        Ok(Tensor::from_storage(shape, dtype, layout, CpuStorage(buffer)))
    }

    fn check_format(&self, format: WeightFormat, in_features: usize) -> Result<()> {
        /// Terms of a sum of products of 255 and 127 that an i32 holds.
        const MOST_TERMS: usize = i32::MAX as usize / (255 * 127);
        match format {
            WeightFormat::F32 | WeightFormat::Bf16 => Ok(()),
            WeightFormat::Int8 if in_features <= MOST_TERMS => Ok(()),
            WeightFormat::Int8 => Err(Error::unsupported(
                &self.name,
                format!("a linear layer of {in_features} inputs in int8"),
                format!("at most {MOST_TERMS} inputs, or bf16"),
            )),
            other => {
                Err(Error::unsupported(&self.name, format!("weight format {other}"), "f32, bf16 or int8"))
            }
        }
    }
}

impl<S: Simd> Backend for CpuBackend<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn activations(&self, _: WeightFormat) -> DType {
        // Sums, residuals and softmax are f32 anyway; linear layers narrow what they read.
        DType::F32
    }

    fn linear_inputs(&self, format: WeightFormat) -> DType {
        if format == WeightFormat::Bf16 { DType::Bf16 } else { DType::F32 }
    }

    fn attention_inputs(&self, format: WeightFormat) -> DType {
        // Where bf16 has no product, it would be widened again.
        let is_narrow = matches!(format, WeightFormat::Bf16 | WeightFormat::Int8);
        if S::HAS_DOT && is_narrow { DType::Bf16 } else { DType::F32 }
    }

    fn upload(&self, data: &View<'_>) -> Result<Tensor> {
        let mut tensor = self.alloc(*data.shape(), data.dtype(), Layout::Rows)?;
        transfer::write(&self.threads, &self.name, data, &mut tensor)?;
        Ok(tensor)
    }

    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear> {
        let (in_features, out_features) = check::linear_blocks(blocks)?;
        self.check_format(format, in_features)?;
        let packed = Packed::<S>::zeroed(self.simd, &self.name, [out_features, in_features], format)?;
        let packed = packed.pack_blocks(&self.threads, blocks);
        Ok(Linear::from_packed(in_features, out_features, format, packed))
    }

    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        const OP: &str = "repack";
        check::shape(OP, "weight", weight, &[linear.out_features(), linear.in_features()])?;
        if let Some(bias) = bias {
            check::shape(OP, "bias", bias, &[linear.out_features()])?;
        }
        let packed = linear.packed_mut::<Packed<S>>(OP, &self.name)?;
        packed.pack_tensors(&self.threads, &self.name, weight, bias)
    }

    fn stream(self: Arc<Self>) -> Result<Box<dyn Stream>> {
        Ok(Box::new(CpuStream::new(self)))
    }

    fn backward_stream(self: Arc<Self>) -> Result<Box<dyn BackwardStream>> {
        check::no_backward(&self.name)
    }
}
