//! What a set of tensors is: which layout, which model, of which sizes.

use std::collections::BTreeMap;

use super::{
    Architecture, OriginalWeights, TensorInfo, WeightData, WeightSource,
    keys::{canonical, is_inert},
};
use crate::{
    ConfigOverrides, Error, Result, VideoMAEConfig,
    config::infer::{self, Shapes},
};

/// Who named the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Transformers, in any dialect.
    Transformers,
    /// The authors of VideoMAE V1 and V2.
    Original,
}

/// A source of weights in any layout, with the configuration and the model they belong to.
pub struct Recognized<'s> {
    /// Who named the tensors.
    pub layout: Layout,
    /// The configuration: what was given, else what shapes tell.
    pub config: VideoMAEConfig,
    /// The model that all of it is.
    pub architecture: Architecture,
    /// What shapes do not tell and nobody gave, in words.
    pub assumed: Vec<String>,
    weights: Weights<'s>,
}

enum Weights<'s> {
    AsTheyAre(&'s dyn WeightSource),
    Original(OriginalWeights<'s>),
}

impl<'s> Recognized<'s> {
    /// Finds out what `source` holds.
    ///
    /// `config` is that of its `config.json`, if it has one; `overrides` come before it. `head_rows` selects classes
    /// of an original checkpoint, as in [`OriginalWeights::new`].
    ///
    /// # Errors
    /// [`Error::Tensor`] for what no model here can hold; [`Error::Config`] where a number is needed that neither
    /// shapes nor options tell.
    pub fn new(
        source: &'s dyn WeightSource,
        config: Option<VideoMAEConfig>,
        overrides: &ConfigOverrides,
        head_rows: Option<&[usize]>,
    ) -> Result<Self> {
        let original = OriginalWeights::recognises(source);
        if head_rows.is_some() && !original {
            let expected = "a checkpoint in the original layout to select rows of";
            return Err(Error::input("head_rows", expected, "one of transformers"));
        }
        let (layout, weights) = match original {
            true => (Layout::Original, Weights::Original(OriginalWeights::new(source, head_rows)?)),
            false => (Layout::Transformers, Weights::AsTheyAre(source)),
        };
        let shapes = shapes(weights.source())?;
        let (config, assumed) = match config {
            Some(mut config) => {
                overrides.apply(&mut config);
                config.validate()?;
                (config, Vec::new())
            }
            None => infer::infer(&source.name(), &shapes, original, overrides)?,
        };
        let architecture = architecture(&config, &shapes);
        Ok(Self { layout, config, architecture, assumed, weights })
    }

    /// The weights, under the names of transformers.
    pub fn weights(&self) -> &dyn WeightSource {
        self.weights.source()
    }
}

impl Weights<'_> {
    fn source(&self) -> &dyn WeightSource {
        match self {
            Weights::AsTheyAre(source) => *source,
            Weights::Original(original) => original,
        }
    }
}

/// The class that the configuration names, if there is just one and we have it, else what the tensors look like.
fn architecture(config: &VideoMAEConfig, shapes: &Shapes) -> Architecture {
    let named = match config.architectures.as_slice() {
        [name] => Architecture::ALL.into_iter().find(|known| known.class_name() == name),
        _ => None,
    };
    named.unwrap_or_else(|| infer::architecture(shapes))
}

/// The shapes under canonical keys. Tensors of types that no weight has are left out: they are nobody's weights.
fn shapes(source: &dyn WeightSource) -> Result<Shapes> {
    let mut shapes = BTreeMap::new();
    for stored in source.keys() {
        let key = canonical(&stored);
        if is_inert(&key) {
            continue;
        }
        match source.info(&stored) {
            Ok(Some(TensorInfo { shape, .. })) => drop(shapes.insert(key, shape)),
            Ok(None) | Err(Error::Tensor { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(shapes)
}

impl WeightSource for Recognized<'_> {
    fn name(&self) -> String {
        self.weights().name()
    }

    fn keys(&self) -> Vec<String> {
        self.weights().keys()
    }

    fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        self.weights().info(key)
    }

    fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        self.weights().get(key)
    }

    fn release(&self, data: &WeightData<'_>) {
        self.weights().release(data);
    }

    fn stored_name(&self, key: &str) -> String {
        self.weights().stored_name(key)
    }
}
