//! Random numbers that depend on nothing but their key, the same on every platform.

/// The odd constant of SplitMix64 (2⁶⁴ divided by the golden ratio): the step from one state to the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): integer arithmetic
/// only, so that a seed gives the same masks on every machine and in every release.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The generator of stream `stream` under `seed`; streams are scattered by [`hash`].
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self { state: hash(seed, stream) }
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number below `bound`, by the high half of a product. Its bias is below `bound / 2⁶⁴`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// Output number `index` of the generator that starts at `seed`, without the ones before it.
pub(crate) fn hash(seed: u64, index: u64) -> u64 {
    mix(seed.wrapping_add(STEP.wrapping_mul(index.wrapping_add(1))))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        // The first outputs for the state 0, as the published reference implementation prints them.
        let mut generator = SplitMix64 { state: 0 };
        assert_eq!(generator.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(generator.next(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(hash(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(hash(0, 1), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn below_stays_below() {
        let mut generator = SplitMix64::new(1, 2);
        assert!((0..1000).all(|_| generator.below(7) < 7));
        assert_eq!(generator.below(1), 0);
    }
}
