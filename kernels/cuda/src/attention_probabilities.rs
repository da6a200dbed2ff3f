//! `attention_probabilities`: the softmax of the scores, to look at.

use bytemuck::NoUninit;
use kernels_backend::{AttentionOptions, Result, Tensor, check, check::AttentionDims};

use crate::{
    attention::{QkvArgument, refuse_what_is_missing},
    kernel::{Context, Grid, Kernel},
    storage::{self, RowsArgument, int},
};

/// `AttentionProbabilities` of attention_probabilities.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct AttentionProbabilities {
    qkv: QkvArgument,
    probabilities: RowsArgument,
    total: i32,
    scale: f32,
}

const ATTENTION_PROBABILITIES: Kernel<AttentionProbabilities> =
    Kernel::new("attention_probabilities", "attention_probabilities");

/// The softmax of the scaled scores of every head.
pub(crate) fn attention_probabilities(
    ctx: &Context<'_>,
    qkv: &Tensor,
    options: &AttentionOptions,
    probabilities: &mut Tensor,
) -> Result<()> {
    const OP: &str = "attention_probabilities";
    let dims = check::attention(OP, qkv, options, None, None)?;
    let AttentionDims { batch, tokens, num_heads, .. } = dims;
    check::shape(OP, "probabilities", probabilities, &[batch, num_heads, tokens, tokens])?;
    refuse_what_is_missing(ctx.device, options)?;
    let total = batch * num_heads * tokens;
    let parameters = AttentionProbabilities {
        qkv: QkvArgument::new(OP, ctx.device, qkv, dims)?,
        probabilities: storage::rows(OP, "probabilities", &(&*probabilities).into(), ctx.device)?,
        total: int(OP, total)?,
        scale: options.scale,
    };
    // SAFETY: shapes were checked: there is a row of as many numbers as tokens for each query.
    unsafe { ctx.launch(&ATTENTION_PROBABILITIES, Grid::of_warps(total), &parameters) }
}
