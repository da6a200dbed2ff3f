//! The tokens on arrays, on any processor.

use super::token::{F32s, I32s, Token};

fn adjacent(a: u32, b: u32) -> i32 {
    let half = |word: u32, shift: u32| i32::from((word >> shift) as u16 as i16);
    (0..2).map(|i| half(a, 16 * i) * half(b, 16 * i)).sum()
}

macro_rules! emulated {
    ($token:ty, $lanes:literal) => {
        impl Token for $token {
            type Pulp = Self;

            fn pulp(self) -> Self {
                self
            }

            fn max(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
                let (a, b): ([f32; $lanes], [f32; $lanes]) = (pulp::cast(a), pulp::cast(b));
                pulp::cast::<[f32; $lanes], _>(std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] }))
            }

            unsafe fn load_bytes(self, from: *const f32) -> F32s<Self> {
                // SAFETY: the caller vouches for half a vector, which is as many bytes.
                let bytes = unsafe { from.cast::<[i8; 2 * $lanes]>().read_unaligned() };
                pulp::cast::<[i16; 2 * $lanes], _>(bytes.map(i16::from))
            }

            fn multiply_adjacent(self, a: F32s<Self>, b: F32s<Self>) -> I32s<Self> {
                let (a, b): ([u32; $lanes], [u32; $lanes]) = (pulp::cast(a), pulp::cast(b));
                pulp::cast::<[i32; $lanes], _>(std::array::from_fn(|i| adjacent(a[i], b[i])))
            }

            fn integers_to_floats(self, v: I32s<Self>) -> F32s<Self> {
                let v: [i32; $lanes] = pulp::cast(v);
                pulp::cast::<[f32; $lanes], _>(v.map(|v| v as f32))
            }
        }
    };
}
emulated!(pulp::Scalar256b, 8);
emulated!(pulp::Scalar512b, 16);

/// As [`super::token::Avx512Bf16`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct EmulatedDot;

impl Token for EmulatedDot {
    type Pulp = pulp::Scalar512b;

    fn pulp(self) -> pulp::Scalar512b {
        pulp::Scalar512b
    }

    fn max(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        Token::max(self.pulp(), a, b)
    }

    unsafe fn load_bytes(self, from: *const f32) -> F32s<Self> {
        // SAFETY: by this function's contract.
        unsafe { self.pulp().load_bytes(from) }
    }

    fn multiply_adjacent(self, a: F32s<Self>, b: F32s<Self>) -> I32s<Self> {
        self.pulp().multiply_adjacent(a, b)
    }

    fn integers_to_floats(self, v: I32s<Self>) -> F32s<Self> {
        Token::integers_to_floats(self.pulp(), v)
    }

    const HAS_DOT: bool = true;

    fn dot_bf16(self, a: F32s<Self>, b: F32s<Self>, sum: F32s<Self>) -> F32s<Self> {
        let (a, b): ([u32; 16], [u32; 16]) = (pulp::cast(a), pulp::cast(b));
        let sum: [f32; 16] = pulp::cast(sum);
        let half = |word: u32, i: u32| f32::from_bits(word >> (16 * i) << 16);
        pulp::cast::<[f32; 16], _>(std::array::from_fn(|lane| {
            (0..2).fold(sum[lane], |sum, i| sum + half(a[lane], i) * half(b[lane], i))
        }))
    }

    fn join_bf16(self, low: F32s<Self>, high: F32s<Self>) -> F32s<Self> {
        let (low, high): ([f32; 16], [f32; 16]) = (pulp::cast(low), pulp::cast(high));
        let half = |x: f32| u32::from(half::bf16::from_f32(x).to_bits());
        pulp::cast::<[u32; 16], _>(std::array::from_fn(|lane| half(high[lane]) << 16 | half(low[lane])))
    }

    fn dot_bytes(self, a: F32s<Self>, b: F32s<Self>, sum: F32s<Self>) -> F32s<Self> {
        let (a, b): ([[u8; 4]; 16], [[i8; 4]; 16]) = (pulp::cast(a), pulp::cast(b));
        let sum: [i32; 16] = pulp::cast(sum);
        let dot = |lane: usize| (0..4).map(|i| i32::from(a[lane][i]) * i32::from(b[lane][i])).sum::<i32>();
        pulp::cast::<[i32; 16], _>(std::array::from_fn(|lane| sum[lane] + dot(lane)))
    }
}
