//! AVX2 and AVX-512 through the tokens of `pulp`.

use super::Simd;

/// A `pulp` token with the height of a register tile. The height is the only number in which the instruction
/// sets differ; the lanes follow from the token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instructions<S, const TILE_ROWS: usize>(pub(crate) S);

impl<S: pulp::Simd, const TILE_ROWS: usize> Simd for Instructions<S, TILE_ROWS> {
    type Vector = S::f32s;

    const LANES: usize = S::F32_LANES;
    const TILE_ROWS: usize = TILE_ROWS;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.vectorize(Body(f))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> S::f32s {
        self.0.splat_f32s(x)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> S::f32s {
        // SAFETY: the caller vouches for `LANES` numbers, which is the size of the vector, and every bit
        // pattern is one.
        unsafe { from.cast::<S::f32s>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: S::f32s) {
        // SAFETY: the caller vouches for `LANES` numbers, which is the size of the vector.
        unsafe { to.cast::<S::f32s>().write_unaligned(v) }
    }

    #[inline(always)]
    #[cfg(target_arch = "x86_64")]
    fn prefetch(self, address: *const f32) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it reads nothing that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }

    #[inline(always)]
    fn add(self, a: S::f32s, b: S::f32s) -> S::f32s {
        self.0.add_f32s(a, b)
    }

    #[inline(always)]
    fn sub(self, a: S::f32s, b: S::f32s) -> S::f32s {
        self.0.sub_f32s(a, b)
    }

    #[inline(always)]
    fn mul(self, a: S::f32s, b: S::f32s) -> S::f32s {
        self.0.mul_f32s(a, b)
    }

    #[inline(always)]
    fn div(self, a: S::f32s, b: S::f32s) -> S::f32s {
        self.0.div_f32s(a, b)
    }

    #[inline(always)]
    fn mul_add(self, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        self.0.mul_add_e_f32s(a, b, c)
    }

    #[inline(always)]
    fn max(self, a: S::f32s, b: S::f32s) -> S::f32s {
        self.0.max_f32s(a, b)
    }

    #[inline(always)]
    fn select_less(self, a: S::f32s, b: S::f32s, yes: S::f32s, no: S::f32s) -> S::f32s {
        self.0.select_f32s(self.0.less_than_f32s(a, b), yes, no)
    }

    #[inline(always)]
    fn scale_exponent(self, v: S::f32s, n: S::f32s) -> S::f32s {
        let s = self.0;
        let exponent =
            s.wrapping_dyn_shl_u32s(s.transmute_u32s_f32s(n), s.splat_u32s(f32::MANTISSA_DIGITS - 1));
        s.transmute_f32s_u32s(s.add_u32s(s.transmute_u32s_f32s(v), exponent))
    }
}

/// A closure as `pulp` wants it.
struct Body<F>(F);

impl<R, F: FnOnce() -> R> pulp::WithSimd for Body<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> R {
        (self.0)()
    }
}
