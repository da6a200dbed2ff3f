//! What can go wrong between a file and `pixel_values`.

use std::path::PathBuf;

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Every cause a caller can act on. Messages say what, where, expected and found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An array has the wrong shape.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// What was being read or computed.
        what: &'static str,
        /// The shape or size that was needed.
        expected: String,
        /// The shape or size that came.
        found: String,
    },
}
