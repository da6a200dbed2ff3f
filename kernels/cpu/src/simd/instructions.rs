//! AVX2 and AVX-512 through the tokens of `pulp`.

use pulp::Simd as _;

use super::{
    Simd,
    token::{F32s, Token},
};

/// A token with the height of a register tile. The height is the only number in which the instruction sets differ;
/// the lanes follow from the token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instructions<T, const TILE_ROWS: usize>(pub(crate) T);

impl<T: Token, const TILE_ROWS: usize> Simd for Instructions<T, TILE_ROWS> {
    type Vector = F32s<T>;

    const LANES: usize = <T::Pulp as pulp::Simd>::F32_LANES;
    const TILE_ROWS: usize = TILE_ROWS;
    const HAS_DOT: bool = T::HAS_DOT;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.vectorize(f)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> F32s<T> {
        self.0.pulp().splat_f32s(x)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> F32s<T> {
        // SAFETY: the caller vouches for `LANES` numbers, which is the size of the vector, and every bit
        // pattern is one.
        unsafe { from.cast::<F32s<T>>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const f32) -> F32s<T> {
        // SAFETY: by this function's contract.
        unsafe { self.0.load_bytes(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: F32s<T>) {
        // SAFETY: the caller vouches for `LANES` numbers, which is the size of the vector.
        unsafe { to.cast::<F32s<T>>().write_unaligned(v) }
    }

    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    fn prefetch(self, address: *const f32) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it reads nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }

    #[inline(always)]
    fn add(self, a: F32s<T>, b: F32s<T>) -> F32s<T> {
        self.0.pulp().add_f32s(a, b)
    }

    #[inline(always)]
    fn sub(self, a: F32s<T>, b: F32s<T>) -> F32s<T> {
        self.0.pulp().sub_f32s(a, b)
    }

    #[inline(always)]
    fn mul(self, a: F32s<T>, b: F32s<T>) -> F32s<T> {
        self.0.pulp().mul_f32s(a, b)
    }

    #[inline(always)]
    fn div(self, a: F32s<T>, b: F32s<T>) -> F32s<T> {
        self.0.pulp().div_f32s(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: F32s<T>, b: F32s<T>, c: F32s<T>) -> F32s<T> {
        self.0.pulp().mul_add_e_f32s(a, b, c)
    }

    #[inline(always)]
    fn max(self, a: F32s<T>, b: F32s<T>) -> F32s<T> {
        self.0.max(a, b)
    }

    #[inline(always)]
    fn select_less(self, a: F32s<T>, b: F32s<T>, yes: F32s<T>, no: F32s<T>) -> F32s<T> {
        self.0.pulp().select_f32s(self.0.pulp().less_than_f32s(a, b), yes, no)
    }

    #[inline(always)]
    fn scale_exponent(self, v: F32s<T>, n: F32s<T>) -> F32s<T> {
        let s = self.0.pulp();
        let exponent =
            s.wrapping_dyn_shl_u32s(s.transmute_u32s_f32s(n), s.splat_u32s(f32::MANTISSA_DIGITS - 1));
        s.transmute_f32s_u32s(s.add_u32s(s.transmute_u32s_f32s(v), exponent))
    }

    #[inline(always)]
    fn low_half(self, words: F32s<T>) -> F32s<T> {
        let s = self.0.pulp();
        s.transmute_f32s_u32s(s.wrapping_dyn_shl_u32s(s.transmute_u32s_f32s(words), s.splat_u32s(16)))
    }

    #[inline(always)]
    fn high_half(self, words: F32s<T>) -> F32s<T> {
        let s = self.0.pulp();
        s.transmute_f32s_u32s(s.and_u32s(s.transmute_u32s_f32s(words), s.splat_u32s(0xffff_0000)))
    }

    #[inline(always)]
    fn multiply_pairs(self, a: F32s<T>, b: F32s<T>, sum: F32s<T>) -> F32s<T> {
        let s = self.0.pulp();
        let products = s.transmute_u32s_i32s(self.0.multiply_adjacent(a, b));
        s.transmute_f32s_u32s(s.add_u32s(s.transmute_u32s_f32s(sum), products))
    }

    #[inline(always)]
    fn integers_to_floats(self, v: F32s<T>) -> F32s<T> {
        let s = self.0.pulp();
        self.0.integers_to_floats(s.transmute_i32s_u32s(s.transmute_u32s_f32s(v)))
    }

    #[inline(always)]
    fn dot_bf16(self, a: F32s<T>, b: F32s<T>, sum: F32s<T>) -> F32s<T> {
        self.0.dot_bf16(a, b, sum)
    }

    #[inline(always)]
    fn join_bf16(self, low: F32s<T>, high: F32s<T>) -> F32s<T> {
        self.0.join_bf16(low, high)
    }

    #[inline(always)]
    fn dot_bytes(self, a: F32s<T>, b: F32s<T>, sum: F32s<T>) -> F32s<T> {
        self.0.dot_bytes(a, b, sum)
    }
}
