//! Weights in panels.

use kernels_backend::{LinearBlock, PackedWeights, Result, Tensor, View};

use crate::{
    memory::Buffer,
    simd::{MAX_TILE_COLUMNS, Simd},
    storage::{RowShape, floats},
    threads::Threads,
};

/// A linear layer packed for the tiles of one instruction set: `[panel][in][columns]`, where a panel holds as
/// many output features as a tile has columns. Features past the last are zero.
pub(crate) struct Packed<S> {
    weights: Buffer,
    bias: Buffer,
    in_features: usize,
    out_features: usize,
    simd: std::marker::PhantomData<S>,
}

impl<S: Simd> PackedWeights for Packed<S> {}

/// Numbers of a row that are transposed together: with all rows of a panel they fit a first-level cache.
const SPAN: usize = 64;

impl<S: Simd> Packed<S> {
    /// Memory for a layer of this size, or `None` where it cannot be had.
    pub(crate) fn zeroed(in_features: usize, out_features: usize) -> Option<Self> {
        let padded = out_features.checked_next_multiple_of(S::TILE_COLUMNS)?;
        Some(Self {
            weights: Buffer::zeroed(padded.checked_mul(in_features)?)?,
            bias: Buffer::zeroed(padded)?,
            in_features,
            out_features,
            simd: std::marker::PhantomData,
        })
    }

    /// Packs blocks stacked along the output features, straight from the views.
    pub(crate) fn pack_blocks(mut self, threads: &Threads, blocks: &[LinearBlock<'_>]) -> Self {
        let mut first = 0;
        for LinearBlock { weight, bias } in blocks {
            let count = weight.shape()[0];
            self.pack_rows(threads, first, count, |row, start, out| {
                weight.read_f32(row * weight.shape()[1] + start, out);
            });
            let to = &mut self.bias[first..first + count];
            match bias {
                Some(bias) => View::read_f32(bias, 0, to),
                None => to.fill(0.0),
            }
            first += count;
        }
        self
    }

    /// Packs again from tensors `(out, in)` and `(out)`.
    pub(crate) fn pack_tensors(
        &mut self,
        threads: &Threads,
        name: &str,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<()> {
        let shape = RowShape::of(weight);
        let words = floats("repack", "weight", weight, name)?;
        let bias = bias.map(|bias| floats("repack", "bias", bias, name)).transpose()?;
        self.pack_rows(threads, 0, self.out_features, |row, start, out| {
            out.copy_from_slice(&words[row * shape.stride + start..][..out.len()]);
        });
        let out_features = self.out_features;
        match bias {
            Some(bias) => self.bias[..out_features].copy_from_slice(&bias[..out_features]),
            None => self.bias.fill(0.0),
        }
        Ok(())
    }

    /// Fills output features `first..first + count`; `read(i, start, out)` gives numbers of the `i`-th of them.
    fn pack_rows(
        &mut self,
        threads: &Threads,
        first: usize,
        count: usize,
        read: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let (in_features, columns) = (self.in_features, S::TILE_COLUMNS);
        let panels = first / columns..(first + count).div_ceil(columns);
        let size = in_features * columns;
        let weights = &mut self.weights[panels.start * size..panels.end * size];
        threads.for_each_chunk(weights, size, |i, panel| {
            let panel_start = (panels.start + i) * columns;
            let features = first.max(panel_start)..(first + count).min(panel_start + columns);
            let mut rows = [[0.0; SPAN]; MAX_TILE_COLUMNS];
            for start in (0..in_features).step_by(SPAN) {
                let span = SPAN.min(in_features - start);
                for feature in features.clone() {
                    read(feature - first, start, &mut rows[feature - panel_start][..span]);
                }
                let target = &mut panel[start * columns..(start + span) * columns];
                for (k, target) in target.chunks_exact_mut(columns).enumerate() {
                    for feature in features.clone() {
                        target[feature - panel_start] = rows[feature - panel_start][k];
                    }
                }
            }
        });
    }

    /// How many panels there are.
    pub(crate) fn panels(&self) -> usize {
        self.out_features.div_ceil(S::TILE_COLUMNS)
    }

    /// The rows of y's last dimension.
    pub(crate) fn out_features(&self) -> usize {
        self.out_features
    }

    /// The weights of a panel.
    #[inline(always)]
    pub(crate) fn panel(&self, i: usize) -> &[f32] {
        let size = self.in_features * S::TILE_COLUMNS;
        &self.weights[i * size..(i + 1) * size]
    }

    /// The bias of a panel, zero past the last feature.
    #[inline(always)]
    pub(crate) fn bias(&self, i: usize) -> &[f32] {
        &self.bias[i * S::TILE_COLUMNS..(i + 1) * S::TILE_COLUMNS]
    }
}
