//! `linear`: `y = [y +] activation(x·Wᵀ + b)`, packed weights and their kernels.

use std::sync::Arc;

use bytemuck::NoUninit;
use kernels_backend::{
    Activation, Epilogue, Error, Layout, Linear, LinearBlock, PackedWeights, Result, RowDims, Rows, RowsMut,
    Shape, Tensor, WeightFormat, Write, check,
};

use crate::{
    cast,
    device::Device,
    kernel::{Context, Grid, Kernel},
    linear_90a,
    memory::{Address, Memory},
    staging::Staging,
    storage::{self, RowsArgument, int, type_code},
    transfer::copy_in,
};

/// Rows of weights start at multiples of so many elements: 16 bytes of bf16, which `cp.async` and vector loads want.
const ALIGNMENT: usize = 8;

/// Weights `(out, in)` in their precision, with padded rows, and the bias `(out)` in f32.
pub(crate) struct Packed {
    weight: Memory,
    bias: Memory,
    /// Elements between two rows of weights; zeros fill what is between.
    pub(crate) stride: usize,
    pub(crate) dtype: kernels_backend::DType,
}

impl PackedWeights for Packed {}

impl Packed {
    /// Memory for blocks that were checked to make a layer of this size.
    pub(crate) fn new(
        device: &Arc<Device>,
        blocks: &[LinearBlock<'_>],
        format: WeightFormat,
        in_features: usize,
        out_features: usize,
    ) -> Result<Self> {
        debug_assert!(!blocks.is_empty(), "blocks were checked");
        let dtype = format.dtype().ok_or_else(|| {
            Error::unsupported(&device.name, format!("weight format {format}"), "f32, bf16 or f16")
        })?;
        let stride = in_features.next_multiple_of(ALIGNMENT);
        let shape = Shape::from([out_features, stride]);
        let bias_shape = Shape::from([out_features]);
        Ok(Self {
            weight: Memory::new(device, storage::bytes(&shape, dtype), &shape)?,
            bias: Memory::new(device, storage::bytes(&bias_shape, kernels_backend::DType::F32), &bias_shape)?,
            stride,
            dtype,
        })
    }

    /// Rounds the blocks on the host and copies them.
    pub(crate) fn upload(
        &self,
        ctx: &Context<'_>,
        staging: &mut Staging,
        blocks: &[LinearBlock<'_>],
    ) -> Result<()> {
        const OP: &str = "pack_linear";
        let (mut weight_at, mut bias_at) = (0, 0);
        for block in blocks {
            let [out, inputs] = [block.weight.shape()[0], block.weight.shape()[1]];
            let mut packed = Vec::with_capacity(out * self.stride * self.dtype.size());
            let mut row = vec![0.0; self.stride];
            for i in 0..out {
                block.weight.read_f32(i * inputs, &mut row[..inputs]);
                append(&mut packed, self.dtype, &row);
            }
            copy_in(ctx, staging, OP, &self.weight, weight_at, &packed)?;
            weight_at += packed.len();
            let bias = block.bias.map_or_else(|| vec![0.0; out], |bias| bias.to_f32());
            copy_in(ctx, staging, OP, &self.bias, bias_at, bytemuck::cast_slice(&bias))?;
            bias_at += size_of_val(bias.as_slice());
        }
        Ok(())
    }

    fn rows(&self, op: &'static str, width: usize, out: usize) -> Result<RowsArgument> {
        let dims = RowDims { batch: 1, rows: out, width, rows_per_sample: out, offset: 0 };
        RowsArgument::new(op, self.weight.address, self.stride, dims, type_code(op, "weight", self.dtype)?)
    }
}

/// Appends numbers, rounded to a type.
fn append(bytes: &mut Vec<u8>, dtype: kernels_backend::DType, row: &[f32]) {
    use kernels_backend::DType;
    match dtype {
        DType::Bf16 => bytes.extend(row.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes())),
        DType::F16 => bytes.extend(row.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes())),
        _ => bytes.extend_from_slice(bytemuck::cast_slice(row)),
    }
}

/// Packs again from tensors.
pub(crate) fn repack(
    ctx: &Context<'_>,
    staging: &mut Staging,
    linear: &mut Linear,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<()> {
    const OP: &str = "repack";
    let (inputs, outputs) = (linear.in_features(), linear.out_features());
    check::shape(OP, "weight", weight, &[outputs, inputs])?;
    if let Some(bias) = bias {
        check::shape(OP, "bias", bias, &[outputs])?;
    }
    let packed = linear.packed_mut::<Packed>(OP, &ctx.device.name)?;
    let from = storage::rows(OP, "weight", &weight.into(), ctx.device)?;
    cast::copy(ctx, OP, from, packed.rows(OP, inputs, outputs)?, outputs, inputs)?;
    match bias {
        Some(bias) => {
            let from = storage::rows(OP, "bias", &bias.into(), ctx.device)?;
            let line = RowDims { batch: 1, rows: 1, width: outputs, rows_per_sample: 1, offset: 0 };
            let to = RowsArgument::new(OP, packed.bias.address, outputs, line, 0)?;
            cast::copy(ctx, OP, from, to, 1, outputs)
        }
        None => copy_in(ctx, staging, OP, &packed.bias, 0, &vec![0; packed.bias.bytes]),
    }
}

/// `Epilogue` of epilogue.h.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(crate) struct EpilogueArgument {
    y: RowsArgument,
    pre_activation: RowsArgument,
    bias: Address,
    activation: i32,
    accumulate: i32,
    parts: i32,
    head_dim: i32,
}

/// `Linear` of linear.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(crate) struct LinearParameters {
    pub(crate) x: RowsArgument,
    pub(crate) weight: Address,
    weight_stride: i64,
    pub(crate) epilogue: EpilogueArgument,
    pub(crate) rows: i32,
    pub(crate) inputs: i32,
    pub(crate) outputs: i32,
    /// So that no byte is undefined.
    padding: i32,
}

impl LinearParameters {
    /// Rows, inputs and outputs.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.rows, self.inputs, self.outputs].map(|size| size as usize)
    }

    /// Whether linear_mma.cu can compute it: x in the precision of the weights, and everything in whole pieces of 16
    /// bytes, which is what it copies.
    fn suits_tensor_cores(&self, weights: kernels_backend::DType) -> bool {
        let Self { x, epilogue: EpilogueArgument { y, pre_activation, parts, head_dim, .. }, .. } = self;
        let row = if *parts > 0 { i64::from(*head_dim) } else { y.stride };
        let kept = if pre_activation.data == 0 { 0 } else { pre_activation.stride };
        let sizes = [x.stride, row, kept, self.inputs.into(), self.outputs.into()];
        type_code("linear", "weight", weights).is_ok_and(|code| code == x.dtype && code != 0)
            && sizes.iter().all(|size| size % ALIGNMENT as i64 == 0)
    }
}

const LINEAR_F32: Kernel<LinearParameters> = Kernel::new("linear", "linear_f32");
const LINEAR_BF16: Kernel<LinearParameters> = Kernel::new("linear", "linear_bf16");
const LINEAR_F16: Kernel<LinearParameters> = Kernel::new("linear", "linear_f16");

/// Rows and columns of y that a block makes, of linear.cu and linear_mma.cu alike.
const TILE: usize = 128;

/// On tensor cores: four stages of two pieces of 128 × 32, or the sums of a tile with padded rows, whichever is more.
const MMA_SHARED: usize = max(4 * 2 * TILE * 32 * 2, TILE * (TILE + 4) * 4);
const LINEAR_MMA_BF16: Kernel<LinearParameters> =
    Kernel::new("linear_mma", "linear_mma_bf16").with_shared(MMA_SHARED);
const LINEAR_MMA_F16: Kernel<LinearParameters> =
    Kernel::new("linear_mma", "linear_mma_f16").with_shared(MMA_SHARED);

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// A linear layer and its epilogue.
pub(crate) fn linear(
    ctx: &Context<'_>,
    x: &Rows<'_>,
    linear: &Linear,
    epilogue: Epilogue<'_>,
    y: &RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "linear";
    check::linear(x.dims, linear, &epilogue, y.dims, y.tensor.layout())?;
    let packed = linear.packed::<Packed>(OP, &ctx.device.name)?;
    if packed.weight.device.ordinal != ctx.device.ordinal {
        return Err(Error::Foreign { op: OP, expected: ctx.device.name.clone() });
    }
    let (rows, inputs, outputs) = (x.dims.total(), linear.in_features(), linear.out_features());
    let parameters = LinearParameters {
        x: storage::rows(OP, "x", x, ctx.device)?,
        weight: packed.weight.address,
        weight_stride: packed.stride as i64,
        epilogue: EpilogueArgument::new(ctx, packed, epilogue, y)?,
        rows: int(OP, rows)?,
        inputs: int(OP, inputs)?,
        outputs: int(OP, outputs)?,
        padding: 0,
    };
    let on_tensor_cores = parameters.suits_tensor_cores(packed.dtype);
    if on_tensor_cores && ctx.device.hopper && x.dims.is_contiguous() && rows > 0 {
        // SAFETY: as below.
        return unsafe { linear_90a::launch(ctx, &parameters, packed) };
    }
    let kernel = match (linear.format(), on_tensor_cores) {
        (WeightFormat::F32, _) => &LINEAR_F32,
        (WeightFormat::Bf16, true) => &LINEAR_MMA_BF16,
        (WeightFormat::Bf16, false) => &LINEAR_BF16,
        (_, true) => &LINEAR_MMA_F16,
        (_, false) => &LINEAR_F16,
    };
    let grid = Grid::of_blocks([rows.div_ceil(TILE), outputs.div_ceil(TILE), 1], 256);
    // SAFETY: x has these rows of as many inputs as the layer, and y, like pre_activation, as many rows of its outputs.
    unsafe { ctx.launch(kernel, grid, &parameters) }
}

impl EpilogueArgument {
    /// For operands whose shapes were checked.
    pub(crate) fn new(
        ctx: &Context<'_>,
        packed: &Packed,
        epilogue: Epilogue<'_>,
        y: &RowsMut<'_>,
    ) -> Result<Self> {
        const OP: &str = "linear";
        let (y_argument, parts, head_dim) = match y.tensor.layout() {
            Layout::Heads { num_heads } => {
                let parts = 3 * num_heads;
                let data = storage::storage(OP, y.tensor, ctx.device)?.memory.address;
                let dtype = type_code(OP, "y", y.tensor.dtype())?;
                let y_argument = RowsArgument::new(OP, data, y.dims.width, y.dims, dtype)?;
                (y_argument, int(OP, parts)?, int(OP, y.dims.width / parts)?)
            }
            _ => (storage::rows_mut(OP, "y", y, ctx.device)?, 0, 0),
        };
        let pre_activation = match epilogue.pre_activation {
            Some(tensor) => storage::rows_mut(OP, "pre_activation", &tensor.into(), ctx.device)?,
            None => y_argument.without_data(),
        };
        Ok(Self {
            y: y_argument,
            pre_activation,
            bias: packed.bias.address,
            activation: activation_code(ctx.device, epilogue.activation)?,
            accumulate: (epilogue.write == Write::Accumulate).into(),
            parts,
            head_dim,
        })
    }
}

/// The number of an activation in activation.h.
fn activation_code(device: &Device, activation: Activation) -> Result<i32> {
    const IN_ORDER: [Activation; 16] = [
        Activation::Identity,
        Activation::Gelu,
        Activation::Gelu10,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Relu2,
        Activation::Relu6,
        Activation::LeakyRelu,
        Activation::Selu,
        Activation::Silu,
        Activation::Mish,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::HardSwish,
        Activation::Laplace,
    ];
    let found = IN_ORDER.iter().position(|&known| known == activation);
    found.map(|position| position as i32).ok_or_else(|| {
        Error::unsupported(&device.name, format!("the activation {activation:?}"), "another backend")
    })
}
