//! From a source of tensors to a model, with nothing missing and nothing silent.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
};

use kernels_backend::{DType, WeightFormat};

use super::{
    Architecture, LoadReport, Mismatch, Part, TensorSpec, WeightData, WeightSource, fresh,
    keys::{canonical, is_inert},
};
use crate::{Error, Result, VideoMAEConfig};

/// What a load may do when the source does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Draw what the source lacks after the encoder's layers (norms, classifier, decoder), as to fine-tune a
    /// pre-trained encoder. Otherwise, and always for the encoder, a missing tensor is an error.
    pub fresh_head: bool,
    /// Also draw what has another shape there, as for another number of classes.
    pub ignore_mismatched_sizes: bool,
    /// Seeds what is drawn.
    pub seed: u64,
    /// The precision of linear layers, whatever types the source has, where the backend has it. The backend chooses the
    /// element type of activations that suits it. Biases, norms, the mask token, position tables and the loss stay f32,
    /// since they take next to no memory, and sums inside ops are f32 or better. In int8, the projection of patches
    /// and what follows the layers stay f32. Only a model in f32 can be trained.
    pub format: WeightFormat,
}

impl Default for LoadOptions {
    /// Everything must be there, in single precision.
    fn default() -> Self {
        Self { fresh_head: false, ignore_mismatched_sizes: false, seed: 0, format: WeightFormat::F32 }
    }
}

/// Hands the tensors of a source to a model under construction.
///
/// [`WeightLoader::new`] compares the source with the whole list of what the model needs and refuses with one
/// report of everything wrong, before any weight is read. Model code then asks for its tensors by nested scope:
///
/// ```
/// use videomae::{VideoMAEConfig, checkpoint::{Architecture, FreshWeights, LoadOptions, WeightLoader}};
///
/// let config = VideoMAEConfig { hidden_size: 24, num_hidden_layers: 1, ..VideoMAEConfig::base() };
/// let source = FreshWeights::new(&config, Architecture::Model, 0)?;
/// let loader = WeightLoader::new(&source, &config, Architecture::Model, LoadOptions::default())?;
///
/// let layer = loader.root().sub("videomae.encoder.layer").index(0);
/// let query = layer.sub("attention.attention.query").tensor("weight", &[24, 24])?;
/// assert_eq!(query.view()?.shape()[..], [24, 24]);
/// # Ok::<(), videomae::Error>(())
/// ```
///
/// and [`WeightLoader::finish`] makes sure that none was forgotten.
pub struct WeightLoader<'s> {
    source: &'s dyn WeightSource,
    planned: BTreeMap<String, Planned>,
    deviation: f64,
    seed: u64,
    report: RefCell<LoadReport>,
}

/// A tensor the model needs.
struct Planned {
    spec: TensorSpec,
    /// The source's key; `None` draws it afresh.
    stored: Option<String>,
    taken: Cell<bool>,
}

impl<'s> WeightLoader<'s> {
    /// Compares `source` with what `architecture` needs.
    ///
    /// # Errors
    /// [`Error::Load`] with everything missing or mismatched; [`Error::Tensor`] when two dialects of one tensor
    /// disagree; [`Error::Config`] when no model can be built from `config`.
    pub fn new(
        source: &'s dyn WeightSource,
        config: &VideoMAEConfig,
        architecture: Architecture,
        options: LoadOptions,
    ) -> Result<Self> {
        let specs = architecture.tensors(config)?;
        let mut report = LoadReport {
            source: source.name(),
            architecture: architecture.class_name().to_owned(),
            ..LoadReport::default()
        };
        let mut available = reconcile(source, &mut report)?;
        let mut planned = BTreeMap::new();
        for spec in specs {
            let stored = available.remove(&spec.key);
            let stored = settle(source, &spec, stored, options, &mut report)?;
            planned.insert(spec.key.clone(), Planned { spec, stored, taken: Cell::new(false) });
        }
        classify_rest(available, &mut report);
        if report.is_error() {
            return Err(Error::Load(Box::new(report)));
        }
        let (deviation, seed) = (config.initializer_range, options.seed);
        Ok(Self { source, planned, deviation, seed, report: RefCell::new(report) })
    }

    /// The scope of full keys.
    pub fn root(&self) -> Scope<'_> {
        Scope { loader: self, path: String::new() }
    }

    /// What the comparison found, before any weight is read: nothing is known to be zero yet.
    pub fn report(&self) -> LoadReport {
        self.report.borrow().clone()
    }

    /// The report, once the model has taken every tensor.
    ///
    /// # Errors
    /// [`Error::Tensor`] when it has not, which is a fault of the model's code and not of the source.
    pub fn finish(self) -> Result<LoadReport> {
        let source = self.source.name();
        match self.planned.into_values().find(|planned| !planned.taken.get()) {
            Some(forgotten) => Err(Error::Tensor {
                file: source,
                tensor: forgotten.spec.key,
                expected: "to be part of the model".to_owned(),
                found: "that no layer asked for it".to_owned(),
            }),
            None => Ok(self.report.into_inner()),
        }
    }

    /// The element type in which a planned tensor will come.
    pub(super) fn dtype(&self, key: &str) -> Result<DType> {
        let stored = self.planned.get(key).and_then(|planned| planned.stored.as_deref());
        let info = stored.map_or(Ok(None), |stored| self.source.info(stored))?;
        Ok(info.map_or(DType::F32, |info| info.dtype))
    }

    fn take(&self, key: &str, shape: &[usize]) -> Result<WeightData<'_>> {
        let wrong = |expected: String, found: String| Error::Tensor {
            file: self.source.name(),
            tensor: key.to_owned(),
            expected,
            found,
        };
        let Some(planned) = self.planned.get(key) else {
            return Err(wrong("a tensor of this architecture".to_owned(), "one of another".to_owned()));
        };
        let spec = &planned.spec;
        if spec.shape != shape {
            return Err(wrong(
                format!("shape {:?}", spec.shape),
                format!("that a layer asked for {shape:?}"),
            ));
        }
        planned.taken.set(true);
        let Some(stored) = &planned.stored else {
            return fresh::draw(spec, self.deviation, self.seed);
        };
        let found = self.source.get(stored)?;
        let Some(data) = found.filter(|data| data.shape() == shape) else {
            return Err(wrong(
                format!("shape {shape:?}"),
                "that the source changed while it was read".to_owned(),
            ));
        };
        if data.is_all_zero() {
            self.report.borrow_mut().all_zero.push(key.to_owned());
        }
        Ok(data)
    }
}

/// A place in the tree of keys.
#[derive(Clone)]
pub struct Scope<'l> {
    loader: &'l WeightLoader<'l>,
    path: String,
}

impl<'l> Scope<'l> {
    /// One or more steps down: `sub("attention.output")`.
    #[must_use]
    pub fn sub(&self, name: &str) -> Self {
        Self { loader: self.loader, path: self.key(name) }
    }

    /// One step down, into a list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.sub(&index.to_string())
    }

    /// The tensor `name` here.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the source cannot give it, or when it is not part of the architecture in this shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<WeightData<'l>> {
        self.loader.take(&self.key(name), shape)
    }

    /// Says that a tensor is packed; see [`WeightSource::release`].
    pub(crate) fn release(&self, data: &WeightData<'_>) {
        self.loader.source.release(data);
    }

    /// Whether the architecture and config have a tensor `name` here.
    pub fn has(&self, name: &str) -> bool {
        self.loader.planned.contains_key(&self.key(name))
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// Canonical key to stored key. Two stored names of one tensor must agree in every bit.
fn reconcile(source: &dyn WeightSource, report: &mut LoadReport) -> Result<HashMap<String, String>> {
    let mut available: HashMap<String, String> = HashMap::new();
    let mut stored_keys = source.keys();
    stored_keys.sort_unstable();
    for stored in stored_keys {
        let key = canonical(&stored);
        if is_inert(&key) {
            report.ignored.push(stored);
            continue;
        }
        let Some(first) = available.get(&key) else {
            available.insert(key, stored);
            continue;
        };
        if source.get(first)? != source.get(&stored)? {
            return Err(Error::Tensor {
                file: source.name(),
                tensor: stored,
                expected: format!("the same content as {first}, another name of it"),
                found: "other content".to_owned(),
            });
        }
    }
    Ok(available)
}

/// Decides where one tensor comes from, and records why. `None` draws it afresh, or is an error in the report.
fn settle(
    source: &dyn WeightSource,
    spec: &TensorSpec,
    stored: Option<String>,
    options: LoadOptions,
    report: &mut LoadReport,
) -> Result<Option<String>> {
    let is_head = spec.part == Part::Head;
    let found = match &stored {
        Some(stored) => source.info(stored)?.map(|info| info.shape),
        None => None,
    };
    match found {
        Some(found) if found == spec.shape => {
            report.loaded += 1;
            return Ok(stored);
        }
        Some(found) => {
            let replaced = is_head && options.ignore_mismatched_sizes;
            let (key, expected) = (spec.key.clone(), spec.shape.clone());
            report.mismatched.push(Mismatch { key, expected, found, replaced });
            if replaced {
                report.fresh.push(spec.key.clone());
            }
        }
        None if is_head && options.fresh_head => report.fresh.push(spec.key.clone()),
        None => report.missing.push(spec.key.clone()),
    }
    Ok(None)
}

/// Sorts what the model does not need into parts of other models and strangers.
fn classify_rest(rest: HashMap<String, String>, report: &mut LoadReport) {
    const HEADS: [&str; 6] =
        ["decoder.", "encoder_to_decoder.", "mask_token", "fc_norm.", "classifier.", "videomae.layernorm."];
    let mut rest: Vec<_> = rest.into_iter().collect();
    rest.sort_unstable();
    for (key, stored) in rest {
        match HEADS.iter().any(|head| key.starts_with(head)) {
            true => report.unused.push(stored),
            false => report.unexpected.push(stored),
        }
    }
}
