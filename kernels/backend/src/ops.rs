//! The arguments of ops, as data.

use crate::{Activation, Tensor, WeightFormat};

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

impl Dropout {
    /// What element `index` (row-major) is multiplied by: 0 or `1 / (1 − probability)`.
    ///
    /// The element draws the `index`-th number of SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable
    /// pseudorandom number generators"), started from the mixed seed so that neighbouring seeds do not give
    /// shifted copies of one mask. Every backend draws this mask, so training can be compared between them.
    pub fn factor(&self, index: u64) -> f32 {
        // The upper 24 bits give a uniform number in [0, 1) that f32 holds exactly.
        let uniform = (self.draw(index) >> 40) as f32 / (1u32 << 24) as f32;
        if uniform >= self.probability { 1.0 / (1.0 - self.probability) } else { 0.0 }
    }

    fn draw(&self, index: u64) -> u64 {
        mix(mix(self.seed).wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA)))
    }
}

/// 2⁶⁴ divided by the golden ratio, made odd: the step of SplitMix64.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64, a bijection that spreads every input bit over all output bits.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
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
    /// That of the linear layers beside it; sums and the softmax are never less than f32.
    ///
    /// [`WeightFormat::F32`] leaves everything as it is. bf16 and f16 are what queries, keys, values and probabilities may
    /// be rounded to before they are multiplied, where that makes a backend faster. In int8 queries and keys become
    /// integers from −127 to 127 times a scale for each vector, once the mean of the keys of a head is taken from each,
    /// which changes no probability (Zhang et al. 2024, "SageAttention", arXiv:2410.02367); probabilities, which are many small
    /// numbers and a few large ones, and values may be rounded to bf16.
    pub precision: WeightFormat,
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

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = if cfg!(miri) { 1_000 } else { 100_000 };

    /// Six standard deviations of the mean of `DRAWS` numbers of variance `variance`.
    fn six_sigma(variance: f64) -> f64 {
        6.0 * (variance / DRAWS as f64).sqrt()
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // A seed that mixes to itself leaves the published sequence: 0 is the fixed point of the mix, and the
        // first two numbers from 0 are those of the authors' C code.
        let zero = Dropout { probability: 0.5, seed: 0 };
        assert_eq!(zero.draw(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(zero.draw(1), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn the_dropped_fraction_is_the_probability_and_the_mean_stays_one() {
        for probability in [0.0f32, 0.1, 0.5, 0.9] {
            let dropout = Dropout { probability, seed: 7 };
            let factors: Vec<f32> = (0..DRAWS).map(|i| dropout.factor(i)).collect();
            let p = f64::from(probability);
            let dropped = factors.iter().filter(|&&f| f == 0.0).count() as f64 / DRAWS as f64;
            assert!((dropped - p).abs() <= six_sigma(p * (1.0 - p)), "{probability}: {dropped} dropped");
            let mean = factors.iter().map(|&f| f64::from(f)).sum::<f64>() / DRAWS as f64;
            // A kept element is 1/(1 − p), so the variance of the factor is p/(1 − p).
            assert!((mean - 1.0).abs() <= six_sigma(p / (1.0 - p)), "{probability}: mean {mean}");
        }
    }

    #[test]
    fn masks_of_neighbouring_seeds_are_independent_also_when_shifted() {
        let mask = |seed, shift| {
            let dropout = Dropout { probability: 0.5, seed };
            (0..DRAWS).map(move |i| dropout.factor(i + shift) > 0.0)
        };
        for (seed, shift) in [(8, 1), (9, 0), (7, 0), (7u64.wrapping_add(GOLDEN_GAMMA), 0)] {
            let equal = mask(7, 1).zip(mask(seed, shift)).filter(|(a, b)| a == b).count();
            let fraction = equal as f64 / DRAWS as f64;
            assert!((fraction - 0.5).abs() <= six_sigma(0.25), "seed {seed}: {fraction} equal");
        }
    }
}
