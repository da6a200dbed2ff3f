//! Weights of a model that has learnt nothing.

use std::collections::BTreeMap;

use kernels_backend::DType;

use super::{Architecture, Init, TensorInfo, TensorSpec, WeightData, WeightSource};
use crate::{Result, VideoMAEConfig};

/// A source that draws every tensor of a model from a seed, when it is asked for.
///
/// Matrices are normal with standard deviation `initializer_range`, biases and the mask token zero, norms one
/// and zero, as the reference initialises them (its random numbers are others). A tensor depends on nothing but
/// the seed, its key and its shape, so the encoders of two architectures from one seed are equal.
#[derive(Clone, Debug)]
pub struct FreshWeights {
    tensors: BTreeMap<String, TensorSpec>,
    deviation: f64,
    seed: u64,
}

impl FreshWeights {
    /// The weights of one model.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when no such model can be built.
    pub fn new(config: &VideoMAEConfig, architecture: Architecture, seed: u64) -> Result<Self> {
        let tensors =
            architecture.tensors(config)?.into_iter().map(|spec| (spec.key.clone(), spec)).collect();
        Ok(Self { tensors, deviation: config.initializer_range, seed })
    }
}

impl WeightSource for FreshWeights {
    fn name(&self) -> String {
        format!("fresh weights of seed {}", self.seed)
    }

    fn keys(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        Ok(self.tensors.get(key).map(|spec| TensorInfo { shape: spec.shape.clone(), dtype: DType::F32 }))
    }

    fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        self.tensors.get(key).map(|spec| draw(spec, self.deviation, self.seed)).transpose()
    }
}

/// One fresh tensor.
pub(super) fn draw(spec: &TensorSpec, deviation: f64, seed: u64) -> Result<WeightData<'static>> {
    let count = spec.shape.iter().product();
    let values = match spec.init {
        Init::Zeros => vec![0.0; count],
        Init::Ones => vec![1.0; count],
        Init::Normal => normal(count, deviation, mix(seed ^ hash(&spec.key))),
    };
    WeightData::f32(&spec.shape, &values)
}

/// Normal numbers by pairs (Box and Muller, 1958), from SplitMix64 in counter mode (Steele, Lea and Flood, 2014).
fn normal(count: usize, deviation: f64, seed: u64) -> Vec<f32> {
    /// 2⁶⁴ divided by the golden ratio, made odd: the generator's step.
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = seed;
    // 53 random bits, moved half a step off zero, whose logarithm is infinite.
    let mut uniform = || {
        state = state.wrapping_add(GAMMA);
        ((mix(state) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = deviation * (-2.0 * libm::log(uniform())).sqrt();
        let (sin, cos) = libm::sincos(2.0 * std::f64::consts::PI * uniform());
        values.extend([(radius * cos) as f32, (radius * sin) as f32]);
    }
    values.truncate(count);
    values
}

/// The output function of SplitMix64.
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a: gives every key a stream of its own.
fn hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_the_asked_moments() {
        let count = 100_000;
        let values = normal(count, 0.02, 7);
        let n = count as f64;
        let moment = |power: i32| values.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / n;
        let sigma = 0.02f64;
        // Five standard errors of each estimate.
        assert!(moment(1).abs() < 5.0 * sigma / n.sqrt());
        assert!((moment(2) / sigma.powi(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
        assert!((moment(4) / sigma.powi(4) - 3.0).abs() < 5.0 * (96.0 / n).sqrt());
    }

    #[test]
    fn tensors_differ_by_seed_and_key_and_repeat_exactly() {
        let config = VideoMAEConfig { hidden_size: 24, num_hidden_layers: 2, ..VideoMAEConfig::base() };
        let fresh = |seed| FreshWeights::new(&config, Architecture::Model, seed).unwrap();
        let key = |layer| format!("videomae.encoder.layer.{layer}.attention.attention.query.weight");
        let (a, b) = (fresh(1), fresh(2));
        assert_eq!(a.get(&key(0)).unwrap(), fresh(1).get(&key(0)).unwrap());
        assert_ne!(a.get(&key(0)).unwrap(), b.get(&key(0)).unwrap());
        assert_ne!(a.get(&key(0)).unwrap(), a.get(&key(1)).unwrap());
    }
}
