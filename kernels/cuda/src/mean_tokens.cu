// y[b] = mean over i of x[b, i].
//
// Bound by memory. A block takes 32 columns of a sample: each of its 8 warps adds every eighth row, then the first warp
// adds their sums. So even one clip of 1568 tokens and 768 columns is 24 blocks of 8 warps.
#include "reduce.h"
#include "rows.h"

struct MeanTokens {
  Rows x, y;
  int width;
};

constexpr int WARPS = 8;

KERNEL(32 * WARPS, 1, mean_tokens, const __grid_constant__ MeanTokens p) {
  SHARED(float, sums, WARPS * 32);
  int sample = blockIdx.y, column = blockIdx.x * 32 + lane_index();
  float sum = 0.f;
  if (column < p.width) {
    with_type(p.x.type, [&](auto type) {
      auto* x = (const decltype(type)*)p.x.data + row_start(p.x, sample * p.x.rows) + column;
      for (int row = warp_index(); row < p.x.rows; row += WARPS) sum += widen(x[row * p.x.stride]);
    });
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp_index() > 0 || column >= p.width) return;
  for (int warp = 1; warp < WARPS; ++warp) sum += sums[warp * 32 + lane_index()];
  with_type(p.y.type, [&](auto type) {
    using T = decltype(type);
    ((T*)p.y.data)[row_start(p.y, sample) + column] = narrow<T>(sum / p.x.rows);
  });
}
