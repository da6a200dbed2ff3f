//! The edit list: which samples are shown, and in which order.

use mp4_atom::Elst;

use crate::decode::track::{Sample, Shown};

/// The frames of the video as a player shows them.
///
/// An edit shows the samples whose presentation time lies in its interval, in the order of that time. An empty edit
/// only delays what follows. Encoders use one edit to hide the pictures before the first key frame of a cut, or to
/// move the first picture of a stream with B-frames to time zero. FFmpeg decodes and then drops what lies outside;
/// this gives the same frames.
pub(crate) fn shown_samples(samples: &[Sample], edits: Option<&Elst>, rates: Timescales) -> Vec<Shown> {
    let edits = edits.map(|list| list.entries.as_slice()).unwrap_or_default();
    let mut by_time: Vec<u32> = (0..samples.len() as u32).collect();
    // The sort is stable: equal times keep decoding order.
    by_time.sort_by_key(|&index| samples[index as usize].cts);
    let shown_from = |shift: i64| {
        move |&sample: &u32| Shown { sample, time: samples[sample as usize].cts.saturating_add(shift) }
    };
    if edits.is_empty() || samples.is_empty() {
        return by_time.iter().map(shown_from(0)).collect();
    }
    let mut shown = Vec::new();
    let mut elapsed = 0i64;
    for edit in edits {
        let begin = elapsed;
        let duration = rates.to_media(edit.segment_duration);
        elapsed = begin.saturating_add(duration);
        let Some(start) = edit.media_time.and_then(|time| i64::try_from(time).ok()) else { continue };
        let end = start.saturating_add(duration);
        let from = by_time.partition_point(|&index| samples[index as usize].cts < start);
        let to = by_time.partition_point(|&index| samples[index as usize].cts < end);
        let room = MAX_SHOWN.saturating_sub(shown.len());
        let shift = begin.saturating_sub(start);
        shown.extend(by_time[from..to.max(from)].iter().take(room).map(shown_from(shift)));
    }
    shown
}

/// An edit list may show samples again and again; this is sixty hours at 30 frames a second, and 100 MB of entries.
const MAX_SHOWN: usize = 6_500_000;

/// Ticks a second of the edit list and of the track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timescales {
    /// Of `mvhd`: edit durations.
    pub(crate) movie: u32,
    /// Of `mdhd`: sample times and edit starts.
    pub(crate) media: u32,
}

impl Timescales {
    /// Rounds to the nearest tick of the track, halves up.
    fn to_media(self, duration: u64) -> i64 {
        let movie = u128::from(self.movie.max(1));
        let ticks = (u128::from(duration) * u128::from(self.media) + movie / 2) / movie;
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }
}
