//! Attention: softmax(scale·Q·Kᵀ)·V for each head, without a matrix of scores in memory.
//!
//! Everything is transposed, so that queries lie on the lanes: Sᵀ = K·Qᵀ is a register tile with rows of K
//! broadcast as they are, its maxima, exponentials and sums are lane by lane, and the result is already the
//! packed operand of Oᵀ += Vᵀ·Pᵀ. Keys come in blocks; the softmax is kept up to date from block to block
//! (Milakov and Gimelshein, arXiv:1805.02867), so a block of scores never leaves the first-level cache.
//!
//! Where a processor has dot products of bf16, queries, keys and values may be bf16; exponentials are then rounded to it
//! too before they are multiplied. Scores, maxima and sums are f32 in any case.

mod keys;
mod probabilities;
mod softmax;

use kernels_backend::{AttentionOptions, DType, Error, Result, Tensor, Write, check, check::AttentionDims};

use self::{
    keys::Keys,
    softmax::{Group, KEY_BLOCK},
};
pub(crate) use self::{keys::PairedValues, probabilities::attention_probabilities};
use crate::{
    gemm::{Bf16, F32, Float, Product},
    heads::HeadStrides,
    operand::OperandMut,
    simd::{Simd, TILE_VECTORS},
    storage::{CpuStorage, MatrixMut, floats},
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
    values: PairedValues,
}

impl Scratch {
    /// No memory yet.
    pub(crate) fn new(threads: &Threads) -> Self {
        Self { threads: vec![Vec::new(); threads.count()], values: PairedValues::default() }
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
    let narrow = qkv.dtype() == DType::Bf16;
    if narrow && !(S::HAS_DOT && options.precision == DType::Bf16) {
        let what = format!("attention of bf16 in {}", options.precision);
        return Err(Error::unsupported(context.name, what, "queries, keys and values in f32"));
    }
    let words = if narrow {
        &qkv.storage::<CpuStorage>(OP, context.name)?.0
    } else {
        floats(OP, "qkv", qkv, context.name)?
    };
    let job = Job {
        simd: context.simd,
        dims,
        scale: options.scale,
        words,
        strides: HeadStrides::new(qkv, dims.num_heads),
        output: OperandMut::new(OP, "context", output.into(), context.name)?,
        stats: stats.map(|stats| MatrixMut::new(OP, "stats", stats.into(), context.name)).transpose()?,
    };
    if narrow {
        let paired = scratch.values.pair(context, bytemuck::cast_slice(words), &job.strides, dims)?;
        let size = dims.tokens.div_ceil(2) * dims.head_dim;
        job.run::<Bf16>(context.threads, &mut scratch.threads, &|head| Keys {
            k: job.head::<Bf16>(1, head),
            k_stride: job.stride::<Bf16>(),
            v: &paired[head * size..(head + 1) * size],
            v_stride: dims.head_dim,
        });
    } else {
        job.run::<F32>(context.threads, &mut scratch.threads, &|head| {
            let [k, v] = [1, 2].map(|which| job.head::<F32>(which, head));
            Keys { k, k_stride: job.stride::<F32>(), v, v_stride: job.stride::<F32>() }
        });
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
    words: &'a [f32],
    strides: HeadStrides,
    output: OperandMut<'a>,
    stats: Option<MatrixMut<'a>>,
}

impl<'a, S: Simd> Job<'a, S> {
    /// The words from the first q (0), k (1) or v (2) of a head on; heads are counted over all samples.
    fn head<P: Product<S>>(&self, which: usize, head: usize) -> &'a [f32] {
        let num_heads = self.dims.num_heads;
        &self.words[self.strides.start(head / num_heads, which, head % num_heads) / P::NUMBERS..]
    }

    /// Words between two tokens.
    fn stride<P: Product<S>>(&self) -> usize {
        self.strides.token / P::NUMBERS
    }

    fn group<'w, P: Float<S>>(&self, words: &'w mut [f32]) -> Group<'w, S, P> {
        Group::new(self.simd, words, self.dims.head_dim, self.scale)
    }

    fn run<'k, P: Float<S>>(
        &self,
        threads: &Threads,
        scratch: &mut [Vec<f32>],
        keys: &(impl Fn(usize) -> Keys<'k> + Sync),
    ) {
        let AttentionDims { batch, tokens, num_heads, head_dim } = self.dims;
        let needed = KEY_BLOCK * S::TILE_COLUMNS + GROUPS * Group::<S, P>::words(head_dim);
        for words in scratch.iter_mut().filter(|words| words.len() < needed) {
            words.resize(needed, 0.0);
        }
        let per_task = GROUPS * S::TILE_COLUMNS;
        let tasks_per_head = tokens.div_ceil(per_task);
        threads.for_each_with(scratch, batch * num_heads * tasks_per_head, |scratch, task| {
            let (head, piece) = (task / tasks_per_head, task % tasks_per_head);
            let queries = piece * per_task..tokens.min((piece + 1) * per_task);
            let (scores, groups) = scratch[..needed].split_at_mut(KEY_BLOCK * S::TILE_COLUMNS);
            self.task::<P>(head, queries, &keys(head), scores, groups);
        });
    }

    /// Some queries of one head against all keys.
    fn task<P: Float<S>>(
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
        let size = Group::<S, P>::words(head_dim);
        let (q, stride) = (self.head::<P>(0, head), self.stride::<P>());
        for (start, words) in starts().zip(groups.chunks_exact_mut(size)) {
            self.group::<P>(words).load(&q[start * stride..], stride, count(start));
        }
        for first in (0..tokens).step_by(KEY_BLOCK) {
            for (_, words) in starts().zip(groups.chunks_exact_mut(size)) {
                self.group::<P>(words).absorb(keys, first, KEY_BLOCK.min(tokens - first), scores);
            }
        }
        let (sample, column) = (head / num_heads, head % num_heads * head_dim);
        for (start, words) in starts().zip(groups.chunks_exact_mut(size)) {
            let mut group = self.group::<P>(words);
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
