//! Attention: softmax(scale·Q·Kᵀ)·V for each head, without a matrix of scores in memory.
//!
//! Everything is transposed, so that queries lie on the lanes: Sᵀ = K·Qᵀ is a register tile with rows of K
//! broadcast as they are, its maxima, exponentials and sums are lane by lane, and the result is already the
//! packed operand of Oᵀ += Vᵀ·Pᵀ. Keys come in blocks; the softmax is kept up to date from block to block
//! (Milakov and Gimelshein, arXiv:1805.02867), so a block of scores never leaves the first-level cache.

mod probabilities;
mod softmax;

use kernels_backend::{AttentionOptions, Error, Result, Tensor, check, check::AttentionDims};

pub(crate) use self::probabilities::attention_probabilities;
use self::softmax::{Group, KEY_BLOCK};
use crate::{
    simd::{Simd, TILE_VECTORS},
    storage::{HeadStrides, MatrixMut, floats},
    stream::Context,
    threads::Threads,
};

/// Groups of queries of a task, which read each block of keys and values one after another: the first brings
/// it into the second-level cache for the rest. With AVX-512, three groups instead of one gained 2 to 4 %.
const GROUPS: usize = 4;

/// What one thread needs: queries, scores and sums of one task. Kept from call to call.
#[derive(Default)]
pub(crate) struct Scratch(Vec<f32>);

/// Fused attention; `stats` keeps the logarithm of each softmax denominator.
pub(crate) fn attention<S: Simd>(
    context: &Context<'_, S>,
    scratch: &mut [Scratch],
    qkv: &Tensor,
    options: &AttentionOptions,
    output: &mut Tensor,
    stats: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "attention";
    let dims = check::attention(OP, qkv, options, Some(output), stats.as_deref())?;
    refuse_dropout(context.name, options)?;
    let job = Job {
        simd: context.simd,
        dims,
        scale: options.scale,
        words: floats(OP, "qkv", qkv, context.name)?,
        strides: HeadStrides::new(qkv, dims.num_heads),
        output: MatrixMut::new(OP, "context", output.into(), context.name)?,
        stats: stats.map(|stats| MatrixMut::new(OP, "stats", stats.into(), context.name)).transpose()?,
    };
    job.run(context.threads, scratch);
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
    output: MatrixMut<'a>,
    stats: Option<MatrixMut<'a>>,
}

impl<S: Simd> Job<'_, S> {
    fn run(&self, threads: &Threads, scratch: &mut [Scratch]) {
        let AttentionDims { batch, tokens, num_heads, head_dim } = self.dims;
        let needed = KEY_BLOCK * S::TILE_COLUMNS + GROUPS * Group::<S>::words(head_dim);
        for Scratch(words) in scratch.iter_mut().filter(|scratch| scratch.0.len() < needed) {
            words.resize(needed, 0.0);
        }
        let per_task = GROUPS * S::TILE_COLUMNS;
        let tasks_per_head = tokens.div_ceil(per_task);
        threads.for_each_with(scratch, batch * num_heads * tasks_per_head, |scratch, task| {
            let (head, piece) = (task / tasks_per_head, task % tasks_per_head);
            let queries = piece * per_task..tokens.min((piece + 1) * per_task);
            let (scores, groups) = scratch.0[..needed].split_at_mut(KEY_BLOCK * S::TILE_COLUMNS);
            self.task(head / num_heads, head % num_heads, queries, scores, groups);
        });
    }

    /// Some queries of one head against all keys.
    fn task(
        &self,
        sample: usize,
        head: usize,
        queries: std::ops::Range<usize>,
        scores: &mut [f32],
        groups: &mut [f32],
    ) {
        let AttentionDims { tokens, head_dim, num_heads, .. } = self.dims;
        let [q, k, v] = [0, 1, 2].map(|which| &self.words[self.strides.start(sample, which, head)..]);
        let stride = self.strides.token;
        let starts = || queries.clone().step_by(S::TILE_COLUMNS);
        let count = |start: usize| S::TILE_COLUMNS.min(queries.end - start);
        let size = Group::<S>::words(head_dim);
        for (start, words) in starts().zip(groups.chunks_exact_mut(size)) {
            Group::new(self.simd, words, head_dim).load(
                &q[start * stride..],
                stride,
                count(start),
                self.scale,
            );
        }
        for first in (0..tokens).step_by(KEY_BLOCK) {
            let keys = KEY_BLOCK.min(tokens - first);
            for (_, words) in starts().zip(groups.chunks_exact_mut(size)) {
                let mut group = Group::new(self.simd, words, head_dim);
                group.absorb(&k[first * stride..], &v[first * stride..], stride, keys, scores);
            }
        }
        for (start, words) in starts().zip(groups.chunks_exact_mut(size)) {
            let mut group = Group::new(self.simd, words, head_dim);
            group.finish();
            for i in 0..count(start) {
                let token = sample * tokens + start + i;
                // SAFETY: each query of each head belongs to one task.
                let row = unsafe { self.output.part(token, head * head_dim..(head + 1) * head_dim) };
                group.store(i, row);
                if let Some(stats) = &self.stats {
                    // SAFETY: as above.
                    let log_sum = unsafe { stats.part(sample * num_heads + head, start + i..start + i + 1) };
                    log_sum[0] = group.log_sum(i);
                }
            }
        }
    }
}

/// The lanes of a group, as vectors.
type Lanes<S> = [<S as Simd>::Vector; TILE_VECTORS];
