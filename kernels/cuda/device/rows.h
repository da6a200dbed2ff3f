// The rows of a tensor that an op reads or writes: `RowDims` of kernels_backend, with an address.
#pragma once
#include "types.h"

/// Rows offset .. offset + rows of each sample of rows_per_sample rows. As `launch::RowsArgument`.
struct Rows {
  void* data;
  /// Elements between two rows.
  i64 stride;
  int rows, rows_per_sample, offset;
  Type type;
};

/// The index of the first element of the `i`-th row seen, counted through all samples.
__device__ __forceinline__ i64 row_start(const Rows& rows, int i) {
  int sample = i / rows.rows;
  return ((i64)sample * rows.rows_per_sample + rows.offset + (i - sample * rows.rows)) * rows.stride;
}

/// What one thread of an op does that moves rows element by element.
struct Piece {
  int row, column;
};

/// The piece of `count` elements that this thread of a flat grid has; its row is not below `total` where the grid
/// reaches beyond the last.
__device__ __forceinline__ Piece piece_of_thread(int width, int count) {
  i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  int pieces = width / count;
  i64 row = index / pieces;
  return {(int)row, (int)(index - row * pieces) * count};
}

/// `to [+]= from` for one element, or for four at once.
template <class From, class To>
__device__ __forceinline__ void move_piece(const From* from, To* to, int count, int accumulate) {
  if (count == 4) {
    float x[4], old[4] = {0.f, 0.f, 0.f, 0.f};
    load_four(from, x);
    if (accumulate) load_four(to, old);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] += old[i];
    store_four(to, x);
  } else {
    *to = narrow<To>(widen(*from) + (accumulate ? widen(*to) : 0.f));
  }
}

/// As `move_piece`, by runtime types.
__device__ __forceinline__ void move_piece(const Rows& from, i64 from_at, const Rows& to, i64 to_at, int count,
                                           int accumulate) {
  with_type(from.type, [&](auto f) {
    with_type(to.type, [&](auto t) {
      move_piece((const decltype(f)*)from.data + from_at, (decltype(t)*)to.data + to_at, count, accumulate);
    });
  });
}
