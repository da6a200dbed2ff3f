//! Numbers from a counter-based hash, the same bits here and in Python (`fixtures/README.md`).

use std::borrow::Cow;

use kernels::DType;
use videomae::{
    VideoMAEConfig,
    checkpoint::{Architecture, TensorInfo, WeightData, WeightSource},
};

/// 64 bits of FNV-1a.
pub fn fnv1a64(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// The `i`-th word of `key`: splitmix64's finaliser over a counter.
pub fn word(key: u64, i: u64) -> u64 {
    let z = key.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The first `count` values of `key`: `offset + scale · u` with u uniform in [−1, 1), rounded after each step.
pub fn values(key: &str, count: usize, offset: f32, scale: f32) -> Vec<f32> {
    let key = fnv1a64(key);
    let u = |i| ((word(key, i) >> 40) as i32 - (1 << 23)) as f32 * (1.0 / (1 << 23) as f32);
    (0..count as u64).map(|i| offset + scale * u(i)).collect()
}

/// `pixel_values` of any number of elements.
pub fn pixel_values(count: usize) -> Vec<f32> {
    values("pixel_values", count, 0.0, 2.0)
}

/// The weights of any configuration, made when asked for.
pub struct HashedWeights {
    tensors: Vec<(String, Vec<usize>)>,
    dtype: DType,
}

impl HashedWeights {
    /// The tensors that `architecture` has on disk, in precision `dtype`.
    ///
    /// # Errors
    /// What the configuration says of its decoder.
    pub fn new(config: &VideoMAEConfig, architecture: Architecture, dtype: DType) -> videomae::Result<Self> {
        let bare = architecture == Architecture::Model;
        let tensors = architecture.tensors(config)?.into_iter();
        Ok(Self { tensors: tensors.map(|t| (stored_key(&t.key, bare), t.shape)).collect(), dtype })
    }
}

/// The key in a file that `save_pretrained` writes, which is what is hashed.
pub fn stored_key(canonical: &str, bare: bool) -> String {
    let key = canonical
        .replace(".attention.attention.query.bias", ".attention.attention.q_bias")
        .replace(".attention.attention.value.bias", ".attention.attention.v_bias");
    if bare { key.trim_start_matches("videomae.").to_owned() } else { key }
}

/// The table of offsets and scales in `fixtures/README.md`.
fn offset_and_scale(key: &str, shape: &[usize]) -> (f32, f32) {
    match shape {
        _ if key == "mask_token" => (0.0, 1.0),
        [_] if key.ends_with(".weight") => (1.0, 0.25),
        [_] => (0.0, 0.25),
        _ => (0.0, (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt() as f32),
    }
}

/// The values of the tensor `key` of a checkpoint.
pub fn weight(key: &str, shape: &[usize]) -> Vec<f32> {
    let (offset, scale) = offset_and_scale(key, shape);
    values(key, shape.iter().product(), offset, scale)
}

/// A mask `(batch, tokens)` in which `masked` tokens of every sample are masked: those with the smallest words.
pub fn random_mask(batch: usize, tokens: usize, masked: usize) -> Vec<bool> {
    let key = fnv1a64("bool_masked_pos");
    let mut mask = vec![false; batch * tokens];
    for sample in 0..batch {
        let mut order: Vec<usize> = (sample * tokens..(sample + 1) * tokens).collect();
        order.sort_by_key(|&i| word(key, i as u64));
        order[..masked].iter().for_each(|&i| mask[i] = true);
    }
    mask
}

/// As [`random_mask`] over the `positions` of one tubelet, repeated in each of `tubelets`.
pub fn tube_mask(batch: usize, tubelets: usize, positions: usize, masked: usize) -> Vec<bool> {
    random_mask(batch, positions, masked)
        .chunks_exact(positions)
        .flat_map(|row| row.repeat(tubelets))
        .collect()
}

impl WeightSource for HashedWeights {
    fn name(&self) -> String {
        "hashed weights".to_owned()
    }

    fn keys(&self) -> Vec<String> {
        self.tensors.iter().map(|(key, _)| key.clone()).collect()
    }

    fn info(&self, key: &str) -> videomae::Result<Option<TensorInfo>> {
        let found = self.tensors.iter().find(|(known, _)| known == key);
        Ok(found.map(|(_, shape)| TensorInfo { shape: shape.clone(), dtype: self.dtype }))
    }

    fn get(&self, key: &str) -> videomae::Result<Option<WeightData<'_>>> {
        let Some((_, shape)) = self.tensors.iter().find(|(known, _)| known == key) else { return Ok(None) };
        let values = weight(key, shape);
        let bytes: Vec<u8> = match self.dtype {
            DType::Bf16 => values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            DType::F16 => values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        WeightData::new(shape, self.dtype, Cow::Owned(bytes)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_splitmix64() {
        // The first output of splitmix64 seeded with 0 is its finaliser at one golden ratio.
        assert_eq!(word(0, 1), 0xE220_A839_7B1D_CDAF);
        assert_eq!(fnv1a64("a"), 0xAF63_DC4C_8601_EC8C);
    }

    #[test]
    fn values_stay_in_their_range() {
        let drawn = values("some.weight", 10_000, 1.0, 0.25);
        assert!(drawn.iter().all(|x| (0.75..1.25).contains(x)));
        let mean: f32 = drawn.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 1.0).abs() < 0.01, "mean {mean}");
    }
}
