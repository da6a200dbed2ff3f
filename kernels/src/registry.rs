//! Names to backends.

use std::sync::Arc;

use kernels_backend::{Backend, Error, Result};
use kernels_cpu::{Isa, Peak};
use kernels_reference::ReferenceBackend;

use crate::cuda;

/// How a backend is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The most threads it may use. `None` is `RAYON_NUM_THREADS`, else one for each core; `reference` always
    /// uses one.
    pub threads: Option<usize>,
}

/// A backend that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// What [`open`] takes.
    pub name: String,
    /// What it is, in a few words.
    pub description: String,
    /// Whether it can run on this machine; if not, why.
    pub runnable: std::result::Result<(), String>,
}

/// Opens a backend by name, with default options.
///
/// # Errors
/// As [`open_with`].
pub fn open(name: &str) -> Result<Arc<dyn Backend>> {
    open_with(name, &Options::default())
}

/// Opens a backend by name.
///
/// # Errors
/// [`Error::UnknownBackend`], which lists the names there are; [`Error::Unavailable`] for one that cannot run
/// on this machine, or with these options.
pub fn open_with(name: &str, options: &Options) -> Result<Arc<dyn Backend>> {
    match Choice::parse(name) {
        Some(choice) => choice.open(name, options),
        None => Err(Error::UnknownBackend {
            name: name.to_owned(),
            known: Choice::all().iter().map(Choice::name).collect(),
        }),
    }
}

/// Prepares to measure the rate of multiply-adds that the backend of this name could reach at all, to state the speed of
/// a model against; `None` for one whose rate is not known how to measure.
///
/// # Errors
/// As [`open_with`].
pub fn peak(name: &str, options: &Options) -> Result<Option<Peak>> {
    open_with(name, options)?;
    match Choice::parse(name) {
        Some(Choice::Auto | Choice::BestCpu) => Peak::new(Isa::best(), options.threads).map(Some),
        Some(Choice::Cpu(isa)) => Peak::new(isa, options.threads).map(Some),
        _ => Ok(None),
    }
}

/// Every backend that can be asked for, and whether it can run here.
pub fn available() -> Vec<BackendInfo> {
    Choice::all()
        .iter()
        .map(|choice| BackendInfo {
            name: choice.name(),
            description: choice.description(),
            runnable: choice.check(),
        })
        .collect()
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Auto,
    BestCpu,
    Cpu(Isa),
    Cuda(usize),
    /// A GPU with the kernels for compute capability 9.0.
    Hopper(usize),
    Reference,
}

impl Choice {
    /// All there are, but for what no GPU has run yet. Where there is no device, the first one stands for them.
    fn all() -> Vec<Self> {
        let isas = Isa::all().iter().copied().map(Self::Cpu);
        let devices = (0..cuda::devices().len().max(1)).map(Self::Cuda);
        [Self::Auto, Self::BestCpu].into_iter().chain(isas).chain(devices).chain([Self::Reference]).collect()
    }

    fn parse(name: &str) -> Option<Self> {
        match name.split_once(':') {
            // Parsing alone would also take "cuda:+1" and "cuda:007".
            Some(("cuda", rest)) => {
                let choice = match rest.strip_suffix(":90a") {
                    Some(ordinal) => ordinal.parse().ok().map(Self::Hopper),
                    None => rest.parse().ok().map(Self::Cuda),
                };
                choice.filter(|choice| choice.name() == name)
            }
            _ => Self::all().into_iter().find(|choice| choice.name() == name),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::BestCpu => "cpu".to_owned(),
            Self::Cpu(isa) => format!("cpu:{isa}"),
            Self::Cuda(ordinal) => format!("cuda:{ordinal}"),
            Self::Hopper(ordinal) => format!("cuda:{ordinal}:90a"),
            Self::Reference => "reference".to_owned(),
        }
    }

    fn description(&self) -> String {
        match self {
            Self::Auto => format!("the fastest that can run here: cpu:{}", Isa::best()),
            Self::BestCpu => format!("the best instruction set of this processor: {}", Isa::best()),
            Self::Cpu(Isa::Portable) => "kernels for any processor".to_owned(),
            Self::Cpu(isa) => format!("kernels for x86-64 processors with {isa}"),
            Self::Cuda(ordinal) | Self::Hopper(ordinal) => match cuda::devices().get(*ordinal) {
                Some(name) => name.clone(),
                None => format!("NVIDIA GPU number {ordinal}"),
            },
            Self::Reference => "naive loops in f64: slow, exact, forward and backward".to_owned(),
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        match *self {
            Self::Auto | Self::BestCpu => Isa::best().check(),
            Self::Cpu(isa) => isa.check(),
            Self::Cuda(ordinal) | Self::Hopper(ordinal) => cuda::check(ordinal),
            Self::Reference => Ok(()),
        }
    }

    fn open(&self, name: &str, options: &Options) -> Result<Arc<dyn Backend>> {
        if options.threads == Some(0) {
            let reason = "expected at least one thread, found 0".to_owned();
            return Err(Error::Unavailable { name: name.to_owned(), reason });
        }
        match *self {
            Self::Auto | Self::BestCpu => kernels_cpu::open(Isa::best(), options.threads),
            Self::Cpu(isa) => kernels_cpu::open(isa, options.threads),
            Self::Cuda(ordinal) => cuda::open(ordinal),
            Self::Hopper(ordinal) => cuda::open_hopper(ordinal),
            Self::Reference => Ok(ReferenceBackend::open()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, options: &Options) -> String {
        open_with(name, options).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn every_listed_name_opens_or_says_why_not() {
        for info in available() {
            match (open(&info.name), &info.runnable) {
                (Ok(backend), Ok(())) => {
                    let exact = info.name.contains(':') || info.name == "reference";
                    assert!(!exact || backend.name() == info.name, "{} opened {}", info.name, backend.name());
                }
                (Err(Error::Unavailable { name, reason }), Err(why)) => {
                    assert_eq!((&name, &reason), (&info.name, why));
                }
                (opened, listed) => {
                    panic!("{}: {:?} but listed as {listed:?}", info.name, opened.map(|_| "opened").err());
                }
            }
        }
    }

    #[test]
    fn auto_cpu_portable_and_reference_run_everywhere() {
        for name in ["auto", "cpu", "cpu:portable", "reference"] {
            assert!(open(name).is_ok(), "{name}");
            assert!(available().iter().any(|info| info.name == name && info.runnable.is_ok()), "{name}");
        }
        assert!(open("auto").unwrap().name().starts_with("cpu:"));
    }

    #[test]
    fn a_gpu_that_is_not_there_is_refused_with_the_reason() {
        let reason = cuda::check(99).unwrap_err();
        let message = refusal("cuda:99", &Options::default());
        assert_eq!(message, format!("backend cuda:99 cannot run on this machine: {reason}"));
        let message = refusal("cuda:99:90a", &Options::default());
        assert_eq!(message, format!("backend cuda:99:90a cannot run on this machine: {reason}"));
        let expected = if cfg!(feature = "cuda") {
            ["no NVIDIA driver", "found number 99"]
        } else {
            ["not compiled in"; 2]
        };
        assert!(expected.iter().any(|expected| reason.contains(expected)), "{reason}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        for name in [
            "",
            "CPU",
            "cpu:",
            "cpu:sse9",
            "cuda",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:+1",
            "cuda:00",
            "cuda:0:90b",
            "cuda::90a",
        ] {
            let message = refusal(name, &Options::default());
            let start = format!(
                "unknown backend {name:?}: expected one of auto, cpu, cpu:portable, cpu:avx2, cpu:avx512, \
                 cpu:avx512bf16, cuda:0"
            );
            assert!(message.starts_with(&start) && message.ends_with(", reference"), "{message}");
        }
    }

    #[test]
    fn no_threads_at_all_is_refused_by_every_backend() {
        for name in ["auto", "reference"] {
            let message = refusal(name, &Options { threads: Some(0) });
            assert!(message.ends_with("expected at least one thread, found 0"), "{message}");
            assert!(open_with(name, &Options { threads: Some(1) }).is_ok(), "{name}");
        }
    }
}
