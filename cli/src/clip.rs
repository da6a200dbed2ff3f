//! From a file to the frames the model will see.

use std::path::Path;

use anyhow::{Context, Result};
use videomae_preprocess::{Frames, open_video, read_frames, read_npy, sample};

/// The frames taken from a video, and what a person wants to know of it.
pub(crate) struct Clip {
    /// The frames taken.
    pub(crate) frames: Frames,
    /// Their places in the video.
    pub(crate) indices: Vec<usize>,
    /// "32 frames, 128×128, 16 fps, h264 (High) in mp4".
    pub(crate) description: String,
}

/// Takes `count` frames spread evenly over the video.
pub(crate) fn read(path: &Path, count: usize) -> Result<Clip> {
    let is_npy = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    if is_npy { from_npy(path, count) } else { from_video(path, count) }
}

fn from_video(path: &Path, count: usize) -> Result<Clip> {
    let mut reader = open_video(path)?;
    let info = reader.info();
    // Two decimals tell 29.97 from 30.
    let rate =
        info.frame_rate.map_or(String::new(), |rate| format!(", {} fps", (rate * 100.0).round() / 100.0));
    let description = format!(
        "{} frames, {}×{}{rate}, {} in {}",
        info.num_frames, info.width, info.height, info.codec, info.container
    );
    let indices = indices(path, count, info.num_frames)?;
    let frames = read_frames(&mut *reader, &indices)?;
    Ok(Clip { frames, indices, description })
}

fn from_npy(path: &Path, count: usize) -> Result<Clip> {
    let all = read_npy(path)?;
    let (total, height, width) = (all.num_frames(), all.height(), all.width());
    let indices = indices(path, count, total)?;
    let taken: Vec<u8> = indices.iter().flat_map(|&index| all.frame(index)).copied().collect();
    let frames = Frames::new(taken, indices.len(), height, width)?;
    Ok(Clip { frames, indices, description: format!("{total} frames, {width}×{height}, npy") })
}

fn indices(path: &Path, count: usize, total: usize) -> Result<Vec<usize>> {
    sample::uniform(count, total)
        .with_context(|| format!("{}: too short; take fewer frames with --frames", path.display()))
}
