//! The checkpoint doctor: what every tensor is, holds and lacks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Architecture, LoadOptions, Mismatch, Recognized, WeightData, WeightLoader, WeightSource,
    keys::{canonical, is_inert},
    recognize::Layout,
};
use crate::{Error, Result};

/// Everything [`inspect`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The class of transformers that all of it is.
    pub architecture: String,
    /// Who named the tensors, and how, in words.
    pub dialect: Vec<String>,
    /// Every tensor of the file, by its place in the model.
    pub tensors: Vec<TensorFacts>,
    /// Places that the model has and the file does not fill.
    pub missing: Vec<String>,
    /// Tensors of another shape than the configuration asks for.
    pub mismatched: Vec<Mismatch>,
    /// Tensors that have no place in any VideoMAE, or not in this one.
    pub extra: Vec<String>,
    /// What the checkpoint can be used for.
    pub uses: Vec<Use>,
    /// What is wrong, in words. Without any, the checkpoint is sound.
    pub problems: Vec<String>,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TensorFacts {
    /// Its place in the model.
    pub key: String,
    /// What the file calls it.
    pub name: String,
    /// The type of its elements; `None` for one that no weight has.
    pub dtype: Option<String>,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// The mean over finite elements.
    pub mean: Option<f64>,
    /// Their standard deviation, with n in the denominator.
    pub std: Option<f64>,
    /// Whether every element is zero.
    pub all_zero: bool,
    /// How many elements are not a number.
    pub nan: usize,
    /// How many are infinite.
    pub infinite: usize,
    /// Why it cannot be read, if it cannot.
    pub unreadable: Option<String>,
}

/// One thing to do with a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// `classify`, `embed` or `reconstruct`.
    pub command: &'static str,
    /// Whether it can be done.
    pub possible: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// Reads every tensor of a checkpoint and compares all of it with the model that it says it is.
///
/// # Errors
/// [`Error::Config`] when no model can be built from the configuration; [`Error::Tensor`] when two dialects of one
/// tensor disagree; [`Error::Io`].
pub fn inspect(recognized: &Recognized<'_>) -> Result<Inspection> {
    let mut tensors = Vec::new();
    for name in recognized.keys() {
        tensors.push(facts(recognized, &name)?);
    }
    tensors.sort_by_cached_key(|facts| natural(&facts.key));
    let report = match loader(recognized, recognized.architecture) {
        Ok(loader) => loader.report(),
        Err(Error::Load(report)) => *report,
        Err(other) => return Err(other),
    };
    let mut problems = Vec::new();
    if report.is_error() {
        problems.push(report.to_string());
    }
    problems.extend(tensors.iter().filter_map(damage));
    problems.extend(lost_biases(&tensors));
    let extra = report.unexpected.iter().chain(&report.unused).chain(&report.ignored).cloned().collect();
    Ok(Inspection {
        architecture: recognized.architecture.class_name().to_owned(),
        dialect: dialect(recognized, &tensors),
        tensors,
        missing: report.missing,
        mismatched: report.mismatched,
        extra,
        uses: uses(recognized),
        problems,
    })
}

fn loader<'r>(recognized: &'r Recognized<'_>, architecture: Architecture) -> Result<WeightLoader<'r>> {
    WeightLoader::new(recognized.weights(), &recognized.config, architecture, LoadOptions::default())
}

fn facts(source: &dyn WeightSource, name: &str) -> Result<TensorFacts> {
    let mut facts = TensorFacts {
        key: canonical(name),
        name: source.stored_name(name),
        dtype: None,
        shape: Vec::new(),
        mean: None,
        std: None,
        all_zero: false,
        nan: 0,
        infinite: 0,
        unreadable: None,
    };
    let data = match source.get(name) {
        Ok(Some(data)) => data,
        Ok(None) => return Ok(facts),
        // A step counter in integers is no fault of the weights.
        Err(Error::Tensor { expected, found, .. }) => {
            facts.unreadable = Some(format!("expected {expected}, found {found}"));
            return Ok(facts);
        }
        Err(other) => return Err(other),
    };
    facts.dtype = Some(data.dtype().to_string());
    data.shape().clone_into(&mut facts.shape);
    measure(&mut facts, &data)?;
    Ok(facts)
}

/// Mean and deviation in two passes, since their squares would cancel where the mean is large.
fn measure(facts: &mut TensorFacts, data: &WeightData<'_>) -> Result<()> {
    let values = data.to_f32()?;
    facts.nan = values.iter().filter(|x| x.is_nan()).count();
    facts.infinite = values.iter().filter(|x| x.is_infinite()).count();
    facts.all_zero = data.is_all_zero();
    let count = values.len() - facts.nan - facts.infinite;
    if count > 0 {
        let finite = || values.iter().filter(|x| x.is_finite()).map(|&x| f64::from(x));
        let mean = finite().sum::<f64>() / count as f64;
        let variance = finite().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count as f64;
        (facts.mean, facts.std) = (Some(mean), Some(variance.sqrt()));
    }
    Ok(())
}

fn damage(facts: &TensorFacts) -> Option<String> {
    let TensorFacts { key, nan, infinite, .. } = facts;
    if nan + infinite > 0 {
        return Some(format!("{key}: {nan} elements are not a number and {infinite} are infinite"));
    }
    // A bias may be zero, and the position of a norm; a matrix that is forgets its input.
    let is_matrix = facts.shape.len() > 1 && key.ends_with(".weight");
    (facts.all_zero && is_matrix).then(|| format!("{key}: every element is zero"))
}

/// Transformers 5.6 to 5.17 read the biases of queries and values as zeros. In a model that has learnt other
/// biases, zeros there are what it saved afterwards.
fn lost_biases(tensors: &[TensorFacts]) -> Option<String> {
    let is = |facts: &&TensorFacts, ends: &[&str]| ends.iter().any(|end| facts.key.ends_with(end));
    let mut attention = tensors
        .iter()
        .filter(|facts| is(facts, &[".attention.query.bias", ".attention.value.bias"]))
        .peekable();
    attention.peek()?;
    let learnt = tensors.iter().any(|facts| is(&facts, &[".output.dense.bias"]) && !facts.all_zero);
    let lost = learnt && attention.all(|facts| facts.all_zero);
    lost.then(|| {
        "the biases of all queries and values are zero, and others are not: transformers 5.6 to 5.17 lose them, and \
         the file has to be made again from the one before"
            .to_owned()
    })
}

fn dialect(recognized: &Recognized<'_>, tensors: &[TensorFacts]) -> Vec<String> {
    let stored: Vec<&str> = tensors.iter().map(|facts| facts.name.as_str()).collect();
    let any = |what: &str| stored.iter().any(|name| name.contains(what));
    let mut found = Vec::new();
    let mut note = |is_so: bool, what: &str| {
        if is_so {
            found.push(what.to_owned());
        }
    };
    if recognized.layout == Layout::Original {
        note(true, "the original authors' names");
        note(any("attn.qkv."), "fused qkv");
        note(any("_orig_mod."), "prefix _orig_mod. of a compiled module");
        for prefix in ["module.", "model.", "backbone.", "encoder."] {
            let is_prefix = stored.iter().any(|name| name.starts_with(prefix));
            note(is_prefix, &format!("prefix {prefix}"));
        }
        return found;
    }
    note(true, "the names of transformers");
    let prefixed = stored.iter().any(|name| name.starts_with("videomae."));
    note(!prefixed, "without the prefix videomae.");
    let keys = tensors.iter().any(|facts| is_inert(&facts.key));
    note(any(".q_bias"), "q_bias and v_bias, as written by transformers 4, 5.0 to 5.5 and 5.18 and later");
    note(
        any(".query.bias") && keys,
        "query.bias, key.bias and value.bias, as written by transformers 5.6 to 5.17",
    );
    note(
        any(".query.bias") && !keys,
        "query.bias and value.bias, as transformers 5.18 and later have in memory",
    );
    found
}

fn uses(recognized: &Recognized<'_>) -> Vec<Use> {
    let kinds = [
        ("classify", Architecture::VideoClassification),
        ("embed", Architecture::Model),
        ("reconstruct", Architecture::PreTraining),
    ];
    let mut uses = Vec::new();
    for (command, architecture) in kinds {
        let reason = match loader(recognized, architecture) {
            Ok(_) if command == "classify" && recognized.config.num_labels() == 0 => {
                Some("it has no classifier".to_owned())
            }
            Ok(_) => None,
            Err(Error::Load(report)) => Some(lacking(&report.missing, report.mismatched.len())),
            Err(other) => Some(other.to_string()),
        };
        uses.push(Use { command, possible: reason.is_none(), reason });
    }
    uses
}

/// The reason in a few words: whole parts first.
fn lacking(missing: &[String], mismatched: usize) -> String {
    for (part, key) in [("classifier", "classifier.weight"), ("decoder", "decoder.head.weight")] {
        if missing.iter().any(|missing| missing == key) {
            return format!("it has no {part}");
        }
    }
    match missing.first() {
        Some(first) => format!("{} tensors are missing, the first {first}", missing.len()),
        None => format!("{mismatched} tensors have another shape than config.json says"),
    }
}

/// Sorts layer 10 behind layer 9.
fn natural(key: &str) -> Vec<(Option<usize>, String)> {
    key.split('.').map(|step| (step.parse().ok(), step.to_owned())).collect()
}

impl Inspection {
    /// Tensors by the number of each type, for a summary.
    pub fn dtypes(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for facts in &self.tensors {
            *counts.entry(facts.dtype.as_deref().unwrap_or("other")).or_default() += 1;
        }
        counts
    }
}
