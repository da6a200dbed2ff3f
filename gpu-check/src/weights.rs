//! Random weights of a model.

use videomae::{
    VideoMAEConfig,
    checkpoint::{Architecture, Init, TensorInfo, TensorSpec, WeightData, WeightSource},
};

use crate::check::Noise;

/// Weights under which every layer matters: matrices keep the size of what they are multiplied with, and no bias is zero.
/// Those of a model that has learnt nothing are so small that a layer left out would hardly show.
pub(crate) struct RandomWeights {
    tensors: Vec<TensorSpec>,
    seed: u64,
}

impl RandomWeights {
    /// The weights of one model.
    ///
    /// # Errors
    /// What the configuration says.
    pub(crate) fn new(
        config: &VideoMAEConfig,
        architecture: Architecture,
        seed: u64,
    ) -> videomae::Result<Self> {
        Ok(Self { tensors: architecture.tensors(config)?, seed })
    }

    fn find(&self, key: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|spec| spec.key == key)
    }
}

impl WeightSource for RandomWeights {
    fn name(&self) -> String {
        format!("random weights of seed {}", self.seed)
    }

    fn keys(&self) -> Vec<String> {
        self.tensors.iter().map(|spec| spec.key.clone()).collect()
    }

    fn info(&self, key: &str) -> videomae::Result<Option<TensorInfo>> {
        let info = |spec: &TensorSpec| TensorInfo { shape: spec.shape.clone(), dtype: kernels::DType::F32 };
        Ok(self.find(key).map(info))
    }

    fn get(&self, key: &str) -> videomae::Result<Option<WeightData<'_>>> {
        let Some(spec) = self.find(key) else { return Ok(None) };
        let mut values = Noise::new(self.seed, key).signed(spec.shape.iter().product());
        let (centre, range) = match spec.init {
            // A uniform number in ±√3 has a deviation of 1.
            Init::Normal => (0.0, (3.0 / spec.shape[1..].iter().product::<usize>() as f32).sqrt()),
            Init::Zeros => (0.0, 0.1),
            Init::Ones => (1.0, 0.1),
        };
        values.iter_mut().for_each(|x| *x = centre + range * *x);
        WeightData::f32(&spec.shape, &values).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_depends_on_its_key_and_the_seed_only() {
        let config = VideoMAEConfig {
            num_hidden_layers: 1,
            hidden_size: 24,
            num_attention_heads: 2,
            ..Default::default()
        };
        let weights = |seed| RandomWeights::new(&config, Architecture::Model, seed).unwrap();
        let values = |seed, key: &str| weights(seed).get(key).unwrap().unwrap().to_f32().unwrap();
        let key = weights(1).keys().into_iter().find(|key| key.ends_with("query.weight")).unwrap();
        assert_eq!(values(1, &key), values(1, &key));
        assert_ne!(values(1, &key), values(2, &key));
        assert_ne!(values(1, &key), values(1, &key.replace("query", "key")));
        let square: f32 = values(1, &key).iter().map(|x| x * x).sum();
        assert!((square - 24.0).abs() < 5.0, "rows of deviation 1/√24 have a squared length of 1: {square}");
    }
}
