//! Attention: softmax(scale·Q·Kᵀ)·V for each head, without a matrix of scores in memory.
//!
//! Everything is transposed, so that queries lie on the lanes: Sᵀ = K·Qᵀ is a register tile with rows of K
//! broadcast as they are, its maxima, exponentials and sums are lane by lane, and the result is already the
//! packed operand of Oᵀ += Vᵀ·Pᵀ. Keys come in blocks; the softmax is kept up to date from block to block
//! (Milakov and Gimelshein, arXiv:1805.02867), so a block of scores never leaves the first-level cache.
//!
//! Where a processor has dot products of bf16, queries, keys and values may be bf16; exponentials are then rounded to it
//! too before they are multiplied. Beside layers of int8, queries and keys are multiplied as integers (`integers`), whose
//! scales come to the scores before the maximum is taken. Scores, maxima and sums are f32 in any case.

mod integers;
mod keys;
mod probabilities;
mod query;
mod softmax;

use kernels_backend::{
    AttentionOptions, DType, Error, Result, Tensor, WeightFormat, Write, check, check::AttentionDims,
};

pub(crate) use self::{integers::IntegerKeys, keys::PairedValues, probabilities::attention_probabilities};
use self::{
    keys::Keys,
    query::Query,
    softmax::{Group, KEY_BLOCK},
};
use crate::{
    gemm::{Bf16, F32, Float, Int8, Product},
    heads::Heads,
    memory::grow,
    operand::OperandMut,
    simd::{Simd, TILE_VECTORS},
    storage::MatrixMut,
    stream::Context,
    threads::Threads,
};

/// Groups of queries of a task, which read each block of keys and values one after another: the first brings
/// it into the second-level cache for the rest. With AVX-512, three groups instead of one gained 2 to 4 %.
const GROUPS: usize = 4;

/// Memory kept from call to call.
pub(crate) struct Scratch {
    /// What each thread needs: queries, scores and sums of one task.
    threads: Vec<Vec<f32>>,
    keys: IntegerKeys,
    values: PairedValues,
}

impl Scratch {
    /// No memory yet.
    pub(crate) fn new(threads: &Threads) -> Self {
        Self {
            threads: vec![Vec::new(); threads.count()],
            keys: IntegerKeys::default(),
            values: PairedValues::default(),
        }
    }
}

/// Fused attention; `stats` keeps the logarithm of each softmax denominator.
pub(crate) fn attention<S: Simd>(
    context: &Context<'_, S>,
    scratch: &mut Scratch,
    qkv: &Tensor,
    options: &AttentionOptions,
    output: &mut Tensor,
    stats: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "attention";
    let dims = check::attention(OP, qkv, options, Some(output), stats.as_deref())?;
    refuse_dropout(context.name, options)?;
    let heads = Heads::new(OP, "qkv", qkv, dims.num_heads, context.name)?;
    let integers = options.precision == WeightFormat::Int8;
    let is_bf16 = qkv.dtype() == DType::Bf16;
    if is_bf16 && !(S::HAS_DOT && (integers || options.precision == WeightFormat::Bf16)) {
        let what = format!("attention of bf16 in {}", options.precision);
        return Err(Error::unsupported(context.name, what, "queries, keys and values in f32"));
    }
    let job = Job {
        simd: context.simd,
        dims,
        scale: options.scale,
        heads,
        output: OperandMut::new(OP, "context", output.into(), context.name)?,
        stats: stats.map(|stats| MatrixMut::new(OP, "stats", stats.into(), context.name)).transpose()?,
    };
    let (k, scales) = if integers { scratch.keys.round(context, &heads, dims)? } else { (&[][..], &[][..]) };
    let v = if is_bf16 { scratch.values.pair(context, &heads, dims)? } else { &[] };
    let keys = |head: usize| {
        let AttentionDims { tokens, head_dim, .. } = dims;
        let (k, k_stride, scales) = if integers {
            let depth = head_dim.div_ceil(<Int8 as Product<S>>::NUMBERS);
            (&k[head * tokens * depth..], depth, &scales[head * tokens..])
        } else {
            (heads.words(1, head), heads.stride(), scales)
        };
        let (v, v_stride) = if is_bf16 {
            (&v[head * tokens.div_ceil(2) * head_dim..], head_dim)
        } else {
            (heads.words(2, head), heads.stride())
        };
        Keys { k, k_stride, scales, v, v_stride }
    };
    let (threads, scratch) = (context.threads, &mut scratch.threads);
    // Where the constant is false, tiles of products that are not there are not even compiled.
    if S::HAS_DOT && is_bf16 {
        if integers {
            job.run::<Int8, Bf16>(threads, scratch, &keys);
        } else {
            job.run::<Bf16, Bf16>(threads, scratch, &keys);
        }
    } else if integers {
        job.run::<Int8, F32>(threads, scratch, &keys);
    } else {
        job.run::<F32, F32>(threads, scratch, &keys);
    }
    Ok(())
}

fn refuse_dropout(name: &str, options: &AttentionOptions) -> Result<()> {
    match options.dropout {
        Some(dropout) if dropout.probability > 0.0 => {
            Err(Error::unsupported(name, "attention dropout", "the backend \"reference\" to train"))
        }
        _ => Ok(()),
    }
}

/// One attention on its way.
struct Job<'a, S> {
    simd: S,
    dims: AttentionDims,
    scale: f32,
    heads: Heads<'a>,
    output: OperandMut<'a>,
    stats: Option<MatrixMut<'a>>,
}

impl<S: Simd> Job<'_, S> {
    fn group<'w, Q: Query<S>, P: Float<S>>(&self, words: &'w mut [f32]) -> Group<'w, S, Q, P> {
        Group::new(self.simd, words, self.dims.head_dim)
    }

    fn run<'k, Q: Query<S>, P: Float<S>>(
        &self,
        threads: &Threads,
        scratch: &mut [Vec<f32>],
        keys: &(impl Fn(usize) -> Keys<'k> + Sync),
    ) {
        let AttentionDims { batch, tokens, num_heads, head_dim } = self.dims;
        let needed = KEY_BLOCK * S::TILE_COLUMNS + GROUPS * Group::<S, Q, P>::words(head_dim);
        scratch.iter_mut().for_each(|words| grow(words, needed));
        let per_task = GROUPS * S::TILE_COLUMNS;
        let tasks_per_head = tokens.div_ceil(per_task);
        threads.for_each_with(scratch, batch * num_heads * tasks_per_head, |scratch, task| {
            let (head, piece) = (task / tasks_per_head, task % tasks_per_head);
            let queries = piece * per_task..tokens.min((piece + 1) * per_task);
            let (scores, groups) = scratch[..needed].split_at_mut(KEY_BLOCK * S::TILE_COLUMNS);
            self.task::<Q, P>(head, queries, &keys(head), scores, groups);
        });
    }

    /// Some queries of one head against all keys.
    fn task<Q: Query<S>, P: Float<S>>(
        &self,
        head: usize,
        queries: std::ops::Range<usize>,
        keys: &Keys<'_>,
        scores: &mut [f32],
        groups: &mut [f32],
    ) {
        let AttentionDims { tokens, head_dim, num_heads, .. } = self.dims;
        let starts = || queries.clone().step_by(S::TILE_COLUMNS);
        let count = |start: usize| S::TILE_COLUMNS.min(queries.end - start);
        let size = Group::<S, Q, P>::words(head_dim);
        for (start, words) in starts().zip(groups.chunks_exact_mut(size)) {
            let mut group = self.group::<Q, P>(words);
            self.simd.vectorize(
                #[inline(always)]
                || group.load(&self.heads, head, start..start + count(start), self.scale),
            );
        }
        for first in (0..tokens).step_by(KEY_BLOCK) {
            for (_, words) in starts().zip(groups.chunks_exact_mut(size)) {
                self.group::<Q, P>(words).absorb(keys, first, KEY_BLOCK.min(tokens - first), scores);
            }
        }
        let (sample, column) = (head / num_heads, head % num_heads * head_dim);
        for (start, words) in starts().zip(groups.chunks_exact_mut(size)) {
            let mut group = self.group::<Q, P>(words);
            group.finish();
            for i in 0..count(start) {
                let token = sample * tokens + start + i;
                let row = group.output(i);
                // SAFETY: each query of each head belongs to one task.
                unsafe { self.output.put(self.simd, token, column..column + head_dim, row, Write::Replace) };
                if let Some(stats) = &self.stats {
                    // SAFETY: as above.
                    let log_sum = unsafe { stats.part(head, start + i..start + i + 1) };
                    log_sum[0] = group.log_sum(i);
                }
            }
        }
    }
}

/// The lanes of a group, as vectors.
type Lanes<S> = [<S as Simd>::Vector; TILE_VECTORS];
