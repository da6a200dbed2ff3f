// mma.sync by element type.
#pragma once
#include "types.h"

/// c += a·b, see ptx.h.
template <class T>
__device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]);
template <>
__device__ __forceinline__ void mma<bf16>(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  mma_16x8x16_bf16(c, a, b);
}
template <>
__device__ __forceinline__ void mma<f16>(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  mma_16x8x16_f16(c, a, b);
}

/// Two numbers in one register, `low` in the lower half.
template <class T>
__device__ __forceinline__ u32 pair_of(float low, float high);
template <>
__device__ __forceinline__ u32 pair_of<bf16>(float low, float high) {
  return bf16x2_from_f32(low, high);
}
template <>
__device__ __forceinline__ u32 pair_of<f16>(float low, float high) {
  return f16x2_from_f32(low, high);
}
