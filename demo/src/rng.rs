//! A small random generator whose sequence is ours to keep.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a counter and
/// a mixing function, the same on every machine and in every release.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    counter: u64,
}

/// The streams of one seed: what stays and what moves are drawn independently.
pub(crate) const SCENE_STREAM: u64 = 0;
pub(crate) const MOTION_STREAM: u64 = 1;

/// The counter's step: 2⁶⁴ divided by the golden ratio, made odd, so that every 64-bit value is visited.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// A generator for one seed and one purpose. Purposes with different `stream` numbers are independent, so
    /// that a change to the draws of one leaves the others as they were.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self { counter: mix(mix(seed).wrapping_add(stream)) }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(STEP);
        mix(self.counter)
    }

    /// Uniform in `low..high`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        // The upper 53 bits fill the mantissa of an f64 exactly.
        let unit = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// One of `choices`, all equally likely up to a bias of 2⁻⁶⁰.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.next_u64() % choices.len() as u64) as usize]
    }
}

/// The output function of SplitMix64: each input bit changes about half of the output bits.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_is_that_of_the_published_generator() {
        // Seed 0 of the reference implementation (Vigna, splitmix64.c).
        let mut rng = Rng { counter: 0 };
        assert_eq!(rng.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn uniform_stays_in_range_and_fills_it() {
        let mut rng = Rng::new(1, 0);
        let values: Vec<f64> = (0..1000).map(|_| rng.uniform(-2.0, 3.0)).collect();
        assert!(values.iter().all(|v| (-2.0..3.0).contains(v)));
        assert!(values.iter().any(|&v| v < -1.9) && values.iter().any(|&v| v > 2.9));
    }
}
