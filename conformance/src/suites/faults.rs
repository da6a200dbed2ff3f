//! Mistakes put in on purpose. Each must make the suite of models fail; a suite that lets one through tests nothing.

use std::sync::Arc;

use kernels::{
    Activation, AttentionOptions, Backend, DType, Epilogue, LayerNorm, Layout, Linear, LinearBlock,
    PatchGeometry, PatchTargets, Result, Rows, RowsMut, Stream, Tensor, View, WeightFormat, Write,
    intercept::{Intercept, Intercepted},
};

use super::models;
use crate::{case::Case, report::Row};

/// A mistake an implementation could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Patches flattened with the channel fastest, as targets are, instead of slowest.
    ChannelFastestPatches,
    /// Height and width of a patch exchanged.
    TransposedPatches,
    /// Frames of a video in reverse order.
    ReversedFrames,
    /// Visible tokens gathered from the wrong places.
    ShiftedVisibleTokens,
    /// Positions one token late.
    ShiftedPositions,
    /// No positions.
    DroppedPositions,
    /// q and v without their biases, as transformers 5.6 to 5.17 load them.
    DroppedQkvBias,
    /// Every other linear layer without its bias.
    DroppedBias,
    /// The weights of k and v exchanged.
    ExchangedKeyValue,
    /// Weights read as `(in, out)`.
    TransposedWeight,
    /// Scores divided by d instead of its root.
    WrongScale,
    /// Heads of half the width.
    WrongHeads,
    /// GELU by tanh instead of the error function.
    TanhGelu,
    /// No residual connection.
    DroppedResidual,
    /// Epsilon 1e-12 whatever the configuration says.
    FixedEps,
    /// The configuration's epsilon also where the library's default belongs.
    ConfiguredHeadEps,
    /// Layer norm without its weight.
    DroppedNormWeight,
    /// Layer norm without its bias.
    DroppedNormBias,
    /// The mean without the last token.
    ShortMean,
    /// Targets in the wrong order within a patch.
    ChannelSlowestTargets,
    /// Targets normalised with the biased variance.
    BiasedTargetVariance,
    /// Targets of normalised instead of plain pixels.
    NormalizedTargets,
    /// Half the loss.
    HalvedLoss,
}

impl Fault {
    /// Every fault, with the cases of `fixtures/models/` that ought to notice.
    pub const ALL: [(Self, &'static str); 23] = [
        (Self::ChannelFastestPatches, "mean-pooling"),
        (Self::TransposedPatches, "non-square-patch"),
        (Self::ReversedFrames, "mean-pooling"),
        (Self::ShiftedVisibleTokens, "masked"),
        (Self::ShiftedPositions, "mean-pooling"),
        (Self::DroppedPositions, "mean-pooling"),
        (Self::DroppedQkvBias, "mean-pooling"),
        (Self::DroppedBias, "mean-pooling"),
        (Self::ExchangedKeyValue, "mean-pooling"),
        (Self::TransposedWeight, "mean-pooling"),
        (Self::WrongScale, "mean-pooling"),
        (Self::WrongHeads, "mean-pooling"),
        (Self::TanhGelu, "mean-pooling"),
        (Self::DroppedResidual, "mean-pooling"),
        (Self::FixedEps, "eps-large"),
        (Self::ConfiguredHeadEps, "eps-large"),
        (Self::DroppedNormWeight, "first-token"),
        (Self::DroppedNormBias, "first-token"),
        (Self::ShortMean, "mean-pooling"),
        (Self::ChannelSlowestTargets, "pretraining"),
        (Self::BiasedTargetVariance, "pretraining"),
        (Self::NormalizedTargets, "pretraining-raw-pixels"),
        (Self::HalvedLoss, "one-label"),
    ];

    /// Runs a case on a backend with this mistake in it.
    ///
    /// # Errors
    /// As [`models::rows`].
    pub fn rows(self, case: &Case, backend: &Arc<dyn Backend>) -> std::result::Result<Vec<Row>, String> {
        models::rows(case, &Intercepted::around(Arc::clone(backend), Arc::new(self)))
    }
}

impl Intercept for Fault {
    fn pack_linear(
        &self,
        b: &dyn Backend,
        blocks: &[LinearBlock<'_>],
        format: WeightFormat,
    ) -> Result<Linear> {
        let fused = blocks.len() == 3;
        let square = blocks[0].weight.shape()[0] == blocks[0].weight.shape()[1];
        let mut blocks = blocks.to_vec();
        match self {
            Self::DroppedQkvBias if fused => blocks.iter_mut().for_each(|block| block.bias = None),
            Self::DroppedBias if !fused => blocks.iter_mut().for_each(|block| block.bias = None),
            Self::ExchangedKeyValue if fused => {
                let (key, value) = (blocks[1].weight, blocks[2].weight);
                (blocks[1].weight, blocks[2].weight) = (value, key);
            }
            Self::TransposedWeight if square && !fused => {
                let (n, weight) = (blocks[0].weight.shape()[0], blocks[0].weight.to_f32());
                let transposed: Vec<f32> = (0..n * n).map(|i| weight[i % n * n + i / n]).collect();
                blocks[0].weight = View::f32([n, n], &transposed)?;
                return b.pack_linear(&blocks, format);
            }
            _ => {}
        }
        b.pack_linear(&blocks, format)
    }

    fn patchify(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        geometry: PatchGeometry,
        indices: Option<&Tensor>,
        mut patches: RowsMut<'_>,
    ) -> Result<()> {
        let PatchGeometry { tubelet_size, patch_height, patch_width } = geometry;
        if *self == Self::ReversedFrames {
            let reversed = with_values(s, pixel_values, |shape, values| {
                let frame: usize = shape[2..].iter().product();
                values
                    .chunks_exact(shape[1] * frame)
                    .flat_map(|v| v.chunks_exact(frame).rev())
                    .flatten()
                    .copied()
                    .collect()
            })?;
            return s.patchify(&reversed, geometry, indices, patches);
        }
        if let (Self::ShiftedVisibleTokens, Some(list)) = (self, indices) {
            let tokens = kernels::check::patches("patchify", pixel_values, geometry)?.tokens();
            let shifted = shifted(s, list, tokens)?;
            return s.patchify(pixel_values, geometry, Some(&shifted), patches);
        }
        s.patchify(pixel_values, geometry, indices, patches.reborrow())?;
        let pixels = tubelet_size * patch_height * patch_width;
        let channels = patches.dims.width / pixels;
        match self {
            Self::ChannelFastestPatches => permute(s, patches.tensor, |row| transpose(row, channels, pixels)),
            Self::TransposedPatches => permute(s, patches.tensor, |row| {
                row.chunks_exact(patch_height * patch_width)
                    .flat_map(|p| transpose(p, patch_height, patch_width))
                    .collect()
            }),
            _ => Ok(()),
        }
    }

    fn gather_rows(
        &self,
        s: &mut dyn Stream,
        table: &Tensor,
        indices: &Tensor,
        write: Write,
        dst: RowsMut<'_>,
    ) -> Result<()> {
        match self {
            Self::ShiftedPositions => {
                let shifted = shifted(s, indices, table.shape()[0])?;
                s.gather_rows(table, &shifted, write, dst)
            }
            _ => s.gather_rows(table, indices, write, dst),
        }
    }

    fn broadcast_rows(&self, s: &mut dyn Stream, row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
        let spoilt = match self {
            Self::ShiftedPositions => with_values(s, row, |shape, values| {
                let mut values = values.to_vec();
                values.rotate_right(shape[shape.len() - 1]);
                values
            })?,
            Self::DroppedPositions => with_values(s, row, |_, values| vec![0.0; values.len()])?,
            _ => return s.broadcast_rows(row, write, dst),
        };
        s.broadcast_rows(&spoilt, write, dst)
    }

    fn linear(
        &self,
        s: &mut dyn Stream,
        x: Rows<'_>,
        linear: &Linear,
        mut epilogue: Epilogue<'_>,
        y: RowsMut<'_>,
    ) -> Result<()> {
        match self {
            Self::TanhGelu if epilogue.activation == Activation::Gelu => {
                epilogue.activation = Activation::GeluTanh
            }
            Self::DroppedResidual => epilogue.write = Write::Replace,
            _ => {}
        }
        s.linear(x, linear, epilogue, y)
    }

    fn layer_norm(
        &self,
        s: &mut dyn Stream,
        x: Rows<'_>,
        norm: &LayerNorm,
        y: RowsMut<'_>,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        let copy = |s: &mut dyn Stream, tensor: &Tensor| with_values(s, tensor, |_, values| values.to_vec());
        let mut spoilt =
            LayerNorm { weight: copy(s, &norm.weight)?, bias: copy(s, &norm.bias)?, eps: norm.eps };
        match self {
            Self::FixedEps => spoilt.eps = 1e-12,
            // The case's configuration says 0.1.
            Self::ConfiguredHeadEps => spoilt.eps = 0.1,
            Self::DroppedNormWeight => {
                spoilt.weight = with_values(s, &norm.weight, |_, v| vec![1.0; v.len()])?
            }
            Self::DroppedNormBias => spoilt.bias = with_values(s, &norm.bias, |_, v| vec![0.0; v.len()])?,
            _ => {}
        }
        s.layer_norm(x, &spoilt, y, stats)
    }

    fn attention(
        &self,
        s: &mut dyn Stream,
        qkv: &Tensor,
        options: &AttentionOptions,
        context: &mut Tensor,
        stats: Option<&mut Tensor>,
    ) -> Result<()> {
        match self {
            Self::WrongScale => {
                let options = AttentionOptions { scale: options.scale * options.scale, ..*options };
                s.attention(qkv, &options, context, stats)
            }
            Self::WrongHeads => {
                let options = AttentionOptions { num_heads: 2 * options.num_heads, ..*options };
                let mut relaid =
                    s.alloc(*qkv.shape(), DType::F32, Layout::Heads { num_heads: options.num_heads })?;
                let mut values = vec![0.0; qkv.shape().elements()];
                s.read(qkv, &mut values)?;
                s.write(&View::f32(*qkv.shape(), &values)?, &mut relaid)?;
                s.attention(&relaid, &options, context, stats)
            }
            _ => s.attention(qkv, options, context, stats),
        }
    }

    fn mean_tokens(&self, s: &mut dyn Stream, x: Rows<'_>, y: &mut Tensor) -> Result<()> {
        match self {
            Self::ShortMean => s.mean_tokens(Rows::range(x.tensor, 0..x.dims.rows - 1)?, y),
            _ => s.mean_tokens(x, y),
        }
    }

    fn patch_targets(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> Result<()> {
        let mut targets = *targets;
        if *self == Self::NormalizedTargets {
            targets.unnormalize = &[];
        }
        s.patch_targets(pixel_values, &targets, indices, labels)?;
        let PatchGeometry { tubelet_size, patch_height, patch_width } = targets.geometry;
        let pixels = tubelet_size * patch_height * patch_width;
        let channels = pixel_values.shape()[2];
        match self {
            Self::ChannelSlowestTargets => permute(s, labels, |row| transpose(row, pixels, channels)),
            Self::BiasedTargetVariance => {
                let ratio = (pixels as f32 / (pixels - 1) as f32).sqrt();
                permute(s, labels, |row| row.iter().map(|x| x * ratio).collect())
            }
            _ => Ok(()),
        }
    }

    fn loss(&self, s: &mut dyn Stream, _: &'static str, _: &Tensor, loss: &mut Tensor) -> Result<()> {
        match self {
            Self::HalvedLoss => permute(s, loss, |row| row.iter().map(|x| x / 2.0).collect()),
            _ => Ok(()),
        }
    }
}

/// A tensor like `tensor`, with what `change` makes of its sizes and elements.
fn with_values(
    s: &mut dyn Stream,
    tensor: &Tensor,
    change: impl FnOnce(&[usize], &[f32]) -> Vec<f32>,
) -> Result<Tensor> {
    let mut values = vec![0.0; tensor.shape().elements()];
    s.read(tensor, &mut values)?;
    let changed = change(tensor.shape(), &values);
    let mut copy = s.alloc(*tensor.shape(), DType::F32, Layout::Rows)?;
    s.write(&View::f32(*tensor.shape(), &changed)?, &mut copy)?;
    Ok(copy)
}

/// `indices`, each one token late.
fn shifted(s: &mut dyn Stream, indices: &Tensor, tokens: usize) -> Result<Tensor> {
    let mut values = vec![0.0; indices.shape().elements()];
    s.read(indices, &mut values)?;
    let late: Vec<i32> = values.iter().map(|&i| ((i as usize + 1) % tokens) as i32).collect();
    let mut copy = s.alloc(*indices.shape(), DType::I32, Layout::Rows)?;
    s.write(&View::i32(*indices.shape(), &late)?, &mut copy)?;
    Ok(copy)
}

/// Changes every row of a tensor in place.
fn permute(s: &mut dyn Stream, tensor: &mut Tensor, change: impl Fn(&[f32]) -> Vec<f32>) -> Result<()> {
    let shape = *tensor.shape();
    let mut values = vec![0.0; shape.elements()];
    s.read(tensor, &mut values)?;
    let changed: Vec<f32> = values.chunks_exact(shape[shape.len() - 1]).flat_map(change).collect();
    s.write(&View::f32(shape, &changed)?, tensor)
}

/// A matrix of `rows` × `columns`, transposed.
fn transpose(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| matrix[i % rows * columns + i / rows]).collect()
}
