//! What is checked: one entry for each kernel and type, and for whole models.

mod attention;
pub(crate) mod lab;
mod linear;
mod losses;
mod models;
mod noise;
mod patches;
mod rows;
pub(crate) mod trial;

use std::sync::Arc;

use clap::ValueEnum;
use kernels::{Backend, DType};

pub(crate) use noise::Noise;
use trial::{Case, Outcome};

/// How large the operands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// Shapes of the models, and awkward ones
    Model,
    /// A few small shapes, for compute-sanitizer, and for a trial of this program
    Small,
}

/// What runs the ops of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// `cuda:0`
    Ampere,
    /// `cuda:0:90a`, on compute capability 9.0 only.
    Hopper,
}

impl Kernels {
    /// The name of the backend on a device.
    pub(crate) fn backend(self, device: usize) -> String {
        match self {
            Self::Ampere => format!("cuda:{device}"),
            Self::Hopper => format!("cuda:{device}:90a"),
        }
    }
}

type OpCases = fn(Size, DType, u64) -> Vec<Case>;
type Models = fn(&Arc<dyn Backend>, Size, DType, u64) -> Vec<Outcome>;

/// Makes the cases of a type under a seed.
#[derive(Clone, Copy)]
enum Body {
    Op(OpCases),
    /// Compared with the CPU backend.
    Model(Models),
}

/// A kernel, or a model.
struct Subject {
    name: &'static str,
    kernels: Kernels,
    dtypes: &'static [DType],
    body: Body,
}

const FLOATS: &[DType] = &[DType::F32, DType::Bf16, DType::F16];
const NARROW: &[DType] = &[DType::Bf16, DType::F16];
/// Types that the CPU backend has too.
const ON_CPU: &[DType] = &[DType::F32, DType::Bf16];

const fn op(name: &'static str, dtypes: &'static [DType], cases: OpCases) -> Subject {
    Subject { name, kernels: Kernels::Ampere, dtypes, body: Body::Op(cases) }
}

const fn hopper(name: &'static str, dtypes: &'static [DType], cases: OpCases) -> Subject {
    Subject { kernels: Kernels::Hopper, ..op(name, dtypes, cases) }
}

const fn model(name: &'static str, kernels: Kernels, dtypes: &'static [DType], run: Models) -> Subject {
    Subject { name, kernels, dtypes, body: Body::Model(run) }
}

/// In the order they run: what others build on first.
const SUBJECTS: &[Subject] = &[
    op("cast", FLOATS, rows::cast),
    op("gather_rows", FLOATS, rows::gather_rows),
    op("broadcast_rows", FLOATS, rows::broadcast_rows),
    op("mean_tokens", FLOATS, rows::mean_tokens),
    op("layer_norm", FLOATS, rows::layer_norm),
    op("normalize_levels", FLOATS, patches::normalize_levels),
    op("patchify", FLOATS, patches::patchify),
    op("patch_targets", FLOATS, patches::patch_targets),
    op("linear", FLOATS, linear::general),
    op("linear_mma", NARROW, linear::on_tensor_cores),
    hopper("linear_90a", NARROW, linear::on_tensor_cores),
    op("attention", FLOATS, attention::general),
    op("attention_mma", NARROW, attention::on_tensor_cores),
    hopper("attention_90a", NARROW, attention::on_tensor_cores),
    op("attention_probabilities", FLOATS, attention::probabilities),
    op("mse_loss", FLOATS, losses::mse),
    op("cross_entropy_loss", FLOATS, losses::cross_entropy),
    op("bce_with_logits_loss", FLOATS, losses::bce_with_logits),
    model("classification", Kernels::Ampere, ON_CPU, models::classification),
    model("pre_training", Kernels::Ampere, ON_CPU, models::pre_training),
    model("classification_90a", Kernels::Hopper, &[DType::Bf16], models::classification),
];

/// One check, which has a process of its own.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    subject: &'static Subject,
    dtype: DType,
}

impl Entry {
    /// Every entry, in the order they run.
    pub(crate) fn all() -> Vec<Self> {
        let entries =
            |subject: &'static Subject| subject.dtypes.iter().map(move |&dtype| Self { subject, dtype });
        SUBJECTS.iter().flat_map(entries).collect()
    }

    /// `layer_norm/bf16`
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.subject.name, self.dtype)
    }

    /// `layer_norm`, which the entries of all types share.
    pub(crate) fn subject(&self) -> &'static str {
        self.subject.name
    }

    /// What runs it.
    pub(crate) fn kernels(&self) -> Kernels {
        self.subject.kernels
    }

    /// Runs all cases; `spoil` changes what each expects.
    pub(crate) fn run(&self, backend: &Arc<dyn Backend>, size: Size, seed: u64, spoil: bool) -> Vec<Outcome> {
        match self.subject.body {
            Body::Op(cases) => {
                let cases = cases(size, self.dtype, seed);
                cases.iter().map(|case| trial::run(case, backend, spoil)).collect()
            }
            Body::Model(run) => {
                let mut outcomes = run(backend, size, self.dtype, seed);
                if spoil {
                    outcomes.iter_mut().for_each(|outcome| outcome.passed = false);
                }
                outcomes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_different_and_so_are_the_cases_of_each() {
        let entries = Entry::all();
        let names: BTreeSet<_> = entries.iter().map(Entry::name).collect();
        assert_eq!(names.len(), entries.len());
        for entry in &entries {
            let Body::Op(cases) = entry.subject.body else { continue };
            for size in [Size::Model, Size::Small] {
                let cases = cases(size, entry.dtype, 1);
                let labels: BTreeSet<_> = cases.iter().map(|case| case.label.as_str()).collect();
                assert_eq!(labels.len(), cases.len(), "{}: {labels:?}", entry.name());
                assert!(!cases.is_empty(), "{}", entry.name());
            }
        }
    }

    /// As long as a GPU machine waits for the reference, and that bounds hold at the sizes of the models.
    #[test]
    #[ignore = "takes minutes"]
    fn the_cpu_backend_passes_at_the_sizes_of_the_models() {
        let cpu = kernels::open("cpu").expect("it runs everywhere");
        for entry in Entry::all().iter().filter(|entry| entry.dtype == DType::F32) {
            let start = std::time::Instant::now();
            for outcome in entry.run(&cpu, Size::Model, 7, false) {
                // It has no f16.
                if outcome.text.contains("is not supported") {
                    continue;
                }
                assert!(outcome.passed, "{} {}: {}", entry.name(), outcome.case, outcome.text);
                println!("{} {}: {}", entry.name(), outcome.case, outcome.text);
            }
            println!("{}: {:?}", entry.name(), start.elapsed());
        }
    }

    /// The checks are about the backend of CUDA, but they are right only if another backend passes them too.
    #[test]
    fn the_reference_passes_its_own_checks_and_none_passes_when_it_is_spoilt() {
        let reference = kernels::open("reference").expect("it runs everywhere");
        for entry in Entry::all() {
            let Body::Op(_) = entry.subject.body else { continue };
            for outcome in entry.run(&reference, Size::Small, 7, false) {
                assert!(outcome.passed, "{} {}: {}", entry.name(), outcome.case, outcome.text);
            }
            for outcome in entry.run(&reference, Size::Small, 7, true) {
                assert!(!outcome.passed, "{} {}: {}", entry.name(), outcome.case, outcome.text);
            }
        }
    }
}
