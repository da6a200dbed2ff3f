// y = (x − mean) / sqrt(var + eps) · weight + bias over each row, with the biased variance.
//
// Bound by memory. A warp takes a row, so no barrier is needed; it goes over it three times (sum, squared deviations,
// result), of which the last two find the row in the first-level cache: eight rows of 1280 numbers are 40 KiB. Deviations
// from the mean, instead of a sum of squares, keep the variance of rows far from zero; their own mean makes up for the
// rounding of the first one, which a row of little variance far from zero would show.
#include "reduce.h"
#include "rows.h"

struct LayerNorm {
  Rows x, y;
  const float *weight, *bias;
  /// Mean and 1/sqrt(var + eps) of each row; may be null.
  float* stats;
  int total, width;
  /// Elements of an access: 4, or 1 where rows do not start at multiples of four.
  int count;
  float eps;
};

/// `body(column, x)` for the elements of a row that this lane has.
template <int COUNT, class T, class Body>
__device__ __forceinline__ void for_each_piece(const T* row, int width, Body body) {
  // More copies of the loop make the kernel longer by each of its eighteen versions, and no faster.
#pragma unroll 1
  for (int column = lane_index() * COUNT; column < width; column += 32 * COUNT) {
    float x[COUNT];
    if constexpr (COUNT == 4) load_four(row + column, x);
    else x[0] = widen(row[column]);
    body(column, x);
  }
}

template <int COUNT, class X, class Y>
__device__ __forceinline__ void layer_norm_row(const LayerNorm& p, int row, const X* x, Y* y) {
  float sum = 0.f;
  for_each_piece<COUNT>(x, p.width, [&](int, const float(&x)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) sum += x[i];
  });
  const float rough = warp_sum(sum) / p.width;
  float rests = 0.f, squares = 0.f;
  for_each_piece<COUNT>(x, p.width, [&](int, const float(&x)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      rests += x[i] - rough;
      squares += (x[i] - rough) * (x[i] - rough);
    }
  });
  // What the rounding of the mean left over.
  const float rest = warp_sum(rests) / p.width;
  const float rstd = 1.f / sqrtf(warp_sum(squares) / p.width - rest * rest + p.eps);
  for_each_piece<COUNT>(x, p.width, [&](int column, const float(&x)[COUNT]) {
    float weight[COUNT], bias[COUNT], result[COUNT];
    if constexpr (COUNT == 4) {
      load_four(p.weight + column, weight);
      load_four(p.bias + column, bias);
    } else {
      weight[0] = p.weight[column];
      bias[0] = p.bias[column];
    }
#pragma unroll
    for (int i = 0; i < COUNT; ++i) result[i] = (x[i] - rough - rest) * rstd * weight[i] + bias[i];
    if constexpr (COUNT == 4) store_four(y + column, result);
    else y[column] = narrow<Y>(result[0]);
  });
  if (p.stats && lane_index() == 0) {
    p.stats[2 * row] = rough + rest;
    p.stats[2 * row + 1] = rstd;
  }
}

KERNEL(256, 1, layer_norm, const __grid_constant__ LayerNorm p) {
  int row = blockIdx.x * (blockDim.x / 32) + warp_index();
  if (row >= p.total) return;
  with_type(p.x.type, [&](auto x_type) {
    with_type(p.y.type, [&](auto y_type) {
      auto* x = (const decltype(x_type)*)p.x.data + row_start(p.x, row);
      auto* y = (decltype(y_type)*)p.y.data + row_start(p.y, row);
      if (p.count == 4) layer_norm_row<4>(p, row, x, y);
      else layer_norm_row<1>(p, row, x, y);
    });
  });
}
