//! Random numbers that a seed and a name give again.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    /// The numbers of `name` under a seed: those of one check do not depend on which others run.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        // 64 bits of FNV-1a.
        let hash = name
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
        Self(seed ^ hash)
    }

    /// The next 64 bits (Steele, Lea and Flood, 2014: SplitMix64).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// `count` numbers, uniform in [−1, 1).
    pub(crate) fn signed(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// `count` integers below `bound`.
    pub(crate) fn below(&mut self, count: usize, bound: usize) -> Vec<i32> {
        (0..count).map(|_| (self.next() % bound.max(1) as u64) as i32).collect()
    }

    /// `count` numbers of any sign and any exponent that an f32 has, NaN and infinities among them.
    pub(crate) fn bits(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| f32::from_bits((self.next() >> 32) as u32)).collect()
    }

    /// `count` of `bound` places, ascending and spread over all of them, the first and the last among them.
    pub(crate) fn spread(&mut self, count: usize, bound: usize) -> Vec<usize> {
        if count >= bound {
            return (0..bound).collect();
        }
        let start = |i: usize| i * bound / count;
        let mut places: Vec<_> =
            (0..count).map(|i| start(i) + self.next() as usize % (start(i + 1) - start(i))).collect();
        if let [first, .., last] = &mut places[..] {
            (*first, *last) = (0, bound - 1);
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_name_give_the_same_numbers_and_others_give_others() {
        let draw = |seed, name| Noise::new(seed, name).signed(8);
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert!(Noise::new(3, "").signed(1000).iter().all(|x| (-1.0..1.0).contains(x)));
    }

    #[test]
    fn spread_places_ascend_and_reach_both_ends() {
        for (count, bound) in [(5, 100), (2, 2), (7, 3), (1, 9), (99, 100), (3, 0)] {
            let places = Noise::new(7, "x").spread(count, bound);
            assert_eq!(places.len(), count.min(bound));
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]) && places.iter().all(|&i| i < bound));
            if count > 1 && bound > 1 {
                assert_eq!((places[0], places.last().copied()), (0, Some(bound - 1)));
            }
        }
    }
}
