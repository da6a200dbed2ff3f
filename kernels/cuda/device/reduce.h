// Sums and maxima over a warp and over a block. Every thread gets the result, and the order of additions is fixed, so
// that the same input gives the same bits.
#pragma once
#include "ptx.h"

constexpr u32 ALL_LANES = 0xffffffffu;

__device__ __forceinline__ int lane_index() { return threadIdx.x % 32; }
__device__ __forceinline__ int warp_index() { return threadIdx.x / 32; }

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int distance = 16; distance; distance /= 2) x += __shfl_xor_sync(ALL_LANES, x, distance);
  return x;
}

/// NaN does not count: fmaxf passes over it.
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int distance = 16; distance; distance /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, distance));
  return x;
}

/// The largest, or the sum, of what four neighbours hold: those that share a row of what mma.sync and wgmma make.
template <class Join>
__device__ __forceinline__ float of_four(float x, Join join) {
#pragma unroll
  for (int distance = 1; distance < 4; distance *= 2) x = join(x, __shfl_xor_sync(ALL_LANES, x, distance));
  return x;
}

/// A number for each warp, which all reductions of a kernel use in turn.
template <int THREADS>
__device__ __forceinline__ float* block_partials() {
  SHARED(float, partials, THREADS / 32);
  return partials;
}

template <int THREADS, class Reduce>
__device__ __forceinline__ float block_reduce(float x, Reduce reduce) {
  float* partial = block_partials<THREADS>();
  if (lane_index() == 0) partial[warp_index()] = x;
  __syncthreads();
  float result = partial[0];
#pragma unroll
  for (int warp = 1; warp < THREADS / 32; ++warp) result = reduce(result, partial[warp]);
  // The next reduction writes there again.
  __syncthreads();
  return result;
}

/// For a block of exactly THREADS threads in one dimension.
template <int THREADS>
__device__ __forceinline__ float block_sum(float x) {
  return block_reduce<THREADS>(warp_sum(x), [](float a, float b) { return a + b; });
}

/// As `block_sum`.
template <int THREADS>
__device__ __forceinline__ float block_max(float x) {
  return block_reduce<THREADS>(warp_max(x), [](float a, float b) { return fmaxf(a, b); });
}
