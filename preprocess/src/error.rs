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
    /// A file was read, but what it holds is not valid.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<Error>,
    },
    /// A text is not JSON.
    #[error("not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// An option of a processor has a value that cannot be honoured.
    #[error("{name}: expected {expected}, found {found}")]
    Option {
        /// The name of the option, as in the JSON files.
        name: &'static str,
        /// The values that can be honoured.
        expected: String,
        /// The value that came.
        found: String,
    },
    /// A directory holds no file of a processor.
    #[error("{}: no processor configuration, looked for {looked_for}", directory.display())]
    NoConfiguration {
        /// The directory.
        directory: PathBuf,
        /// The file names that would do.
        looked_for: String,
    },
    /// Frames cannot be sampled as asked.
    #[error("sampling: expected {expected}, found {found}")]
    Sampling {
        /// What the video allows.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// A mask cannot be drawn as asked.
    #[error("masking: expected {expected}, found {found}")]
    Masking {
        /// What the grid of tokens allows.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// A `.npy` file is not an array of frames.
    #[error("npy {part}: expected {expected}, found {found}")]
    Npy {
        /// The part of the file.
        part: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file is no video.
    #[error("{}: not a video: {found}", path.display())]
    NotAVideo {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// A video of a kind that cannot be read.
    #[error("{}: not supported: {what}; {fix}", path.display())]
    UnsupportedVideo {
        /// The file.
        path: PathBuf,
        /// The container, codec or property that is not supported, and what is.
        what: String,
        /// What the user can do.
        fix: String,
    },
    /// A video file contradicts itself or ends too early.
    #[error("{}: damaged {container} file: {detail}", path.display())]
    DamagedVideo {
        /// The file.
        path: PathBuf,
        /// The kind of file.
        container: &'static str,
        /// What is wrong, and where.
        detail: String,
    },
    /// A media file without video.
    #[error("{}: no video track, found {}", path.display(), list(tracks))]
    NoVideoTrack {
        /// The file.
        path: PathBuf,
        /// The kinds of tracks it has, as four-character codes: `soun`, `text`, ...
        tracks: Vec<String>,
    },
    /// A video without a single frame.
    #[error("{}: the video track has no frames", path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
    },
    /// A video asks for more than is allowed.
    #[error("{}: {found}, the limit is {limit}", path.display())]
    VideoLimit {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        found: String,
        /// What is allowed.
        limit: String,
    },
    /// A frame was asked for that the video does not have.
    #[error("{}: frame {index} was asked for, the video has {num_frames} (0 to {})", path.display(), num_frames - 1)]
    FrameIndex {
        /// The file.
        path: PathBuf,
        /// The frame asked for.
        index: usize,
        /// The frames there are, at least one.
        num_frames: usize,
    },
    /// Frames that the index of the file promises cannot be decoded.
    #[error("{}: {decoded} of {requested} frames could be decoded: {cause}", path.display())]
    FramesMissing {
        /// The file.
        path: PathBuf,
        /// Frames decoded before the failure.
        decoded: usize,
        /// Distinct frames asked for.
        requested: usize,
        /// What failed.
        cause: String,
    },
}

/// Names for a message, or `none`.
fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
