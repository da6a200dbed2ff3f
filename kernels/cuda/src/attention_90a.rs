//! `attention` on Hopper: where its kernel applies, and how it is launched.

use bytemuck::NoUninit;
use kernels_backend::{DType, Result, check::AttentionDims};

use crate::{
    attention::Attention,
    kernel::{Context, Grid, Kernel},
    memory::Address,
    storage::{RowsArgument, int},
    tma::{Dimension, TensorMap},
};

/// `Attention90a` of attention_90a.h.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Attention90a {
    queries: TensorMap,
    keys: TensorMap,
    queries_left: TensorMap,
    keys_left: TensorMap,
    context: RowsArgument,
    /// Zero for none.
    stats: Address,
    factor: f32,
    tokens: i32,
    num_heads: i32,
    head_dim: i32,
    by_head: i32,
    heads: i32,
}

/// A kernel for heads of up to so many columns, in bf16 and in f16, and its sizes.
struct Kernels {
    depth: usize,
    /// Of the warpgroups that compute.
    warpgroups: usize,
    by_type: [Kernel<Attention90a>; 2],
}

const KERNELS: [Kernels; 5] = [
    kernels(["attention_90a_bf16_32", "attention_90a_f16_32"], 32),
    kernels(["attention_90a_bf16_64", "attention_90a_f16_64"], 64),
    kernels(["attention_90a_bf16_80", "attention_90a_f16_80"], 80),
    kernels(["attention_90a_bf16_96", "attention_90a_f16_96"], 96),
    kernels(["attention_90a_bf16_128", "attention_90a_f16_128"], 128),
];

/// Queries of a warpgroup, and keys of a step.
const QUERIES: usize = 64;
const KEYS: usize = 112;

/// Columns of a head in rows as wide as the widest swizzle; what is left of a wider head is in rows of its own.
const FIRST: usize = 64;

const fn kernels(names: [&'static str; 2], depth: usize) -> Kernels {
    let warpgroups = if depth > 80 { 2 } else { 3 };
    let slots = if depth > 96 { 4 } else { 8 };
    // Two tiles of queries, and the ring of keys and values.
    let shared = 2 * warpgroups * room(QUERIES * depth * 2) + slots * room(KEYS * depth * 2);
    let by_type = [
        Kernel::new("attention_bf16_90a", names[0]).with_hopper_shared(shared),
        Kernel::new("attention_f16_90a", names[1]).with_hopper_shared(shared),
    ];
    Kernels { depth, warpgroups, by_type }
}

/// Bytes up to the next repetition of the widest swizzle.
const fn room(bytes: usize) -> usize {
    bytes.next_multiple_of(1024)
}

/// The kernels that can compute it: everything in one type of 16 bits, heads in whole pieces of 16 bytes, which is what
/// TMA copies, and none wider than the widest; scores that grow with the product of query and key; not nothing.
fn suitable(parameters: &Attention, dims: AttentionDims) -> Option<&'static Kernels> {
    let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
    let suits = parameters.qkv.dtype != 0
        && parameters.context.dtype == parameters.qkv.dtype
        && head_dim.is_multiple_of(8)
        && parameters.scale > 0.0
        && parameters.scale.is_finite()
        && batch * tokens * num_heads * head_dim > 0;
    KERNELS.iter().find(|kernels| suits && head_dim <= kernels.depth)
}

/// Launches the kernel where it applies; says whether it did.
///
/// # Safety
/// As [`Context::launch`], for `parameters`.
pub(crate) unsafe fn launch(ctx: &Context<'_>, parameters: &Attention, dims: AttentionDims) -> Result<bool> {
    const OP: &str = "attention";
    let Some(kernels) = suitable(parameters, dims) else { return Ok(false) };
    let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
    let queries = kernels.warpgroups * QUERIES;
    let heads = batch * num_heads;
    let tiles = heads * tokens.div_ceil(queries);
    // The kernel counts tiles as it does heads.
    int(OP, tiles)?;
    let qkv = &parameters.qkv;
    let map = |rows, columns| {
        // Of a narrower head too a row has the width of its swizzle; of a wider one, what is left has.
        let dimensions = qkv_dimensions(dims, qkv.by_head != 0, [rows, columns]);
        TensorMap::new(OP, ctx.device, dtype(qkv.dtype), qkv.data, dimensions)
    };
    let first = kernels.depth.min(FIRST);
    let left = if kernels.depth > first { kernels.depth - first } else { first };
    let parameters = Attention90a {
        queries: map(QUERIES, first)?,
        keys: map(KEYS, first)?,
        queries_left: map(QUERIES, left)?,
        keys_left: map(KEYS, left)?,
        context: parameters.context,
        stats: parameters.stats,
        factor: parameters.scale * std::f32::consts::LOG2_E,
        tokens: int(OP, tokens)?,
        num_heads: int(OP, num_heads)?,
        head_dim: int(OP, head_dim)?,
        by_head: qkv.by_head,
        heads: int(OP, heads)?,
    };
    let threads = (kernels.warpgroups as u32 + 1) * 128;
    let grid = Grid::of_blocks([tiles.min(ctx.device.multiprocessors), 1, 1], threads);
    let kernel = &kernels.by_type[usize::from(dtype(qkv.dtype) == DType::F16)];
    // SAFETY: by this function's contract.
    unsafe { ctx.launch(kernel, grid, &parameters) }?;
    Ok(true)
}

/// The element type of a number of `storage::type_code` that is not f32.
fn dtype(code: i32) -> DType {
    if code == 1 { DType::Bf16 } else { DType::F16 }
}

/// Qkv with heads as wide as they are, for boxes of `[rows, columns]` of one head: columns, then tokens and heads of all
/// parts in the order of their strides, then samples.
fn qkv_dimensions(dims: AttentionDims, by_head: bool, [rows, columns]: [usize; 2]) -> [Dimension; 4] {
    let AttentionDims { batch, tokens, num_heads, head_dim } = dims;
    let parts = 3 * num_heads;
    let [token_stride, part_stride] =
        if by_head { [head_dim, tokens * head_dim] } else { [parts * head_dim, head_dim] };
    let columns = Dimension { size: head_dim, stride: 1, of_box: columns };
    let tokens = Dimension { size: tokens, stride: token_stride, of_box: rows };
    let parts = Dimension { size: parts, stride: part_stride, of_box: 1 };
    let samples = Dimension { size: batch, stride: tokens.size * parts.size * head_dim, of_box: 1 };
    if by_head { [columns, tokens, parts, samples] } else { [columns, parts, tokens, samples] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stride_of_a_map_is_a_multiple_of_the_one_before() {
        let dims = AttentionDims { batch: 2, tokens: 1568, num_heads: 12, head_dim: 64 };
        for by_head in [false, true] {
            let strides = qkv_dimensions(dims, by_head, [KEYS, FIRST]).map(|dimension| dimension.stride);
            assert!(strides.windows(2).all(|pair| pair[1].is_multiple_of(pair[0])), "{strides:?}");
        }
    }
}
