//! What `pulp` lacks: integer products and the instructions newer than x86-64-v4.

#[cfg(target_arch = "x86_64")]
use std::mem::transmute;

#[cfg(target_arch = "x86_64")]
use pulp::{
    f32x16, i8x16, i8x32,
    x86::{V3, V4},
};

/// The vector of f32 of a token.
pub(crate) type F32s<T> = <<T as Token>::Pulp as pulp::Simd>::f32s;

/// The vector of i32 of a token.
pub(crate) type I32s<T> = <<T as Token>::Pulp as pulp::Simd>::i32s;

/// A token of `pulp`, or one that goes beyond it.
pub(crate) trait Token: Copy + Send + Sync + 'static {
    /// Most operations.
    type Pulp: pulp::Simd;

    /// The token itself.
    fn pulp(self) -> Self::Pulp;

    /// Runs `f` in a function compiled for the instruction set.
    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        pulp::Simd::vectorize(self.pulp(), Body(f))
    }

    /// As [`super::Simd::max`], which x86-64 has.
    #[inline(always)]
    fn max(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::Simd::max_f32s(self.pulp(), a, b)
    }

    /// As [`super::Simd::load_bytes`].
    ///
    /// # Safety
    /// - `from` is valid for reads of half a vector; it need not be aligned to one.
    unsafe fn load_bytes(self, from: *const f32) -> F32s<Self>;

    /// In each 32-bit lane, the product of the lower plus that of the upper 16 bits, all signed.
    fn multiply_adjacent(self, a: F32s<Self>, b: F32s<Self>) -> I32s<Self>;

    /// Rounds.
    fn integers_to_floats(self, v: I32s<Self>) -> F32s<Self>;

    /// As [`super::Simd::HAS_DOT`].
    const HAS_DOT: bool = false;

    /// As [`super::Simd::dot_bf16`].
    fn dot_bf16(self, _a: F32s<Self>, _b: F32s<Self>, _sum: F32s<Self>) -> F32s<Self> {
        unreachable!("only where HAS_DOT says so")
    }

    /// As [`super::Simd::join_bf16`].
    fn join_bf16(self, _low: F32s<Self>, _high: F32s<Self>) -> F32s<Self> {
        unreachable!("only where HAS_DOT says so")
    }

    /// As [`super::Simd::dot_bytes`].
    fn dot_bytes(self, _a: F32s<Self>, _b: F32s<Self>, _sum: F32s<Self>) -> F32s<Self> {
        unreachable!("only where HAS_DOT says so")
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

#[cfg(target_arch = "x86_64")]
impl Token for V3 {
    type Pulp = Self;

    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const f32) -> F32s<Self> {
        // SAFETY: the caller vouches for half a vector, which is 16 bytes.
        pulp::cast(self.convert_i8x16_to_i16x16(unsafe { from.cast::<i8x16>().read_unaligned() }))
    }

    #[inline(always)]
    fn multiply_adjacent(self, a: F32s<Self>, b: F32s<Self>) -> I32s<Self> {
        self.multiply_wrapping_add_adjacent_i16x16(pulp::cast(a), pulp::cast(b))
    }

    #[inline(always)]
    fn integers_to_floats(self, v: I32s<Self>) -> F32s<Self> {
        self.convert_i32x8_to_f32x8(v)
    }
}

#[cfg(target_arch = "x86_64")]
impl Token for V4 {
    type Pulp = Self;

    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const f32) -> F32s<Self> {
        // SAFETY: the caller vouches for half a vector, which is 32 bytes.
        pulp::cast(self.convert_i8x32_to_i16x32(unsafe { from.cast::<i8x32>().read_unaligned() }))
    }

    #[inline(always)]
    fn multiply_adjacent(self, a: F32s<Self>, b: F32s<Self>) -> I32s<Self> {
        self.multiply_wrapping_add_adjacent_i16x32(pulp::cast(a), pulp::cast(b))
    }

    #[inline(always)]
    fn integers_to_floats(self, v: I32s<Self>) -> F32s<Self> {
        self.convert_i32x16_to_f32x16(v)
    }
}

/// AVX-512 with BF16 and VNNI: Zen 4, Sapphire Rapids and their successors.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16(V4);

#[cfg(target_arch = "x86_64")]
impl Avx512Bf16 {
    /// The token, if this processor has the instructions.
    pub(crate) fn try_new() -> Option<Self> {
        let has_both = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
        V4::try_new().filter(|_| has_both).map(Self)
    }
}

#[cfg(target_arch = "x86_64")]
impl Token for Avx512Bf16 {
    type Pulp = V4;

    #[inline(always)]
    fn pulp(self) -> V4 {
        self.0
    }

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        /// # Safety
        /// - The processor has these features.
        #[target_feature(
            enable = "avx2,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx512vnni"
        )]
        unsafe fn with_features<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: a token exists only where `try_new` found them.
        unsafe { with_features(f) }
    }

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const f32) -> F32s<Self> {
        // SAFETY: by this function's contract.
        unsafe { self.0.load_bytes(from) }
    }

    #[inline(always)]
    fn multiply_adjacent(self, a: F32s<Self>, b: F32s<Self>) -> I32s<Self> {
        self.0.multiply_adjacent(a, b)
    }

    #[inline(always)]
    fn integers_to_floats(self, v: I32s<Self>) -> F32s<Self> {
        Token::integers_to_floats(self.0, v)
    }

    const HAS_DOT: bool = true;

    #[inline(always)]
    fn dot_bf16(self, a: F32s<Self>, b: F32s<Self>, sum: F32s<Self>) -> F32s<Self> {
        use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};
        // SAFETY: a token exists only where the processor has BF16; all these are 512 bits of any pattern.
        unsafe {
            let (a, b) = (transmute::<f32x16, __m512bh>(a), transmute::<f32x16, __m512bh>(b));
            transmute::<__m512, f32x16>(_mm512_dpbf16_ps(transmute::<f32x16, __m512>(sum), a, b))
        }
    }

    #[inline(always)]
    fn join_bf16(self, low: F32s<Self>, high: F32s<Self>) -> F32s<Self> {
        use std::arch::x86_64::{
            __m256bh, __m256i, __m512, __m512i, _mm512_castsi256_si512, _mm512_cvtneps_pbh,
            _mm512_permutex2var_epi16,
        };
        /// One after another from two vectors of 32 numbers; those of the second are counted from 32.
        const ALTERNATE: [u16; 32] = {
            let mut places = [0; 32];
            let mut i = 0;
            while i < 32 {
                places[i] = (i / 2 + i % 2 * 32) as u16;
                i += 1;
            }
            places
        };
        // SAFETY: a token exists only where the processor has BF16 and BW; all these are vectors of any pattern.
        unsafe {
            // Not by a closure: it would be a function of its own, without these instructions.
            let low = _mm512_cvtneps_pbh(transmute::<f32x16, __m512>(low));
            let high = _mm512_cvtneps_pbh(transmute::<f32x16, __m512>(high));
            let low = _mm512_castsi256_si512(transmute::<__m256bh, __m256i>(low));
            let high = _mm512_castsi256_si512(transmute::<__m256bh, __m256i>(high));
            let places = transmute::<[u16; 32], __m512i>(ALTERNATE);
            transmute::<__m512i, f32x16>(_mm512_permutex2var_epi16(low, places, high))
        }
    }

    #[inline(always)]
    fn dot_bytes(self, a: F32s<Self>, b: F32s<Self>, sum: F32s<Self>) -> F32s<Self> {
        use std::arch::x86_64::{__m512i, _mm512_dpbusd_epi32};
        // SAFETY: a token exists only where the processor has VNNI; all these are 512 bits of any pattern.
        unsafe {
            let (a, b) = (transmute::<f32x16, __m512i>(a), transmute::<f32x16, __m512i>(b));
            transmute::<__m512i, f32x16>(_mm512_dpbusd_epi32(transmute::<f32x16, __m512i>(sum), a, b))
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{super::EmulatedDot, *};

    /// Pairs of bf16 of moderate size: NaN, infinities and denormals are treated by the instructions in their own way.
    fn lanes(seed: u32) -> [f32; 16] {
        std::array::from_fn(|i| {
            let bits = (seed + i as u32).wrapping_mul(0x9e37_79b9);
            f32::from_bits((bits & 0x8fff_8fff) | 0x3000_3000)
        })
    }

    #[test]
    fn the_instructions_compute_what_the_emulation_does() {
        let Some(native) = Avx512Bf16::try_new() else {
            return eprintln!("skipped: no AVX-512 with BF16 and VNNI");
        };
        for seed in (0..1000).step_by(16) {
            let [a, b, sum] = [lanes(seed), lanes(seed + 5000), lanes(seed + 9000)];
            let vectors: [F32s<EmulatedDot>; 3] = [a, b, sum].map(pulp::cast);
            let [x, y, z]: [f32x16; 3] = [a, b, sum].map(pulp::cast);
            let bits = |v: f32x16| -> [u32; 16] { pulp::cast(v) };
            let expected: [u32; 16] = pulp::cast(EmulatedDot.join_bf16(vectors[0], vectors[1]));
            assert_eq!(bits(native.vectorize(|| native.join_bf16(x, y))), expected, "join_bf16 {a:?} {b:?}");
            let expected: [u32; 16] = pulp::cast(EmulatedDot.dot_bytes(vectors[0], vectors[1], vectors[2]));
            assert_eq!(
                bits(native.vectorize(|| native.dot_bytes(x, y, z))),
                expected,
                "dot_bytes {a:?} {b:?}"
            );
            let expected: [f32; 16] = pulp::cast(EmulatedDot.dot_bf16(vectors[0], vectors[1], vectors[2]));
            let found: [f32; 16] = pulp::cast(native.vectorize(|| native.dot_bf16(x, y, z)));
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} {expected}");
            }
        }
    }
}
