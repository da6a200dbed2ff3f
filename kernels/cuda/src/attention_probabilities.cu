// probabilities = softmax(scale·q·kᵀ), (B, h, N, N), for whoever wants to look at them.
//
// Slow: a warp takes a query and computes each score twice, once for the running maximum and sum and once for the result,
// so that it needs no memory for them.
#include "heads.h"
#include "reduce.h"
#include "rows.h"

struct AttentionProbabilities {
  Qkv qkv;
  Rows probabilities;
  int total;
  float scale;
};

KERNEL(256, 1, attention_probabilities, const __grid_constant__ AttentionProbabilities p) {
  const Qkv& qkv = p.qkv;
  int row = blockIdx.x * (blockDim.x / 32) + warp_index();
  if (row >= p.total) return;
  int head = row / qkv.tokens, token = row - head * qkv.tokens;
  i64 stride = token_stride(qkv), q_start = head_start(qkv, head, 0) + token * stride;
  i64 k_start = head_start(qkv, head, 1);

  auto score = [&](int key) {
    float sum = 0.f;
    with_type(qkv.type, [&](auto type) {
      auto* q = (const decltype(type)*)qkv.data + q_start;
      auto* k = (const decltype(type)*)qkv.data + k_start + key * stride;
#pragma unroll 4
      for (int i = 0; i < qkv.head_dim; ++i) sum += widen(q[i]) * widen(k[i]);
    });
    return sum * p.scale;
  };

  float largest = -infinity();
  bool bad = false;
  for (int key = lane_index(); key < qkv.tokens; key += 32) {
    float s = score(key);
    bad |= s != s;
    largest = fmaxf(largest, s);
  }
  largest = warp_max(largest);
  float sum = bad ? not_a_number() : 0.f;
  for (int key = lane_index(); key < qkv.tokens; key += 32) sum += expf(score(key) - largest);
  sum = warp_sum(sum);
  with_type(p.probabilities.type, [&](auto type) {
    using T = decltype(type);
    T* out = (T*)p.probabilities.data + row_start(p.probabilities, row);
    for (int key = lane_index(); key < qkv.tokens; key += 32) out[key] = narrow<T>(expf(score(key) - largest) / sum);
  });
}
