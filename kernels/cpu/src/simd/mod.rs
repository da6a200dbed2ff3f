//! The few vector operations that every kernel is written in.
//!
//! A value of a [`Simd`] type is a token: it exists only where the processor has the instructions, so holding
//! one is the proof that they may be run. Kernels are `#[inline(always)]` functions generic over the token and
//! are compiled for its instruction set inside [`Simd::vectorize`].

#[cfg(test)]
mod emulated;
// Tests also run it on arrays, on any processor.
#[cfg(any(test, target_arch = "x86_64"))]
mod instructions;
mod portable;
#[cfg(any(test, target_arch = "x86_64"))]
mod token;

#[cfg(test)]
pub(crate) use emulated::EmulatedDot;
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) use instructions::Instructions;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use token::Avx512Bf16;

/// Vectors across a register tile. With two, an AVX-512 tile of 14 × 32 takes 28 of 32 registers and an AVX2
/// tile of 6 × 16 takes 12 of 16; both leave room for two vectors of B and the broadcast of A.
pub(crate) const TILE_VECTORS: usize = 2;

/// The most rows a tile has on any instruction set.
pub(crate) const MAX_TILE_ROWS: usize = 14;

/// The most columns a tile has on any instruction set.
pub(crate) const MAX_TILE_COLUMNS: usize = 16 * TILE_VECTORS;

/// A token for one instruction set.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Simd::LANES`] numbers.
    type Vector: Copy;

    /// Numbers in a vector.
    const LANES: usize;

    /// Rows of a register tile, at most [`MAX_TILE_ROWS`].
    const TILE_ROWS: usize;

    /// Columns of a register tile, and so of a panel of packed weights.
    const TILE_COLUMNS: usize = Self::LANES * TILE_VECTORS;

    /// Runs `f` in a function compiled for this instruction set. `f` and all it calls must be inlined.
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::Vector;

    /// Reads a vector.
    ///
    /// # Safety
    /// - `from` is valid for reads of [`Simd::LANES`] numbers; it need not be aligned to a vector.
    unsafe fn load(self, from: *const f32) -> Self::Vector;

    /// Reads twice as many signed bytes as a vector has lanes, each widened to 16 bits.
    ///
    /// # Safety
    /// - `from` is valid for reads of half of [`Simd::LANES`] numbers; it need not be aligned to a vector.
    unsafe fn load_bytes(self, from: *const f32) -> Self::Vector;

    /// Writes a vector.
    ///
    /// # Safety
    /// - `to` is valid for writes of [`Simd::LANES`] numbers; it need not be aligned to a vector.
    unsafe fn store(self, to: *mut f32, v: Self::Vector);

    /// Asks for the cache line of an address, which need not be valid, to be brought into the first-level cache.
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}

    /// a + b
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// a − b
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// a·b
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// a/b
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// a·b + c, fused where the instruction set can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The larger of both; b if either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `yes` where a < b, else `no`; NaN is not less than anything.
    fn select_less(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;

    /// v·2ⁿ by adding the low bits of `n` to the exponent, where `n` holds the integer in its lowest bits.
    fn scale_exponent(self, v: Self::Vector, n: Self::Vector) -> Self::Vector;

    /// The lower half of each 32-bit lane, a bf16 number, as f32.
    fn low_half(self, words: Self::Vector) -> Self::Vector;

    /// The upper half of each 32-bit lane, a bf16 number, as f32.
    fn high_half(self, words: Self::Vector) -> Self::Vector;

    /// Integers: each lane of `sum` plus the product of the lower and that of the upper 16 bits of a and b, all signed.
    fn multiply_pairs(self, a: Self::Vector, b: Self::Vector, sum: Self::Vector) -> Self::Vector;

    /// The 32-bit integer in each lane, rounded to f32.
    fn integers_to_floats(self, v: Self::Vector) -> Self::Vector;

    /// Whether there are [`Simd::dot_bf16`], [`Simd::join_bf16`] and [`Simd::dot_bytes`].
    const HAS_DOT: bool = false;

    /// Each lane of `sum` plus the products of the two bf16 numbers in the lanes of a and b.
    #[inline(always)]
    fn dot_bf16(self, _a: Self::Vector, _b: Self::Vector, _sum: Self::Vector) -> Self::Vector {
        unreachable!("only where HAS_DOT says so")
    }

    /// The nearest bf16 numbers: of `low` in the lower half of each 32-bit lane, of `high` in the upper half.
    #[inline(always)]
    fn join_bf16(self, _low: Self::Vector, _high: Self::Vector) -> Self::Vector {
        unreachable!("only where HAS_DOT says so")
    }

    /// Integers: each lane of `sum` plus the products of the four bytes in the lanes of a, unsigned, and b, signed.
    #[inline(always)]
    fn dot_bytes(self, _a: Self::Vector, _b: Self::Vector, _sum: Self::Vector) -> Self::Vector {
        unreachable!("only where HAS_DOT says so")
    }

    /// The first [`Simd::LANES`] numbers of `from`.
    #[inline(always)]
    fn load_slice(self, from: &[f32]) -> Self::Vector {
        assert!(from.len() >= Self::LANES, "a vector has {} lanes", Self::LANES);
        // SAFETY: the slice has as many numbers as a vector.
        unsafe { self.load(from.as_ptr()) }
    }

    /// Writes to the first [`Simd::LANES`] numbers of `to`.
    #[inline(always)]
    fn store_slice(self, to: &mut [f32], v: Self::Vector) {
        assert!(to.len() >= Self::LANES, "a vector has {} lanes", Self::LANES);
        // SAFETY: the slice has as many numbers as a vector.
        unsafe { self.store(to.as_mut_ptr(), v) }
    }

    /// As [`Simd::load_slice`] for a shorter slice; the lanes past its end hold `fill`.
    #[inline(always)]
    fn load_tail(self, from: &[f32], fill: f32) -> Self::Vector {
        let mut lanes = [fill; MAX_TILE_COLUMNS];
        lanes[..from.len()].copy_from_slice(from);
        self.load_slice(&lanes)
    }

    /// As [`Simd::store_slice`] for a shorter slice; the lanes past its end are dropped.
    #[inline(always)]
    fn store_tail(self, to: &mut [f32], v: Self::Vector) {
        let mut lanes = [0.0; MAX_TILE_COLUMNS];
        self.store_slice(&mut lanes, v);
        to.copy_from_slice(&lanes[..to.len()]);
    }

    /// The sum of the lanes, always in the same order.
    #[inline(always)]
    fn sum_lanes(self, v: Self::Vector) -> f32 {
        let mut lanes = [0.0; MAX_TILE_COLUMNS];
        self.store_slice(&mut lanes, v);
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
        }
        lanes[0]
    }

    /// `row[i] = f(row[i])`, a vector at a time.
    #[inline(always)]
    fn map(self, row: &mut [f32], mut f: impl FnMut(Self::Vector) -> Self::Vector) {
        let mut chunks = row.chunks_exact_mut(Self::LANES);
        for chunk in &mut chunks {
            let v = f(self.load_slice(chunk));
            self.store_slice(chunk, v);
        }
        let tail = chunks.into_remainder();
        if !tail.is_empty() {
            let v = f(self.load_tail(tail, 0.0));
            self.store_tail(tail, v);
        }
    }
}
