//! Which seeds serve which purpose.

use crate::{Clip, Label, render};

/// The purposes of clips. The purpose is the upper half of a seed, so no two splits share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// What the checkpoint learns from: seeds from 0.
    Train,
    /// What its training is watched on: seeds from 2³².
    Validation,
    /// What its accuracy is stated on, and nothing else: seeds from 2·2³².
    Test,
    /// The ten encoded clips of `fixtures/clips`: seeds from 3·2³².
    Fixture,
}

/// Clips in [`test_clips`], 50 per label.
pub const NUM_TEST_CLIPS: u32 = 500;

impl Split {
    /// The seed of the clip number `index` of this split.
    pub fn seed(self, index: u32) -> u64 {
        (self as u64) << 32 | u64::from(index)
    }

    /// The label of the clip number `index` of any split: labels take turns, so that every prefix is balanced.
    pub fn label(index: u32) -> Label {
        Label::ALL[index as usize % Label::ALL.len()]
    }

    /// The clip number `index` of this split.
    pub fn clip(self, index: u32) -> (Label, Clip) {
        let label = Self::label(index);
        (label, render(label, self.seed(index)))
    }
}

/// The 500 held-out clips, each from a seed of its own that no training saw. They are rendered one by one as the
/// iterator advances; all together would take 590 MB.
pub fn test_clips() -> impl ExactSizeIterator<Item = (Label, Clip)> {
    // `Range<u32>` knows its length; `map` keeps it.
    (0..NUM_TEST_CLIPS).map(|index| Split::Test.clip(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_meet_nowhere() {
        let splits = [Split::Train, Split::Validation, Split::Test, Split::Fixture];
        for pair in splits.windows(2) {
            assert!(pair[0].seed(u32::MAX) < pair[1].seed(0), "{pair:?}");
        }
    }

    #[test]
    fn test_clips_hold_fifty_of_each_label() {
        let mut counts = [0; Label::ALL.len()];
        for index in 0..NUM_TEST_CLIPS {
            counts[Split::label(index).index()] += 1;
        }
        assert_eq!(counts, [50; 10]);
        assert_eq!(test_clips().len(), 500);
    }
}
