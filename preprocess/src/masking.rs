//! Which tokens pre-training hides: tube and random masks.
//!
//! A mask is a function of (kind, ratio, grid, seed, sample number) and of nothing else: not of the batch it is
//! drawn in, the platform or the release. Sample `s` of seed `k` shuffles with its own SplitMix64 stream, whose
//! first state is output `s` of the generator that starts at `k`.

use crate::random::SplitMix64;
use crate::{Error, Result};

/// The tokens of one clip: T/tubelet_size slices of H/patch_size rows and W/patch_size columns.
///
/// Token (t, y, x) has the index (t·rows + y)·columns + x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    /// T / tubelet_size.
    pub slices: usize,
    /// H / patch_size.
    pub rows: usize,
    /// W / patch_size.
    pub columns: usize,
}

/// Which tokens are hidden together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskKind {
    /// One spatial mask for all slices (VideoMAE paper, section 3.2): ⌊ratio·rows·columns⌋ tokens of each slice.
    Tube,
    /// Any tokens: ⌊ratio·slices·rows·columns⌋ of all.
    Random,
}

/// Draws masks; every sample has its own.
#[derive(Clone, Debug)]
pub struct MaskGenerator {
    kind: MaskKind,
    grid: TokenGrid,
    /// Tokens to choose among: those of one slice, or all.
    choices: usize,
    /// How many of them are masked.
    masked: usize,
    seed: u64,
}

/// A batch of masks: `(B, N)`, `true` where a token is hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoolMaskedPos {
    /// B · N entries.
    pub data: Vec<bool>,
    /// `[B, N]`.
    pub shape: [usize; 2],
}

impl MaskGenerator {
    /// A generator that hides the part `ratio` of the tokens of `grid`.
    ///
    /// # Errors
    /// [`Error::Masking`] when the grid is empty or too large, or when `ratio` would leave no token hidden or none
    /// visible: such a clip can neither be encoded nor give a loss.
    pub fn new(kind: MaskKind, grid: TokenGrid, ratio: f64, seed: u64) -> Result<Self> {
        let tokens = grid.rows.checked_mul(grid.columns).and_then(|n| n.checked_mul(grid.slices));
        // A vector of that many entries has to be possible at all.
        let Some(tokens) = tokens.filter(|n| (1..=isize::MAX as usize).contains(n)) else {
            return Err(Error::Masking {
                expected: "a grid of at least one token that fits in memory".to_owned(),
                found: format!("{} slices of {}×{}", grid.slices, grid.rows, grid.columns),
            });
        };
        let choices = match kind {
            MaskKind::Tube => tokens / grid.slices,
            MaskKind::Random => tokens,
        };
        let masked = if ratio.is_finite() && ratio > 0.0 { (ratio * choices as f64) as usize } else { 0 };
        if masked == 0 || masked >= choices {
            return Err(Error::Masking {
                expected: format!("a ratio that hides from 1 to {} of {choices} tokens", choices - 1),
                found: format!("{ratio}"),
            });
        }
        Ok(Self { kind, grid, choices, masked, seed })
    }

    /// N, the number of tokens of one clip.
    pub fn num_tokens(&self) -> usize {
        self.grid.slices * self.grid.rows * self.grid.columns
    }

    /// The number of tokens that every sample hides.
    pub fn num_masked(&self) -> usize {
        self.masked * (self.num_tokens() / self.choices)
    }

    /// The mask of sample number `sample`: N entries.
    pub fn mask(&self, sample: u64) -> Vec<bool> {
        let mut generator = SplitMix64::new(self.seed, sample);
        let mut order: Vec<usize> = (0..self.choices).collect();
        let mut mask = vec![false; self.choices];
        // The first steps of a Fisher–Yates shuffle are a choice without replacement.
        for i in 0..self.masked {
            order.swap(i, i + generator.below(self.choices - i));
            mask[order[i]] = true;
        }
        match self.kind {
            MaskKind::Tube => mask.repeat(self.grid.slices),
            MaskKind::Random => mask,
        }
    }

    /// The masks of the samples `first_sample`, `first_sample` + 1, …: `(batch, N)`.
    ///
    /// A training loop that counts its samples can go on after a restart where it stopped.
    pub fn batch(&self, first_sample: u64, batch: usize) -> BoolMaskedPos {
        let data = (0..batch as u64).flat_map(|b| self.mask(first_sample.wrapping_add(b))).collect();
        BoolMaskedPos { data, shape: [batch, self.num_tokens()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 16 frames of 224×224 in tubelets of 2 and patches of 16.
    const BASE: TokenGrid = TokenGrid { slices: 8, rows: 14, columns: 14 };

    fn count(mask: &[bool]) -> usize {
        mask.iter().filter(|&&masked| masked).count()
    }

    #[test]
    fn the_usual_ratio_hides_1408_of_1568_tokens_in_tubes_and_1411_at_random() {
        for (kind, expected) in [(MaskKind::Tube, 1408), (MaskKind::Random, 1411)] {
            let generator = MaskGenerator::new(kind, BASE, 0.9, 42).unwrap();
            assert_eq!((generator.num_tokens(), generator.num_masked()), (1568, expected));
            assert_eq!(count(&generator.mask(3)), expected);
        }
    }

    /// The expected masks come from a few lines of Python that follow the description at the top.
    #[test]
    fn masks_never_change() {
        let grid = TokenGrid { slices: 2, rows: 2, columns: 4 };
        let bits = |kind, sample| {
            let mask = MaskGenerator::new(kind, grid, 0.5, 2026).unwrap().mask(sample);
            mask.iter().map(|&masked| if masked { '1' } else { '0' }).collect::<String>()
        };
        assert_eq!(bits(MaskKind::Tube, 0), "0111100001111000");
        assert_eq!(bits(MaskKind::Tube, 1), "0101101001011010");
        assert_eq!(bits(MaskKind::Random, 0), "1110101000110100");
    }

    #[test]
    fn every_token_is_hidden_equally_often() {
        let grid = TokenGrid { slices: 1, rows: 5, columns: 7 };
        let generator = MaskGenerator::new(MaskKind::Random, grid, 0.4, 1).unwrap();
        let samples = 20_000u64;
        let mut hidden = [0u64; 35];
        for sample in 0..samples {
            generator.mask(sample).iter().zip(&mut hidden).for_each(|(&masked, n)| *n += u64::from(masked));
        }
        // 14 of 35 are hidden: a mean of 8000 with a deviation of √(20000·0.4·0.6) ≈ 69; six of them are allowed.
        assert!(hidden.iter().all(|&n| n.abs_diff(8000) < 6 * 69), "{hidden:?}");
    }

    #[test]
    fn samples_and_seeds_differ() {
        let generator = |seed| MaskGenerator::new(MaskKind::Tube, BASE, 0.75, seed).unwrap();
        let batch = generator(1).batch(5, 4);
        assert_eq!(batch.shape, [4, 1568]);
        let rows: Vec<&[bool]> = batch.data.chunks(1568).collect();
        assert!((0..4).all(|i| rows[i] == generator(1).mask(5 + i as u64)));
        assert!((1..4).all(|i| rows[i] != rows[0]));
        assert_ne!(generator(1).mask(0), generator(2).mask(0));
    }

    #[test]
    fn ratios_that_hide_nothing_or_everything_are_errors() {
        for ratio in [0.0, 1.0, -0.5, 1.5, 0.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(MaskGenerator::new(MaskKind::Tube, BASE, ratio, 0).is_err(), "{ratio}");
        }
        let error = MaskGenerator::new(MaskKind::Tube, BASE, 1.0, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "masking: expected a ratio that hides from 1 to 195 of 196 tokens, found 1"
        );
    }

    #[test]
    fn absurd_grids_are_errors() {
        for slices in [0, usize::MAX] {
            let grid = TokenGrid { slices, rows: 14, columns: 14 };
            assert!(MaskGenerator::new(MaskKind::Random, grid, 0.9, 0).is_err(), "{slices}");
        }
    }

    proptest! {
        #[test]
        fn counts_are_exact_and_tubes_are_straight(
            slices in 1usize..6, rows in 1usize..9, columns in 1usize..9, ratio in 0.0f64..1.0, seed: u64, sample: u64,
        ) {
            let grid = TokenGrid { slices, rows, columns };
            let plane = rows * columns;
            let expected = (ratio * plane as f64) as usize;
            let tube = MaskGenerator::new(MaskKind::Tube, grid, ratio, seed);
            prop_assert_eq!(tube.is_err(), expected == 0);
            if let Ok(tube) = tube {
                let mask = tube.mask(sample);
                prop_assert_eq!(mask.len(), slices * plane);
                prop_assert!(mask.chunks(plane).all(|slice| slice == &mask[..plane] && count(slice) == expected));
            }
            if let Ok(random) = MaskGenerator::new(MaskKind::Random, grid, ratio, seed) {
                prop_assert_eq!(count(&random.mask(sample)), (ratio * (slices * plane) as f64) as usize);
            }
        }
    }
}
