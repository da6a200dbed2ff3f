//! From a file to the frames the model will see.

use std::path::Path;

use anyhow::{Context, Result};
use videomae_preprocess::{
    Frames, VideoOptions, VideoReader, open_video_with, read_clips, read_npy,
    sample::{Sampler, Times},
};

/// The frames taken from a video, and what a person wants to know of it.
pub(crate) struct Taken {
    /// The frames of each clip.
    pub(crate) clips: Vec<Frames>,
    /// Their places in the video.
    pub(crate) indices: Vec<Vec<usize>>,
    /// "32 frames, 128×128, 16 fps, h264 (High) in mp4".
    pub(crate) description: String,
}

/// Takes the frames that `sampler` chooses.
pub(crate) fn read(path: &Path, sampler: &Sampler, options: VideoOptions) -> Result<Taken> {
    let is_npy = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"));
    if is_npy { from_npy(path, sampler, options.frame_rate) } else { from_video(path, sampler, options) }
}

fn from_video(path: &Path, sampler: &Sampler, options: VideoOptions) -> Result<Taken> {
    let mut reader = open_video_with(path, options)?;
    let info = reader.info();
    // Two decimals tell 29.97 from 30.
    let rate =
        info.frame_rate.map_or(String::new(), |rate| format!(", {} fps", (rate * 100.0).round() / 100.0));
    let description = format!(
        "{} frames, {}×{}{rate}, {} in {}",
        info.num_frames, info.width, info.height, info.codec, info.container
    );
    let starts = starts(&*reader);
    // One frame alone is shown for ever.
    let end = info.duration.unwrap_or(f64::INFINITY);
    let times = starts.as_deref().map(|starts| Times { starts, end });
    let indices = indices(path, sampler, info.num_frames, times)?;
    let clips = read_clips(&mut *reader, &indices)?;
    Ok(Taken { clips, indices, description })
}

/// When each frame is shown, in seconds; none for a folder of pictures whose rate nobody told.
pub(crate) fn starts(reader: &dyn VideoReader) -> Option<Vec<f64>> {
    let info = reader.info();
    (info.frame_rate.is_some() || info.num_frames == 1).then(|| reader.times())
}

fn from_npy(path: &Path, sampler: &Sampler, frame_rate: Option<f64>) -> Result<Taken> {
    let all = read_npy(path)?;
    let (total, height, width) = (all.num_frames(), all.height(), all.width());
    let starts = frame_rate.map(|rate| (0..total).map(|index| index as f64 / rate).collect::<Vec<_>>());
    let end = frame_rate.map_or(f64::INFINITY, |rate| total as f64 / rate);
    let times = starts.as_deref().map(|starts| Times { starts, end });
    let indices = indices(path, sampler, total, times)?;
    let take = |clip: &Vec<usize>| {
        let taken = clip.iter().flat_map(|&index| all.frame(index)).copied().collect();
        Frames::new(taken, clip.len(), height, width)
    };
    let clips = indices.iter().map(take).collect::<Result<_, _>>()?;
    Ok(Taken { clips, indices, description: format!("{total} frames, {width}×{height}, npy") })
}

/// The same draw for every video: a result does not depend on what else is on the command line.
fn indices(
    path: &Path,
    sampler: &Sampler,
    total: usize,
    times: Option<Times<'_>>,
) -> Result<Vec<Vec<usize>>> {
    sampler.clips(total, times, 0).with_context(|| path.display().to_string())
}
