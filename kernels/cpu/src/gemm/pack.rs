//! Weights in panels.

use bytemuck::Pod;
use kernels_backend::{LinearBlock, PackedWeights, Result, Tensor, View, WeightFormat};

use super::{
    narrow::{vector_scale, weight_code},
    product::{Bf16, F32, Int8Weights, Product, bf16_code},
};
use crate::{
    memory::Buffer,
    simd::{MAX_TILE_COLUMNS, Simd, TILE_VECTORS},
    storage::{RowShape, floats},
    threads::Threads,
};

/// A linear layer packed for the tiles of one instruction set: `[panel][step][column][number]`, where a panel holds as
/// many output features as a tile has columns, and a step as many input features as a word of x. What lies past
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
    /// The memory of a step along them in a panel, in words.
    step_words: usize,
    out_features: usize,
    simd: S,
}

impl<S: Simd> PackedWeights for Packed<S> {}

/// Numbers of a row that are brought to codes and transposed together: with all rows of a panel they fit a first-level cache.
const SPAN: usize = 64;

/// Features whose scales are found by one task, in memory for one row.
const MEASURED: usize = 16;

/// Where weights come from: the numbers of a feature from some input feature on.
trait Read: Fn(usize, usize, &mut [f32]) + Sync {}
impl<F: Fn(usize, usize, &mut [f32]) + Sync> Read for F {}

impl<S: Simd> Packed<S> {
    /// Memory for a layer of this size.
    pub(crate) fn zeroed(
        simd: S,
        name: &str,
        [out_features, in_features]: [usize; 2],
        format: WeightFormat,
    ) -> Result<Self> {
        fn of<S: Simd, P: Product<S>>() -> (usize, usize) {
            (P::NUMBERS, TILE_VECTORS * P::VECTOR_WORDS)
        }
        let (numbers, step_words) = match format {
            WeightFormat::Bf16 => of::<S, Bf16>(),
            WeightFormat::Int8 => of::<S, Int8Weights>(),
            _ => of::<S, F32>(),
        };
        let depth = in_features.div_ceil(numbers);
        let padded = out_features.checked_next_multiple_of(S::TILE_COLUMNS);
        let words = padded.and_then(|padded| (padded / S::TILE_COLUMNS * step_words).checked_mul(depth));
        let memory = |len| Buffer::of_shape(len, name, [out_features, in_features]);
        let dequantized = if format == WeightFormat::Int8 { padded } else { Some(0) };
        Ok(Self {
            weights: memory(words)?,
            bias: memory(padded)?,
            scales: memory(dequantized)?,
            sums: memory(dequantized)?,
            format,
            in_features,
            depth,
            step_words,
            out_features,
            simd,
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
            WeightFormat::Bf16 => {
                self.fill::<u16, 2>(threads, first, count, &read, |_, x| bf16_code(x) as u16)
            }
            WeightFormat::Int8 => {
                let inverses = self.measure(threads, first, count, &read);
                let code = |i: usize, x: f32| weight_code(x, inverses[i]);
                if <Int8Weights as Product<S>>::NUMBERS == 4 {
                    self.fill::<i8, 4>(threads, first, count, &read, code);
                } else {
                    self.fill::<i8, 2>(threads, first, count, &read, code);
                }
            }
            _ => self.fill::<f32, 1>(threads, first, count, &read, |_, x| x),
        }
    }

    /// Finds the scale of each of some features, keeps what undoes it, and returns what a weight is multiplied by.
    fn measure(&mut self, threads: &Threads, first: usize, count: usize, read: &impl Read) -> Vec<f32> {
        let (s, in_features) = (self.simd, self.in_features);
        let mut found = vec![[0.0; 3]; count];
        threads.for_each_chunk(&mut found, MEASURED, |i, found| {
            let mut row = vec![0.0; in_features];
            for (feature, found) in (i * MEASURED..).zip(found) {
                read(feature, 0, &mut row);
                *found = s.vectorize(
                    #[inline(always)]
                    || {
                        let (scale, inverse) = vector_scale(s, &row);
                        // The integers of as many features as int8 takes add up to less than 2³¹.
                        let sum: i32 = row.iter().map(|&x| i32::from(weight_code(x, inverse))).sum();
                        [scale, inverse, (f64::from(sum) * f64::from(scale)) as f32]
                    },
                );
            }
        });
        for (i, [scale, _, sum]) in found.iter().enumerate() {
            (self.scales[first + i], self.sums[first + i]) = (*scale, *sum);
        }
        found.into_iter().map(|[_, inverse, _]| inverse).collect()
    }

    /// [`Packed::pack_rows`] where `code(i, x)` is what a weight becomes; `NUMBERS` of a feature lie side by side.
    fn fill<Code: Pod, const NUMBERS: usize>(
        &mut self,
        threads: &Threads,
        first: usize,
        count: usize,
        read: &impl Read,
        code: impl Fn(usize, f32) -> Code + Sync,
    ) {
        let (s, in_features, columns) = (self.simd, self.in_features, S::TILE_COLUMNS);
        let panels = first / columns..(first + count).div_ceil(columns);
        let size = self.depth * self.step_words;
        let weights = &mut self.weights[panels.start * size..panels.end * size];
        threads.for_each_chunk(weights, size, |i, panel| {
            let panel: &mut [[Code; NUMBERS]] = bytemuck::cast_slice_mut(panel);
            let panel_start = (panels.start + i) * columns;
            let features = first.max(panel_start)..(first + count).min(panel_start + columns);
            let mut row = [0.0; SPAN];
            let mut codes = [[Code::zeroed(); SPAN]; MAX_TILE_COLUMNS];
            for start in (0..in_features).step_by(SPAN) {
                let span = SPAN.min(in_features - start);
                // A last word that is not full.
                row[span..].fill(0.0);
                for feature in features.clone() {
                    read(feature - first, start, &mut row[..span]);
                    s.vectorize(
                        #[inline(always)]
                        || {
                            for (to, &x) in codes[feature - panel_start].iter_mut().zip(&row) {
                                *to = code(feature - first, x);
                            }
                        },
                    );
                }
                let words = span.div_ceil(NUMBERS);
                let target = &mut panel[start / NUMBERS * columns..][..words * columns];
                for (k, target) in target.chunks_exact_mut(columns).enumerate() {
                    for feature in features.clone() {
                        let column = feature - panel_start;
                        target[column].copy_from_slice(&codes[column][k * NUMBERS..][..NUMBERS]);
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
        let size = self.depth * self.step_words;
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
