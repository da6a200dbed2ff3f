// y = [y +] activation(x·Wᵀ + b), with products and sums in f32: the kernel for f32, and for every shape and mixture of
// types that the tensor-core kernels do not take.
//
// A block of 256 threads makes a tile of 128 × 128 of y. It goes along the input features in steps of 16: the step's
// pieces of x and W are brought to shared memory, with the features as rows, so that a thread then reads the 8 + 8 numbers
// it needs of each feature as four vectors and makes 64 multiply-adds of them. While a step is computed, the next one is
// already on its way to registers. Threads of a warp make rows and columns in two groups of four, 64 apart, so that their
// vectors fall into different banks.
//
// x is rounded to the precision of the weights before it is multiplied, as the reference does.
#include "epilogue.h"

struct Linear {
  Rows x;
  /// (out, in), with rows `weight_stride` apart.
  const void* weight;
  i64 weight_stride;
  Epilogue epilogue;
  int rows, inputs, outputs;
};

constexpr int TILE = 128, STEP = 16, THREADS = 256;
/// Numbers of x, and as many of W, that a thread brings in a step.
constexpr int BROUGHT = TILE * STEP / THREADS;
/// Four more than a tile, so that the columns of a transposed store fall into different banks.
constexpr int PADDED = TILE + 4;

/// `BROUGHT` numbers of a row from `column` on, zeros beyond its end.
template <class T>
__device__ __forceinline__ void bring(const T* row, int column, int width, bool in_fours, float (&to)[BROUGHT]) {
#pragma unroll
  for (int i = 0; i < BROUGHT; i += 4) {
    float four[4] = {0.f, 0.f, 0.f, 0.f};
    if (in_fours && column + i + 4 <= width) {
      load_four(row + column + i, four);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (column + i + j < width) four[j] = widen(row[column + i + j]);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) to[i + j] = four[j];
  }
}

template <class W>
__device__ __forceinline__ void linear_tile(const Linear& p) {
  SHARED(float, tiles, 2 * STEP * PADDED);
  float *x_tile = tiles, *w_tile = tiles + STEP * PADDED;
  const int first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
  // Who brings what: two threads share a row of x and a row of W.
  const int own = threadIdx.x / 2, part = threadIdx.x % 2 * BROUGHT;
  const int x_row = min(first_row + own, p.rows - 1), w_row = min(first_column + own, p.outputs - 1);
  const i64 x_start = row_start(p.x, x_row);
  const W* weight = (const W*)p.weight + w_row * p.weight_stride;
  const bool x_in_fours = p.x.stride % 4 == 0;
  float x_next[BROUGHT], w_next[BROUGHT];
  auto bring_step = [&](int step) {
    with_type(p.x.type, [&](auto type) {
      bring((const decltype(type)*)p.x.data + x_start, step + part, p.inputs, x_in_fours, x_next);
    });
    // Rows of weights are padded to multiples of eight.
    bring(weight, step + part, p.inputs, true, w_next);
  };
  // Who makes what: rows 4·i and 64 + 4·i, columns 4·j and 64 + 4·j of the tile.
  const int i0 = threadIdx.x / 16 * 4, j0 = threadIdx.x % 16 * 4;
  float sums[8][8] = {};

  bring_step(0);
  for (int step = 0; step < p.inputs; step += STEP) {
#pragma unroll
    for (int i = 0; i < BROUGHT; ++i) {
      x_tile[(part + i) * PADDED + own] = rounded<W>(x_next[i]);
      w_tile[(part + i) * PADDED + own] = w_next[i];
    }
    __syncthreads();
    if (step + STEP < p.inputs) bring_step(step + STEP);
#pragma unroll
    for (int k = 0; k < STEP; ++k) {
      float x[8], w[8];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        Four<float> rows = *(const Four<float>*)&x_tile[k * PADDED + half * 64 + i0];
        Four<float> columns = *(const Four<float>*)&w_tile[k * PADDED + half * 64 + j0];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          x[half * 4 + i] = rows.element[i];
          w[half * 4 + i] = columns.element[i];
        }
      }
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] += x[i] * w[j];
    }
    // The next step is written where this one was read.
    __syncthreads();
  }
  // A quarter of the tile at a time to where the pieces of x and W were, so that neighbours then store neighbouring
  // columns, and the epilogue's code is there four times and not 64.
#pragma unroll
  for (int quarter = 0; quarter < 4; ++quarter) {
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
        tiles[(threadIdx.x / 16 * 2 + i) * PADDED + j / 4 * 64 + j0 + j % 4] = sums[quarter * 2 + i][j];
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < TILE / 4 * TILE; i += THREADS) {
      int line = i / TILE, column = i % TILE;
      int row = first_row + quarter / 2 * 64 + line / 2 * 4 + quarter % 2 * 2 + line % 2;
      if (row < p.rows && first_column + column < p.outputs)
        store_result(p.epilogue, row, first_column + column, tiles[line * PADDED + column]);
    }
    __syncthreads();
  }
}

KERNEL(THREADS, 2, linear_f32, const __grid_constant__ Linear p) { linear_tile<float>(p); }
KERNEL(THREADS, 1, linear_bf16, const __grid_constant__ Linear p) { linear_tile<bf16>(p); }
KERNEL(THREADS, 2, linear_f16, const __grid_constant__ Linear p) { linear_tile<f16>(p); }
