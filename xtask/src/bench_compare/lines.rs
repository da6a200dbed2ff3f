//! The lines that `cargo bench kernels` prints, one an op.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, PartialEq)]
pub(super) struct Measurement {
    /// `kernels/<op>/<dtype>/<isa>/<shape>`
    pub(super) id: String,
    /// Of the fastest repetition.
    seconds: f64,
    /// Operations per second of the op, and of the peak beside it; `None` for ops that make no products.
    rate: Option<(f64, f64)>,
}

/// How fast an op is, in terms of the peak of its machine.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Speed {
    /// The part of the peak that it reached.
    OfPeak(f64),
    /// For an op that makes no products: the operations that the peak would have done in its time.
    PeakOperations(f64),
}

/// What begins an id, and what follows it.
const START: &str = "kernels/";
const MARK: &str = ": fastest ";

/// Not a kernel of ours: the crate that the linear layers are shown beside.
const OTHER: &str = "gemm";

/// Whether a line tells of an op; Criterion prints others.
pub(super) fn is_measurement(line: &str) -> bool {
    line.starts_with(START) && line.contains(MARK)
}

/// Reads the lines that tell of an op.
pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Measurement>> {
    let parse = |line: &str| Measurement::parse(line).with_context(|| format!("in the line `{line}`"));
    lines.filter(|line| is_measurement(line)).map(parse).collect()
}

impl Measurement {
    /// `ID: fastest 1.5 ms`, then possibly `, 20.0 GF/s, 50 % of the FMA peak 40.0 GF/s`.
    fn parse(line: &str) -> Result<Self> {
        let (id, rest) = line.split_once(MARK).context("expected `: fastest`")?;
        ensure!(id.split('/').count() == 5, "expected an id of five parts, found `{id}`");
        let mut parts = rest.split(", ");
        let seconds = number(parts.next().unwrap_or_default(), "", " ms")? * 1e-3;
        let rate = match (parts.next(), parts.next()) {
            (Some(rate), Some(peak)) => {
                let (_, peak) = peak.split_once('%').context("expected a percentage")?;
                let rate = number(rate, "", " GF/s")?;
                Some((rate * 1e9, number(peak, " of the FMA peak ", " GF/s")? * 1e9))
            }
            _ => None,
        };
        Ok(Self { id: id.to_owned(), seconds, rate })
    }

    /// The third part of the id after the first: the instruction set.
    fn isa(&self) -> &str {
        isa(&self.id)
    }
}

/// The instruction set in an id.
pub(super) fn isa(id: &str) -> &str {
    id.split('/').nth(3).unwrap_or_default()
}

/// A positive number between two texts.
fn number(text: &str, before: &str, after: &str) -> Result<f64> {
    let digits = text.strip_prefix(before).and_then(|text| text.strip_suffix(after));
    let value: f64 = digits
        .with_context(|| format!("expected `{before}NUMBER{after}`, found `{text}`"))?
        .parse()
        .with_context(|| format!("reading `{text}`"))?;
    ensure!(value > 0.0 && value.is_finite(), "expected a positive number, found `{text}`");
    Ok(value)
}

/// Times in terms of the peak. That of ops without a peak beside them is the best of their instruction set; without
/// any, they are left out.
pub(super) fn speeds(measurements: Vec<Measurement>) -> Vec<(String, Speed)> {
    let mut peaks: BTreeMap<String, f64> = BTreeMap::new();
    for measurement in &measurements {
        if let Some((_, peak)) = measurement.rate {
            let best = peaks.entry(measurement.isa().to_owned()).or_default();
            *best = best.max(peak);
        }
    }
    let ours = measurements.into_iter().filter(|measurement| measurement.isa() != OTHER);
    ours.filter_map(|measurement| {
        let speed = match measurement.rate {
            Some((rate, peak)) => Speed::OfPeak(rate / peak),
            None => Speed::PeakOperations(measurement.seconds * peaks.get(measurement.isa())?),
        };
        Some((measurement.id, speed))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
kernels/linear/f32/avx2/1568x768x768
                        time:   [9.8 ms 9.9 ms 10.1 ms]
kernels/linear/f32/avx2/1568x768x768: fastest 9.902 ms, 186.8 GF/s, 90 % of the FMA peak 207.6 GF/s
kernels/layer_norm/f32/avx2/1568x768: fastest 0.250 ms
kernels/linear/f32/gemm/1568x768x768: fastest 14.000 ms, 132.1 GF/s, 64 % of the FMA peak 206.4 GF/s
kernels/layer_norm/f32/portable/1568x768: fastest 0.450 ms
";

    #[test]
    fn products_are_parts_of_the_peak_beside_them_and_the_rest_of_the_best_one() {
        let speeds = speeds(parse(PRINTED.lines()).unwrap());
        let [(linear, Speed::OfPeak(part)), (norm, Speed::PeakOperations(operations))] = &speeds[..] else {
            panic!("{speeds:?}");
        };
        assert_eq!(linear, "kernels/linear/f32/avx2/1568x768x768");
        assert!((part - 186.8 / 207.6).abs() < 1e-9);
        assert_eq!(norm, "kernels/layer_norm/f32/avx2/1568x768");
        assert!((operations - 0.25e-3 * 207.6e9).abs() < 1.0);
    }

    #[test]
    fn a_line_that_is_not_as_expected_is_quoted() {
        for line in [
            "kernels/linear/f32/avx2/1x1: fastest soon",
            "kernels/linear/f32/avx2/1x1: fastest 0.000 ms",
            "kernels/linear/f32/avx2/1x1: fastest 1.0 ms, 3.0 GF/s, 90 % of something",
            "kernels/linear/1x1: fastest 1.0 ms",
        ] {
            let error = parse([line].into_iter()).unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
        }
    }
}
