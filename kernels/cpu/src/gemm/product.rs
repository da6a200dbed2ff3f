//! What a 32-bit word of x and of a weight hold, and how they are multiplied.
//!
//! A word is the unit of every precision: one f32, two bf16, or bytes. So one loop serves all of them: it broadcasts
//! a word of x, loads vectors of words of the weight, and keeps sums of 32 bits, floats or integers. In memory a weight
//! may take less than it does in a register.

use crate::simd::Simd;

/// One precision on one instruction set. Words and sums travel as [`Simd::Vector`] whatever they hold.
pub(crate) trait Product<S: Simd>: 'static {
    /// Numbers in a word.
    const NUMBERS: usize;

    /// Steps in which a word is multiplied.
    const STEPS: usize = 1;

    /// Rows of a register tile.
    const TILE_ROWS: usize = S::TILE_ROWS;

    /// The memory of a vector of weights, in words.
    const VECTOR_WORDS: usize = S::LANES;

    /// Loads a vector of weights.
    ///
    /// # Safety
    /// - `from` is valid for reads of [`Product::VECTOR_WORDS`] words.
    #[inline(always)]
    unsafe fn load_vector(s: S, from: *const f32) -> S::Vector {
        // SAFETY: by this function's contract: where the number of words differs, so does this function.
        unsafe { s.load(from) }
    }

    /// What of a word is multiplied in a step.
    #[inline(always)]
    fn part(_: S, word: S::Vector, _step: usize) -> S::Vector {
        word
    }

    /// a·b + sum
    fn multiply_add(s: S, a: S::Vector, b: S::Vector, sum: S::Vector) -> S::Vector;
}

/// A precision of floats, which need no scales.
pub(crate) trait Float<S: Simd>: Product<S> {
    /// The words of [`Product::NUMBERS`] numbers; the second is used where a word holds two.
    fn words(s: S, numbers: [S::Vector; 2]) -> S::Vector;
}

/// Single precision.
pub(crate) struct F32;

impl<S: Simd> Float<S> for F32 {
    #[inline(always)]
    fn words(_: S, [numbers, _]: [S::Vector; 2]) -> S::Vector {
        numbers
    }
}

impl<S: Simd> Product<S> for F32 {
    const NUMBERS: usize = 1;

    #[inline(always)]
    fn multiply_add(s: S, a: S::Vector, b: S::Vector, sum: S::Vector) -> S::Vector {
        s.mul_add(a, b, sum)
    }
}

/// Pairs of bf16, the earlier one in the lower half, summed in f32. Without an instruction for it a word is widened half
/// by half, which leaves a register tile bound by its multiply-adds, as fast as f32.
pub(crate) struct Bf16;

impl<S: Simd> Product<S> for Bf16 {
    const NUMBERS: usize = 2;
    const STEPS: usize = if S::HAS_DOT { 1 } else { 2 };
    /// Both halves of a word want registers too: with six rows instead of four, AVX2 spills and takes four times as
    /// long.
    const TILE_ROWS: usize = if S::HAS_DOT { S::TILE_ROWS } else { (2 * S::TILE_ROWS).div_ceil(3) };

    #[inline(always)]
    fn part(s: S, word: S::Vector, step: usize) -> S::Vector {
        match step {
            _ if S::HAS_DOT => word,
            0 => s.low_half(word),
            _ => s.high_half(word),
        }
    }

    #[inline(always)]
    fn multiply_add(s: S, a: S::Vector, b: S::Vector, sum: S::Vector) -> S::Vector {
        if S::HAS_DOT { s.dot_bf16(a, b, sum) } else { s.mul_add(a, b, sum) }
    }
}

impl<S: Simd> Float<S> for Bf16 {
    #[inline(always)]
    fn words(s: S, [earlier, later]: [S::Vector; 2]) -> S::Vector {
        s.join_bf16(earlier, later)
    }
}

/// Bytes, unsigned in x and signed in the weight, summed in i32. Without an instruction for it they lie in pairs of
/// 16 bits: `vpmaddubsw`, which takes bytes, loses sums above 2¹⁵.
pub(crate) struct Int8;

impl<S: Simd> Product<S> for Int8 {
    const NUMBERS: usize = if S::HAS_DOT { 4 } else { 2 };

    #[inline(always)]
    fn multiply_add(s: S, a: S::Vector, b: S::Vector, sum: S::Vector) -> S::Vector {
        if S::HAS_DOT { s.dot_bytes(a, b, sum) } else { s.multiply_pairs(a, b, sum) }
    }
}

/// [`Int8`] with weights that are bytes in memory on every instruction set. Without an instruction for bytes they are
/// widened as they are loaded, once for all rows of a tile, which took no more time on Zen 3; x is not, as its words are
/// broadcast one by one.
pub(crate) struct Int8Weights;

impl<S: Simd> Product<S> for Int8Weights {
    const NUMBERS: usize = <Int8 as Product<S>>::NUMBERS;
    const VECTOR_WORDS: usize = if S::HAS_DOT { S::LANES } else { S::LANES / 2 };

    #[inline(always)]
    unsafe fn load_vector(s: S, from: *const f32) -> S::Vector {
        // SAFETY: by the contract of this function, which counts the words as both do.
        unsafe { if S::HAS_DOT { s.load(from) } else { s.load_bytes(from) } }
    }

    #[inline(always)]
    fn multiply_add(s: S, a: S::Vector, b: S::Vector, sum: S::Vector) -> S::Vector {
        <Int8 as Product<S>>::multiply_add(s, a, b, sum)
    }
}

const _: () =
    assert!(cfg!(target_endian = "little"), "the earlier number of a word lies lower, also in memory");

/// The integer nearest to a number of less than 2²², in two's complement in the lowest bits; a tie goes to the even one.
#[inline(always)]
pub(crate) fn nearest_code(x: f32) -> u32 {
    // Beside 1.5·2²³ there is no room for a fraction.
    (x + 12_582_912.0).to_bits()
}

/// The bf16 nearest to a number, in the lower half. NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_code(x: f32) -> u32 {
    let bits = x.to_bits();
    // Half of what is cut off, and a tie goes to the even neighbour.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    (if x.is_nan() { bits | 0x0040_0000 } else { rounded }) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_as_half_does_it() {
        let special = [0.0, -0.0, 1.0, 1.003_906_3, 1.011_718_8, f32::INFINITY, f32::MIN, 1e-40, -3.3e-39];
        let spread = (0..1000u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9)));
        for x in special.into_iter().chain(spread) {
            let (expected, found) = (half::bf16::from_f32(x), half::bf16::from_bits(bf16_code(x) as u16));
            assert!(expected == found || expected.is_nan() && found.is_nan(), "{x}: {expected} and {found}");
        }
    }

    #[test]
    fn the_nearest_integer_is_in_the_lowest_bits() {
        for (x, expected) in
            [(0.0, 0), (0.5, 0), (1.5, 2), (254.6, 255), (-0.5, 0), (-1.5, -2), (-127.0, -127)]
        {
            let code = nearest_code(x);
            assert_eq!((code as u8, code as u16), (expected as u8, expected as u16), "{x}");
        }
    }
}
