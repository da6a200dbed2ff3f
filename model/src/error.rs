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
