//! `attention` and what it shares with `attention_probabilities`.

use bytemuck::NoUninit;
use kernels_backend::{
    AttentionOptions, Error, Layout, Result, Tensor, WeightFormat, check, check::AttentionDims,
};

use crate::{
    attention_90a,
    device::Device,
    kernel::{Context, Grid, Kernel},
    memory::Address,
    storage::{self, RowsArgument, int, type_code},
};

/// `Qkv` of heads.h.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(crate) struct QkvArgument {
    pub(crate) data: Address,
    pub(crate) dtype: i32,
    tokens: i32,
    num_heads: i32,
    head_dim: i32,
    pub(crate) by_head: i32,
    /// So that no byte is undefined.
    padding: i32,
}

impl QkvArgument {
    /// A tensor whose shape was checked to have these sizes.
    pub(crate) fn new(op: &'static str, device: &Device, qkv: &Tensor, dims: AttentionDims) -> Result<Self> {
        Ok(Self {
            data: storage::storage(op, qkv, device)?.memory.address,
            dtype: type_code(op, "qkv", qkv.dtype())?,
            tokens: int(op, dims.tokens)?,
            num_heads: int(op, dims.num_heads)?,
            head_dim: int(op, dims.head_dim)?,
            by_head: (qkv.layout() != Layout::Rows).into(),
            padding: 0,
        })
    }
}

/// `Attention` of attention.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(crate) struct Attention {
    pub(crate) qkv: QkvArgument,
    pub(crate) context: RowsArgument,
    /// Zero for none.
    pub(crate) stats: Address,
    pub(crate) scale: f32,
    /// So that no byte is undefined.
    padding: i32,
}

/// By the type of qkv.
const ATTENTION: [Kernel<Attention>; 3] = [
    Kernel::new("attention", "attention_f32"),
    Kernel::new("attention", "attention_bf16"),
    Kernel::new("attention", "attention_f16"),
];

/// On tensor cores, by the columns that a head is padded to: of bf16, then of f16.
const ATTENTION_MMA: [(usize, [Kernel<Attention>; 2]); 5] = [
    (32, mma(["attention_mma_bf16_32", "attention_mma_f16_32"], 32)),
    (64, mma(["attention_mma_bf16_64", "attention_mma_f16_64"], 64)),
    (80, mma(["attention_mma_bf16_80", "attention_mma_f16_80"], 80)),
    (96, mma(["attention_mma_bf16_96", "attention_mma_f16_96"], 96)),
    (128, mma(["attention_mma_bf16_128", "attention_mma_f16_128"], 128)),
];

/// Queries of a block there, and keys of a step.
const MMA_TOKENS: usize = 64;

const fn mma(names: [&'static str; 2], depth: usize) -> [Kernel<Attention>; 2] {
    // Queries, and two stages of keys and values, in rows of an odd number of pieces of 16 bytes.
    let shared = 5 * MMA_TOKENS * ((depth / 8) | 1) * 16;
    [
        Kernel::new("attention_mma_bf16", names[0]).with_shared(shared),
        Kernel::new("attention_mma_f16", names[1]).with_shared(shared),
    ]
}

/// Queries and columns of the context that a block makes.
const QUERIES: usize = 32;
const COLUMNS: usize = 128;

/// Softmax attention of every head.
pub(crate) fn attention(
    ctx: &Context<'_>,
    qkv: &Tensor,
    options: &AttentionOptions,
    context: &mut Tensor,
    stats: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "attention";
    let dims = check::attention(OP, qkv, options, Some(context), stats.as_deref())?;
    refuse_what_is_missing(ctx.device, options)?;
    let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
    let parameters = Attention {
        qkv: QkvArgument::new(OP, ctx.device, qkv, dims)?,
        context: storage::rows(OP, "context", &(&*context).into(), ctx.device)?,
        stats: stats.map_or(Ok(0), |stats| storage::floats(OP, "stats", stats, ctx.device))?,
        scale: options.scale,
        padding: 0,
    };
    // SAFETY: as below.
    if ctx.device.hopper && unsafe { attention_90a::launch(ctx, &parameters, dims) }? {
        return Ok(());
    }
    let (kernel, blocks) = match parameters.on_tensor_cores(head_dim) {
        Some(kernel) => (kernel, [tokens.div_ceil(MMA_TOKENS), batch * num_heads, 1]),
        None => (
            &ATTENTION[parameters.qkv.dtype as usize],
            [tokens.div_ceil(QUERIES), batch * num_heads, head_dim.div_ceil(COLUMNS)],
        ),
    };
    // SAFETY: shapes were checked: context and stats have a row and a number for each query.
    unsafe { ctx.launch(kernel, Grid::of_blocks(blocks, 128), &parameters) }
}

impl Attention {
    /// The kernel of attention_mma.h that can compute it: everything in one type of 16 bits, heads in whole pieces of 16
    /// bytes, which is what it copies, and none wider than its widest.
    fn on_tensor_cores(&self, head_dim: usize) -> Option<&'static Kernel<Self>> {
        let narrow = usize::try_from(self.qkv.dtype).ok()?.checked_sub(1)?;
        let suits = self.context.dtype == self.qkv.dtype && head_dim.is_multiple_of(8);
        let (_, kernels) = ATTENTION_MMA.iter().find(|(depth, _)| suits && head_dim <= *depth)?;
        kernels.get(narrow)
    }
}

/// This backend does not train, so dropout is refused unless it does nothing.
pub(crate) fn refuse_what_is_missing(device: &Device, options: &AttentionOptions) -> Result<()> {
    if options.precision == WeightFormat::Int8 {
        return Err(Error::unsupported(&device.name, "attention in int8", "f32, bf16 or f16"));
    }
    match options.dropout {
        Some(dropout) if dropout.probability > 0.0 => {
            Err(Error::unsupported(&device.name, "attention dropout", "the backend \"reference\""))
        }
        _ => Ok(()),
    }
}
