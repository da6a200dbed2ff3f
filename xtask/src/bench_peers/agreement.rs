//! Whether two programs compute the same: logits beside those of PyTorch in single precision.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use super::peers::Precision;

/// The logits that count as right.
pub(super) struct Reference {
    /// One clip after the other.
    logits: Vec<f32>,
    clips: usize,
}

/// How far logits are from the reference, over all clips that were compared.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Agreement {
    /// Of the angle between the two as vectors; the smallest of any clip.
    pub(super) cosine: f64,
    /// The largest difference over the largest logit; the largest of any clip.
    pub(super) largest_error: f64,
    /// Clips compared.
    pub(super) clips: usize,
}

/// What a precision may differ by.
pub(super) struct Bound {
    cosine: f64,
    largest_error: f64,
}

impl Precision {
    /// f32: another order of the same sums, 1e-6 in practice; a wrong constant anywhere is worth more than 1e-4. bf16
    /// keeps 8 bits: 4e-3 in practice, where a layer left out would give tenths. int8 depends on how ranges were
    /// found, so its bound only tells the right model from another one.
    pub(super) fn bound(self) -> Bound {
        match self {
            Self::F32 => Bound { cosine: 0.999_999, largest_error: 1e-4 },
            Self::Bf16 => Bound { cosine: 0.999, largest_error: 0.05 },
            Self::Int8 => Bound { cosine: 0.9, largest_error: 0.5 },
        }
    }
}

impl Bound {
    /// Whether logits are as near as that; NaN is not.
    pub(super) fn holds(&self, agreement: &Agreement) -> bool {
        agreement.cosine >= self.cosine && agreement.largest_error <= self.largest_error
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cosine ≥ {}, largest error ≤ {:.0e}", self.cosine, self.largest_error)
    }
}

impl Reference {
    /// Reads the file that `peer_prepare.py reference` made.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).with_context(|| format!("reading {}", path.display()))?;
        let logits = file.tensor("logits")?;
        ensure!(logits.dtype() == Dtype::F32, "logits: expected F32, found {:?}", logits.dtype());
        let clips = logits.shape().first().copied().unwrap_or(0);
        ensure!(clips > 0, "logits: expected at least one clip, found none");
        Ok(Self { logits: floats(logits.data()), clips })
    }

    /// How many clips there are to compare on.
    pub(super) fn clips(&self) -> usize {
        self.clips
    }

    /// Compares a file with the logits of a batch that begins with clip `first`.
    pub(super) fn compare(&self, path: &Path, first: usize, batch: usize) -> Result<Agreement> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        self.compare_logits(&floats(&bytes), first, batch)
    }

    fn compare_logits(&self, found: &[f32], first: usize, batch: usize) -> Result<Agreement> {
        let width = self.logits.len() / self.clips;
        ensure!(found.len() == batch * width, "expected {} logits, found {}", batch * width, found.len());
        let mut all: Option<Agreement> = None;
        for (index, found) in found.chunks_exact(width).enumerate() {
            let expected = &self.logits[(first + index) % self.clips * width..][..width];
            let one = Agreement::of(expected, found);
            all = Some(all.map_or(one, |all| all.and(&one)));
        }
        all.context("expected a batch of at least one clip")
    }
}

impl Agreement {
    fn of(expected: &[f32], found: &[f32]) -> Self {
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let cosine = dot(expected, found) / (dot(expected, expected) * dot(found, found)).sqrt();
        let errors = expected.iter().zip(found).map(|(&a, &b)| f64::from(a - b).abs());
        let scale = expected.iter().map(|&a| f64::from(a).abs()).fold(0.0, f64::max);
        Self { cosine, largest_error: errors.fold(0.0, larger) / scale, clips: 1 }
    }

    /// The worse of both in each respect.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            cosine: -larger(-self.cosine, -other.cosine),
            largest_error: larger(self.largest_error, other.largest_error),
            clips: self.clips + other.clips,
        }
    }
}

/// The larger of two numbers, and NaN if either is, which `f64::max` would forget.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        Reference { logits: vec![1.0, -2.0, 0.5, 4.0, 0.0, 1.0], clips: 2 }
    }

    #[test]
    fn equal_logits_agree_in_every_precision() {
        let agreement = reference().compare_logits(&[4.0, 0.0, 1.0, 1.0, -2.0, 0.5], 1, 2).unwrap();
        assert_eq!((agreement.largest_error, agreement.clips), (0.0, 2));
        assert!((agreement.cosine - 1.0).abs() < 1e-12);
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            assert!(precision.bound().holds(&agreement));
        }
    }

    #[test]
    fn the_worst_clip_of_a_batch_counts() {
        let agreement = reference().compare_logits(&[1.0, -2.0, 0.5, 4.0, 0.0, 1.4], 0, 2).unwrap();
        assert!((agreement.largest_error - 0.1).abs() < 1e-6, "{agreement:?}");
        assert!(!Precision::F32.bound().holds(&agreement));
        assert!(Precision::Int8.bound().holds(&agreement));
    }

    #[test]
    fn the_logits_of_another_clip_are_noticed_in_every_precision() {
        let agreement = reference().compare_logits(&[4.0, 0.0, 1.0], 0, 1).unwrap();
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            assert!(!precision.bound().holds(&agreement));
        }
    }

    #[test]
    fn nan_agrees_with_nothing_even_before_a_good_clip() {
        let bad = reference().compare_logits(&[f32::NAN, -2.0, 0.5], 0, 1).unwrap();
        let good = reference().compare_logits(&[1.0, -2.0, 0.5], 0, 1).unwrap();
        assert!(!Precision::Int8.bound().holds(&bad.and(&good)));
        assert!(!Precision::Int8.bound().holds(&good.and(&bad)));
    }

    #[test]
    fn a_wrong_number_of_logits_is_an_error() {
        let error = reference().compare_logits(&[1.0, 2.0], 0, 1).unwrap_err();
        assert_eq!(error.to_string(), "expected 3 logits, found 2");
    }
}
