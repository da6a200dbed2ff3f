//! Every other processor, through `wide`: SSE2, NEON or WASM vectors, as the target was compiled for.

use wide::{f32x4, i16x8, i32x4, u32x4};

use super::Simd;

/// The instructions that the whole program may use anyway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Simd for Portable {
    type Vector = f32x4;

    /// The widest vector that all three have.
    const LANES: usize = 4;

    /// AArch64 has 32 registers: 24 accumulators, two vectors of B, and the rest for broadcasts. SSE2 and WASM
    /// (which runtimes compile to SSE) have 16 and no fused multiply-add: 8 accumulators leave room for
    /// products.
    const TILE_ROWS: usize = if cfg!(target_arch = "aarch64") { 12 } else { 4 };

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }

    #[inline(always)]
    fn splat(self, x: f32) -> f32x4 {
        f32x4::splat(x)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> f32x4 {
        // SAFETY: the caller vouches for four numbers, which is the size of the array.
        f32x4::new(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const f32) -> f32x4 {
        // SAFETY: the caller vouches for two numbers, which is the size of the array.
        let bytes = unsafe { from.cast::<[i8; 8]>().read_unaligned() };
        bytemuck::cast(i16x8::new(bytes.map(i16::from)))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: f32x4) {
        // SAFETY: the caller vouches for four numbers, which is the size of the array.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(v.to_array()) }
    }

    #[inline(always)]
    fn add(self, a: f32x4, b: f32x4) -> f32x4 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32x4, b: f32x4) -> f32x4 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32x4, b: f32x4) -> f32x4 {
        a * b
    }

    #[inline(always)]
    fn div(self, a: f32x4, b: f32x4) -> f32x4 {
        a / b
    }

    #[inline(always)]
    fn mul_add(self, a: f32x4, b: f32x4, c: f32x4) -> f32x4 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn max(self, a: f32x4, b: f32x4) -> f32x4 {
        a.simd_gt(b).select(a, b)
    }

    #[inline(always)]
    fn select_less(self, a: f32x4, b: f32x4, yes: f32x4, no: f32x4) -> f32x4 {
        a.simd_lt(b).select(yes, no)
    }

    #[inline(always)]
    fn scale_exponent(self, v: f32x4, n: f32x4) -> f32x4 {
        let (v, n): (u32x4, u32x4) = (bytemuck::cast(v), bytemuck::cast(n));
        bytemuck::cast(v + (n << (f32::MANTISSA_DIGITS - 1)))
    }

    #[inline(always)]
    fn low_half(self, words: f32x4) -> f32x4 {
        bytemuck::cast(bytemuck::cast::<_, u32x4>(words) << 16)
    }

    #[inline(always)]
    fn high_half(self, words: f32x4) -> f32x4 {
        bytemuck::cast(bytemuck::cast::<_, u32x4>(words) & u32x4::splat(0xffff_0000))
    }

    #[inline(always)]
    fn multiply_pairs(self, a: f32x4, b: f32x4, sum: f32x4) -> f32x4 {
        let products = bytemuck::cast::<_, i16x8>(a).dot(bytemuck::cast(b));
        bytemuck::cast(products + bytemuck::cast::<_, i32x4>(sum))
    }

    #[inline(always)]
    fn integers_to_floats(self, v: f32x4) -> f32x4 {
        f32x4::from_i32x4(bytemuck::cast(v))
    }
}
