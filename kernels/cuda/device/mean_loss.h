// Losses that are a mean over elements of x and target: each block adds up its share, then `mean_loss.cu` adds the blocks.
#pragma once
#include "reduce.h"
#include "types.h"

/// As `mean_loss::MeanLoss`.
struct MeanLoss {
  const void *x, *target;
  /// Null for none.
  void* gradient;
  /// A sum for each block.
  float* partials;
  i64 count;
  Type x_type, target_type, gradient_type;
};

constexpr int THREADS = 256;

struct Term {
  float loss, derivative;
};

/// `term(x, target)` is the loss of an element and its derivative by x.
template <class F>
__device__ __forceinline__ void add_up(const MeanLoss& p, F term) {
  float sum = 0.f;
  with_type(p.x_type, [&](auto x_type) {
    with_type(p.target_type, [&](auto target_type) {
#pragma unroll 1
      for (i64 i = (i64)blockIdx.x * THREADS + threadIdx.x; i < p.count; i += (i64)gridDim.x * THREADS) {
        Term of_i = term(widen(((const decltype(x_type)*)p.x)[i]), widen(((const decltype(target_type)*)p.target)[i]));
        sum += of_i.loss;
        if (p.gradient) {
          with_type(p.gradient_type, [&](auto type) {
            using T = decltype(type);
            ((T*)p.gradient)[i] = narrow<T>(of_i.derivative / p.count);
          });
        }
      }
    });
  });
  sum = block_sum<THREADS>(sum);
  if (threadIdx.x == 0) p.partials[blockIdx.x] = sum;
}
