//! What loading or running a model can refuse, and why.

use std::{io, path::PathBuf};

use crate::checkpoint::LoadReport;

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Every cause a caller can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried: "open", "write".
        action: &'static str,
        /// What the system said.
        reason: io::Error,
    },
    /// A file that should hold JSON does not.
    #[error("{file}: expected JSON, found {reason}")]
    Json {
        /// The file, or what was parsed.
        file: String,
        /// Where and why parsing stopped.
        reason: serde_json::Error,
    },
    /// A field of a configuration has a value that no model can be built from.
    #[error("{file}: {field}: expected {expected}, found {found}")]
    Config {
        /// The file, or "config" for one built in memory.
        file: String,
        /// The field's name in `config.json`.
        field: String,
        /// What the field may hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A checkpoint file is damaged, hostile or of another kind.
    #[error("{file}: expected {expected}, found {found}")]
    Malformed {
        /// The file.
        file: String,
        /// What the format asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// One tensor of a checkpoint cannot be used.
    #[error("{file}: tensor {tensor}: expected {expected}, found {found}")]
    Tensor {
        /// The file, or the kind of source.
        file: String,
        /// The tensor's key.
        tensor: String,
        /// What is needed of it.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The tensors of a checkpoint do not make the model asked for. The report names all of them.
    #[error("{0}")]
    Load(Box<LoadReport>),
    /// An argument of a forward pass does not fit the model, or an option does not fit what was asked for.
    #[error("{what}: expected {expected}, found {found}")]
    Input {
        /// The argument's name in the signature.
        what: String,
        /// What the model takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// The hub did not give a file.
    #[error("{address}: {problem}")]
    Hub {
        /// The address asked, or the model's name.
        address: String,
        /// What was expected, what was found, and what to do about it.
        problem: String,
    },
    /// The activations of a batch do not fit into the memory of the device. What the session held was freed.
    #[error("{backend}: batch {batch} needs {}, {} are free: {}", size(*needed), size(*free), advice(*fits))]
    OutOfMemory {
        /// The backend's name.
        backend: String,
        /// B, the clips that were given.
        batch: usize,
        /// The bytes that their activations take.
        needed: u64,
        /// The bytes that are free for them.
        free: u64,
        /// The largest batch of such clips that fits, tried out; zero if not even one does.
        fits: usize,
    },
    /// A kernel or a backend refused.
    #[error(transparent)]
    Kernel(#[from] kernels_backend::Error),
}

impl Error {
    /// [`Error::Io`], for `map_err`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io { path, action, reason }
    }

    /// [`Error::Input`], for the checks at the door of a forward pass.
    pub(crate) fn input(
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Input { what: what.into(), expected: expected.into(), found: found.into() }
    }
}

/// `12.3 GiB`, or in the largest unit of which there is one.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|&(_, unit)| bytes >= unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

fn advice(fits: usize) -> String {
    match fits {
        0 => "not even one clip would fit".to_owned(),
        fits => format!("a batch of {fits} would fit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_does_not_fit_is_told_in_units_that_people_read() {
        let error = |fits| Error::OutOfMemory {
            backend: "cuda:0".to_owned(),
            batch: 64,
            needed: 13_207_024_435,
            free: 98_566_144,
            fits,
        };
        assert_eq!(
            error(41).to_string(),
            "cuda:0: batch 64 needs 12.3 GiB, 94.0 MiB are free: a batch of 41 would fit"
        );
        assert!(error(0).to_string().ends_with(": not even one clip would fit"));
        assert_eq!([size(1023), size(1024)], ["1023 bytes", "1.0 KiB"]);
    }
}
