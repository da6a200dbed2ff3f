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
        if !matches!(dtype, DType::F32 | DType::I32) {
            return Err(self.no_half(format!("a tensor of {dtype}")));
        }
        if let Layout::Heads { num_heads } = layout
            && (dtype != DType::F32
                || shape.len() != 3
                || num_heads == 0
                || !shape[2].is_multiple_of(3 * num_heads))
        {
            return Err(Error::Shape {
                op: "alloc",
                expected: format!("f32 of shape (B, N, 3·D) with D a multiple of {num_heads} heads"),
                found: format!("{shape} {dtype}"),
            });
        }
        let words = capacity(&shape);
        let buffer = words.and_then(Buffer::zeroed).ok_or_else(|| Error::OutOfMemory {
            backend: self.name.clone(),
            bytes: words.map_or(usize::MAX, Buffer::bytes),
            shape: shape.to_string(),
        })?;
        Ok(Tensor::from_storage(shape, dtype, layout, CpuStorage(buffer)))
    }

    fn no_half(&self, what: String) -> Error {
        Error::unsupported(&self.name, what, "f32, to which views of f16 and bf16 are widened")
    }

    fn check_format(&self, format: WeightFormat) -> Result<()> {
        match format {
            WeightFormat::F32 => Ok(()),
            other => Err(self.no_half(format!("weight format {other}"))),
        }
    }
}

impl<S: Simd> Backend for CpuBackend<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn upload(&self, data: &View<'_>) -> Result<Tensor> {
        let mut tensor = self.alloc(*data.shape(), data.dtype(), Layout::Rows)?;
        transfer::write(&self.threads, &self.name, data, &mut tensor)?;
        Ok(tensor)
    }

    fn pack_linear(&self, blocks: &[LinearBlock<'_>], format: WeightFormat) -> Result<Linear> {
        let (in_features, out_features) = check::linear_blocks(blocks)?;
        self.check_format(format)?;
        let packed = Packed::<S>::zeroed(in_features, out_features).ok_or_else(|| Error::OutOfMemory {
            backend: self.name.clone(),
            bytes: Buffer::bytes(in_features.saturating_mul(out_features)),
            shape: Shape::from([out_features, in_features]).to_string(),
        })?;
        let packed = packed.pack_blocks(&self.threads, blocks);
        Ok(Linear::from_packed(in_features, out_features, format, packed))
    }

    fn repack(&self, linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        const OP: &str = "repack";
        check::shape(OP, "weight", weight, &[linear.out_features(), linear.in_features()])?;
        if let Some(bias) = bias {
            check::shape(OP, "bias", bias, &[linear.out_features()])?;
        }
        self.check_format(linear.format())?;
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
