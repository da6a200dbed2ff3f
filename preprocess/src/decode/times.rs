//! When frames are shown, where only decoding tells.

/// Seconds after the first of `times`, which count in `unit` seconds; never falling.
pub(super) fn seconds(times: &[i64], unit: f64) -> Vec<f64> {
    let first = times.first().copied().unwrap_or(0);
    let mut latest = 0;
    let seconds = |&time: &i64| {
        latest = time.saturating_sub(first).max(latest);
        latest as f64 * unit
    };
    times.iter().map(seconds).collect()
}

/// Frames a second on average, and seconds to the end of the last frame; `None` without two different times.
pub(super) fn rate(times: &[f64]) -> (Option<f64>, Option<f64>) {
    let span = times.last().copied().filter(|&span| span > 0.0);
    let rate = span.map(|span| (times.len() - 1) as f64 / span);
    (rate, rate.map(|rate| times.len() as f64 / rate))
}
