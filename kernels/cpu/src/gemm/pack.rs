//! Weights in panels.

use kernels_backend::{LinearBlock, PackedWeights, Result, Tensor, View, WeightFormat};

use super::{
    narrow::weight_scale,
    product::{Bf16, F32, Int8, Product, bf16_code, join, nearest_code},
};
use crate::{
    memory::Buffer,
    simd::{MAX_TILE_COLUMNS, Simd},
    storage::{RowShape, floats},
    threads::Threads,
};

/// A linear layer packed for the tiles of one instruction set: `[panel][word][columns]`, where a panel holds as
/// many output features as a tile has columns, and a word as many input features as its precision says. What lies past
/// the last feature is zero.
pub(crate) struct Packed<S> {
    weights: Buffer,
    bias: Buffer,
    /// Of int8: what a weight of one stands for, and the sum of all weights of the feature, in f32.
    scales: Buffer,
    sums: Buffer,
    format: WeightFormat,
    in_features: usize,
    /// Words along the input features.
    depth: usize,
    out_features: usize,
    simd: std::marker::PhantomData<S>,
}

impl<S: Simd> PackedWeights for Packed<S> {}

/// Numbers of a row that are transposed together: with all rows of a panel they fit a first-level cache.
const SPAN: usize = 64;

/// Where weights come from: the numbers of a feature from some input feature on.
trait Read: Fn(usize, usize, &mut [f32]) + Sync {}
impl<F: Fn(usize, usize, &mut [f32]) + Sync> Read for F {}

impl<S: Simd> Packed<S> {
    /// Memory for a layer of this size.
    pub(crate) fn zeroed(
        name: &str,
        [out_features, in_features]: [usize; 2],
        format: WeightFormat,
    ) -> Result<Self> {
        let numbers = match format {
            WeightFormat::Bf16 => <Bf16 as Product<S>>::NUMBERS,
            WeightFormat::Int8 => <Int8 as Product<S>>::NUMBERS,
            _ => <F32 as Product<S>>::NUMBERS,
        };
        let depth = in_features.div_ceil(numbers);
        let padded = out_features.checked_next_multiple_of(S::TILE_COLUMNS);
        let memory = |len| Buffer::of_shape(len, name, [out_features, in_features]);
        let dequantized = if format == WeightFormat::Int8 { padded } else { Some(0) };
        Ok(Self {
            weights: memory(padded.and_then(|padded| padded.checked_mul(depth)))?,
            bias: memory(padded)?,
            scales: memory(dequantized)?,
            sums: memory(dequantized)?,
            format,
            in_features,
            depth,
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
    fn pack_rows(&mut self, threads: &Threads, first: usize, count: usize, read: impl Read) {
        match self.format {
            WeightFormat::Bf16 => self.fill(threads, first, count, &read, |_, x| bf16_code(x), join::<2>),
            WeightFormat::Int8 => {
                let inverse = self.measure(threads, first, count, &read);
                let code = |i: usize, x: f32| nearest_code(x * inverse[i]);
                if <Int8 as Product<S>>::NUMBERS == 4 {
                    self.fill(threads, first, count, &read, code, join::<4>);
                } else {
                    self.fill(threads, first, count, &read, code, join::<2>);
                }
            }
            _ => self.fill(threads, first, count, &read, |_, x| x.to_bits(), join::<1>),
        }
    }

    /// Finds the scale of each of some features, keeps what undoes it, and returns what a weight is multiplied by.
    fn measure(&mut self, threads: &Threads, first: usize, count: usize, read: &impl Read) -> Vec<f32> {
        let in_features = self.in_features;
        let mut found = vec![[0.0; 3]; count];
        threads.for_each_chunk(&mut found, 1, |i, found| {
            let mut row = vec![0.0; in_features];
            read(i, 0, &mut row);
            let (scale, inverse) = weight_scale(&row);
            let sum: f64 = row.iter().map(|x| f64::from((x * inverse).round_ties_even())).sum();
            found[0] = [scale, inverse, (sum * f64::from(scale)) as f32];
        });
        for (i, [scale, _, sum]) in found.iter().enumerate() {
            (self.scales[first + i], self.sums[first + i]) = (*scale, *sum);
        }
        found.into_iter().map(|[_, inverse, _]| inverse).collect()
    }

    /// [`Packed::pack_rows`] where `code(i, x)` is what a weight becomes and `join` makes a word.
    fn fill<const NUMBERS: usize>(
        &mut self,
        threads: &Threads,
        first: usize,
        count: usize,
        read: &impl Read,
        code: impl Fn(usize, f32) -> u32 + Sync,
        join: impl Fn([u32; NUMBERS]) -> f32 + Sync,
    ) {
        let (in_features, columns) = (self.in_features, S::TILE_COLUMNS);
        let panels = first / columns..(first + count).div_ceil(columns);
        let size = self.depth * columns;
        let weights = &mut self.weights[panels.start * size..panels.end * size];
        threads.for_each_chunk(weights, size, |i, panel| {
            let panel_start = (panels.start + i) * columns;
            let features = first.max(panel_start)..(first + count).min(panel_start + columns);
            let mut rows = [[0.0; SPAN]; MAX_TILE_COLUMNS];
            for start in (0..in_features).step_by(SPAN) {
                let span = SPAN.min(in_features - start);
                for feature in features.clone() {
                    let row = &mut rows[feature - panel_start];
                    read(feature - first, start, &mut row[..span]);
                    // A last word that is not full.
                    row[span..].fill(0.0);
                }
                let words = span.div_ceil(NUMBERS);
                let target = &mut panel[start / NUMBERS * columns..][..words * columns];
                for (k, target) in target.chunks_exact_mut(columns).enumerate() {
                    for feature in features.clone() {
                        let numbers = &rows[feature - panel_start][k * NUMBERS..];
                        let word = std::array::from_fn(|n| code(feature - first, numbers[n]));
                        target[feature - panel_start] = join(word);
                    }
                }
            }
        });
    }

    /// The precision.
    pub(crate) fn format(&self) -> WeightFormat {
        self.format
    }

    /// How many panels there are.
    pub(crate) fn panels(&self) -> usize {
        self.out_features.div_ceil(S::TILE_COLUMNS)
    }

    /// The rows of y's last dimension.
    pub(crate) fn out_features(&self) -> usize {
        self.out_features
    }

    /// The words of a row of x.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The weights of a panel.
    #[inline(always)]
    pub(crate) fn panel(&self, i: usize) -> &[f32] {
        let size = self.depth * S::TILE_COLUMNS;
        &self.weights[i * size..(i + 1) * size]
    }

    /// The bias of a panel, zero past the last feature.
    #[inline(always)]
    pub(crate) fn bias(&self, i: usize) -> &[f32] {
        &self.bias[i * S::TILE_COLUMNS..(i + 1) * S::TILE_COLUMNS]
    }

    /// Of int8, what a product of one stands for in each feature of a panel, and the sums of their weights.
    #[inline(always)]
    pub(crate) fn dequantization(&self, i: usize) -> (&[f32], &[f32]) {
        let range = i * S::TILE_COLUMNS..(i + 1) * S::TILE_COLUMNS;
        (&self.scales[range.clone()], &self.sums[range])
    }
}
