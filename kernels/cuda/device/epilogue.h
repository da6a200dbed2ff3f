// What a linear layer does with a product before it reaches memory: y = [y +] activation(product + bias).
#pragma once
#include "activation.h"
#include "rows.h"

/// As `linear::EpilogueArgument`.
struct Epilogue {
  Rows y;
  /// Keeps product + bias; its data is null for none.
  Rows pre_activation;
  /// (out), f32.
  const float* bias;
  Activation activation;
  int accumulate;
  /// Where y is laid out by head, `(B, 3, h, N, d)`: 3·h and d. Else zero.
  int parts, head_dim;
};

/// The flat index in y of a number of a row.
__device__ __forceinline__ i64 result_index(const Epilogue& e, int row, int column) {
  if (!e.parts) return row_start(e.y, row) + column;
  int part = column / e.head_dim, sample = row / e.y.rows, token = row - sample * e.y.rows;
  return (((i64)sample * e.parts + part) * e.y.rows + token) * e.head_dim + column - part * e.head_dim;
}

/// One number of the product, to memory.
__device__ __forceinline__ void store_result(const Epilogue& e, int row, int column, float product) {
  float z = product + e.bias[column];
  if (e.pre_activation.data) {
    i64 at = row_start(e.pre_activation, row) + column;
    with_type(e.pre_activation.type, [&](auto type) {
      using T = decltype(type);
      ((T*)e.pre_activation.data)[at] = narrow<T>(z);
    });
  }
  float result = activate(e.activation, z);
  i64 at = result_index(e, row, column);
  with_type(e.y.type, [&](auto type) {
    using T = decltype(type);
    T* y = (T*)e.y.data + at;
    *y = narrow<T>(e.accumulate ? widen(*y) + result : result);
  });
}

/// As `store_result` for eight neighbours, which start at a multiple of eight: in y, and in a head where y is laid out so.
__device__ __forceinline__ void store_results(const Epilogue& e, int row, int column, float (&x)[8]) {
  float bias[8];
  load_eight(e.bias + column, bias);
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] += bias[i];
  if (e.pre_activation.data) {
    i64 at = row_start(e.pre_activation, row) + column;
    with_type(e.pre_activation.type, [&](auto type) { store_eight((decltype(type)*)e.pre_activation.data + at, x); });
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = activate(e.activation, x[i]);
  i64 at = result_index(e, row, column);
  with_type(e.y.type, [&](auto type) {
    auto y = (decltype(type)*)e.y.data + at;
    if (e.accumulate) {
      float old[8];
      load_eight(y, old);
#pragma unroll
      for (int i = 0; i < 8; ++i) x[i] += old[i];
    }
    store_eight(y, x);
  });
}
