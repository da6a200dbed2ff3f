// Queries, keys and values of each head, in either layout of qkv.
#pragma once
#include "types.h"

/// As `attention::QkvArgument`.
struct Qkv {
  const void* data;
  Type type;
  int tokens, num_heads, head_dim;
  /// Whether qkv is `(B, 3, h, N, d)`, else `(B, N, 3, h, d)`.
  int by_head;
};

/// Elements between two tokens of a head.
__device__ __forceinline__ i64 token_stride(const Qkv& qkv) {
  return qkv.by_head ? qkv.head_dim : (i64)3 * qkv.num_heads * qkv.head_dim;
}

/// The first element of q (0), k (1) or v (2) of a head; head h of sample b is number b·num_heads + h.
__device__ __forceinline__ i64 head_start(const Qkv& qkv, int head_of_all, int which) {
  int sample = head_of_all / qkv.num_heads, head = head_of_all - sample * qkv.num_heads;
  i64 part = which * qkv.num_heads + head;
  if (qkv.by_head) return ((i64)sample * 3 * qkv.num_heads + part) * qkv.tokens * qkv.head_dim;
  return (i64)sample * qkv.tokens * token_stride(qkv) + part * qkv.head_dim;
}
