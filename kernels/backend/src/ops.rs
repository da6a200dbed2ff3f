//! The arguments of ops, as data.

use crate::{Activation, Tensor};

/// What happens to what the destination already holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Write {
    /// It is overwritten.
    #[default]
    Replace,
    /// The result is added to it.
    Accumulate,
}

/// What a linear layer does with a product before it reaches memory: `y = [y +] activation(x·Wᵀ + b)`.
#[derive(Debug, Default)]
pub struct Epilogue<'a> {
    /// Applied after the bias.
    pub activation: Activation,
    /// `Accumulate` is the residual connection.
    pub write: Write,
    /// Also keeps `x·Wᵀ + b`, which the activation's backward needs.
    pub pre_activation: Option<&'a mut Tensor>,
}

impl Epilogue<'_> {
    /// `y = x·Wᵀ + b`.
    pub fn none() -> Self {
        Self::default()
    }

    /// `y += x·Wᵀ + b`.
    pub fn accumulate() -> Self {
        Self { write: Write::Accumulate, ..Self::default() }
    }

    /// `y = activation(x·Wᵀ + b)`.
    pub fn activation(activation: Activation) -> Self {
        Self { activation, ..Self::default() }
    }
}

/// The affine part and the epsilon of a layer norm: `y = (x − mean) / sqrt(var + eps) · weight + bias`,
/// with the biased variance over the row.
#[derive(Debug)]
pub struct LayerNorm {
    /// `(D)`, f32.
    pub weight: Tensor,
    /// `(D)`, f32.
    pub bias: Tensor,
    /// Added to the variance. 1e-12, 1e-6 and 1e-5 all occur within one model family.
    pub eps: f32,
}

/// Inverted dropout with a mask that is a pure function of `seed` and the element's index, so that backward
/// draws the same mask again instead of storing it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability of a zero, in `[0, 1)`. Kept elements are divided by `1 − probability`.
    pub probability: f32,
    /// Differs for every use within a step and for every step.
    pub seed: u64,
}

/// Scaled dot-product attention over all tokens, without a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// h; the width D of the context is `h · head_dim`.
    pub num_heads: usize,
    /// Multiplies `q·kᵀ` before the softmax, usually `head_dim^-0.5`.
    pub scale: f32,
    /// Applied to the probabilities; training only.
    pub dropout: Option<Dropout>,
}

/// How a video is cut into patches ("tubelets" when more than one frame is taken together).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchGeometry {
    /// Frames of a patch.
    pub tubelet_size: usize,
    /// Pixel rows of a patch.
    pub patch_height: usize,
    /// Pixel columns of a patch.
    pub patch_width: usize,
}

/// How pixels become regression targets (VideoMAE, section 3.1; `VideoMAEForPreTraining.forward`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatchTargets<'a> {
    /// How the video is cut.
    pub geometry: PatchGeometry,
    /// `(mean, std)` per channel that turn normalised pixels back: `pixel · std + mean`. Empty: keep as is.
    pub unnormalize: &'a [(f32, f32)],
    /// Whether each channel of each patch is brought to mean 0 and variance 1:
    /// `(x − mean) / (sqrt(unbiased variance) + 1e-6)`.
    pub normalize: bool,
}
