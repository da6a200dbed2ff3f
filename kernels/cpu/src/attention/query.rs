//! How queries come to the lanes, and what the integers of int8 stand for.

use super::integers::{UNSIGNED, integers};
use crate::{
    gemm::{Bf16, F32, Int8, Product},
    heads::Heads,
    simd::Simd,
};

/// Which query, and what turns its scores into exponents of two.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) heads: &'a Heads<'a>,
    pub(super) head: usize,
    pub(super) token: usize,
    pub(super) factor: f32,
}

impl<'a> Asked<'a> {
    /// Its words as they lie, of which there are so many.
    #[inline(always)]
    fn words(&self, count: usize) -> impl Iterator<Item = (usize, f32)> + use<'a> {
        let from = self.token * self.heads.stride();
        self.heads.words(0, self.head)[from..from + count].iter().copied().enumerate()
    }
}

/// What is known of the scores of one query.
pub(super) struct Lane {
    /// What they are multiplied by, to be exponents of two. Not negative, so that a maximum stays one.
    pub(super) factor: f32,
    /// What their sums start from, as bits of an integer.
    pub(super) start: i32,
}

impl Lane {
    /// A score that is an exponent already, but for a factor.
    fn of(factor: f32) -> Self {
        Self { factor, start: 0 }
    }
}

/// A product of queries and keys.
pub(crate) trait Query<S: Simd>: Product<S> {
    /// Whether its sums are integers.
    const INTEGERS: bool = false;

    /// Hands out the words of a query. Each piece of memory holds a vector.
    fn take(s: S, query: Asked<'_>, memory: [&mut [f32]; 2], put: impl FnMut(usize, f32)) -> Lane;
}

impl<S: Simd> Query<S> for F32 {
    /// The factor goes into the query, which saves a multiplication for each score.
    #[inline(always)]
    fn take(_: S, query: Asked<'_>, [numbers, _]: [&mut [f32]; 2], mut put: impl FnMut(usize, f32)) -> Lane {
        query.words(numbers.len()).for_each(|(k, word)| put(k, word * query.factor));
        Lane::of(1.0)
    }
}

impl<S: Simd> Query<S> for Bf16 {
    /// Times the factor it would be rounded a second time, so it takes the sign only.
    #[inline(always)]
    fn take(_: S, query: Asked<'_>, [numbers, _]: [&mut [f32]; 2], mut put: impl FnMut(usize, f32)) -> Lane {
        let signs = if query.factor < 0.0 { 0x8000_8000 } else { 0 };
        let words = query.words(numbers.len().div_ceil(2));
        words.for_each(|(k, word)| put(k, f32::from_bits(word.to_bits() ^ signs)));
        Lane::of(query.factor.abs())
    }
}

impl<S: Simd> Query<S> for Int8 {
    const INTEGERS: bool = true;

    #[inline(always)]
    fn take(
        s: S,
        query: Asked<'_>,
        [numbers, words]: [&mut [f32]; 2],
        mut put: impl FnMut(usize, f32),
    ) -> Lane {
        let Asked { heads, head, token, factor } = query;
        heads.read(0, head, token, numbers);
        let words = &mut words[..numbers.len().div_ceil(<Self as Product<S>>::NUMBERS)];
        let scale = integers(s, numbers, factor.signum(), 0, words);
        words.iter().enumerate().for_each(|(k, &word)| put(k, word));
        // Keys are larger by `UNSIGNED` where the product takes bytes.
        let bytes = if S::HAS_DOT { bytemuck::cast_slice::<f32, i8>(words) } else { &[] };
        let sum: i32 = bytes.iter().map(|&x| i32::from(x)).sum();
        Lane { factor: scale * factor.abs(), start: -UNSIGNED * sum }
    }
}
