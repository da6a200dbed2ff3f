//! What an op or a backend can refuse, and why.

use crate::DType;

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Every cause a caller can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A size does not fit the other operands.
    #[error("{op}: expected {expected}, found {found}")]
    Shape {
        /// The op that checked.
        op: &'static str,
        /// What it needed, with the name of the operand.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// An element type does not fit the op.
    #[error("{op}: expected {operand} of type {expected}, found {found}")]
    DType {
        /// The op that checked.
        op: &'static str,
        /// The operand's name in the signature.
        operand: &'static str,
        /// The type it needed.
        expected: DType,
        /// The type it was given.
        found: DType,
    },
    /// A tensor or packed weight was made by another backend.
    #[error("{op}: expected a tensor or weight made by {expected}, found one made elsewhere")]
    Foreign {
        /// The op that checked.
        op: &'static str,
        /// The backend that ran it.
        expected: String,
    },
    /// An index points outside its table, or a label outside its classes.
    #[error("{op}: index {index} is outside 0..{bound}")]
    Index {
        /// The op that checked.
        op: &'static str,
        /// The offending value.
        index: i64,
        /// One past the largest allowed value.
        bound: usize,
    },
    /// This backend cannot do what was asked.
    #[error("{backend}: {what} is not supported; use {instead}")]
    Unsupported {
        /// The backend's name.
        backend: String,
        /// What was asked.
        what: String,
        /// The next step for the user.
        instead: String,
    },
    /// The memory for a tensor cannot be had.
    #[error("{backend}: cannot allocate {bytes} bytes for a tensor of shape {shape}{}", of_free(*free))]
    OutOfMemory {
        /// The backend's name.
        backend: String,
        /// The size asked for.
        bytes: usize,
        /// The shape asked for.
        shape: String,
        /// The bytes that are free, though not in one piece, where the backend's memory has a limit that it knows.
        free: Option<usize>,
    },
    /// The device or its driver failed; what it computed since the last wait is lost.
    #[error("{backend}: {op}: {reason}")]
    Device {
        /// The backend's name.
        backend: String,
        /// What was asked of it.
        op: &'static str,
        /// What the driver says.
        reason: String,
    },
    /// No backend has this name.
    #[error("unknown backend {name:?}: expected one of {}", known.join(", "))]
    UnknownBackend {
        /// The name asked for.
        name: String,
        /// Every name that exists.
        known: Vec<String>,
    },
    /// The backend exists but cannot run here.
    #[error("backend {name} cannot run on this machine: {reason}")]
    Unavailable {
        /// The name asked for.
        name: String,
        /// What is missing.
        reason: String,
    },
}

/// `, 1024 bytes are free`
fn of_free(free: Option<usize>) -> String {
    free.map_or_else(String::new, |free| format!(", {free} bytes are free"))
}
