// context = softmax(scale·q·kᵀ)·v for each sample and head in bf16 and f16 on tensor cores (mma.sync, compute capability
// 8.0 and up), sums in f32. Scores stay in registers (Dao, 2023, "FlashAttention-2").
//
// A block of four warps makes the context of 64 queries of a head, 16 of them each warp. It goes over the keys 64 at a
// time: while a step is computed, cp.async brings the keys and values of the next one. A warp keeps its queries in
// registers as the left operand; the scores of a step come out of mma.sync just as the left operand of the product with
// the values is laid out, so that probabilities are only rounded and packed. Queries and keys are read by ldmatrix,
// values by its transposing form.
//
// A head is padded with zeros to DEPTH columns, a multiple of 16. A row in shared memory takes an odd number of chunks of
// 16 bytes, so that the eight rows that an ldmatrix reads at once fall into different banks.
#pragma once
#include "heads.h"
#include "mma.h"
#include "reduce.h"
#include "rows.h"

/// As `attention::Attention`.
struct Attention {
  Qkv qkv;
  Rows context;
  /// The logarithm of each softmax denominator, (B, h, N); may be null.
  float* stats;
  float scale;
};

constexpr int THREADS = 128, QUERIES = 64, KEYS = 64;
/// Elements of 16 bytes.
constexpr int CHUNK = 8;

/// A head's tokens in shared memory.
template <int DEPTH>
struct Tile {
  static constexpr int CHUNKS = DEPTH / CHUNK, PITCH = (CHUNKS | 1) * 16, BYTES = KEYS * PITCH;

  /// Where a chunk of a row lies, in bytes.
  static __device__ __forceinline__ int at(int row, int chunk) { return row * PITCH + chunk * 16; }

  /// Sets the copies of 64 tokens going; zeros beyond the last token and the last column.
  template <class T>
  static __device__ __forceinline__ void bring(shared_t to, const T* from, i64 stride, int tokens, int head_dim) {
#pragma unroll
    for (int i = threadIdx.x; i < KEYS * CHUNKS; i += THREADS) {
      const int row = i / CHUNKS, chunk = i % CHUNKS;
      const bool inside = row < tokens && chunk * CHUNK < head_dim;
      cp_async_16(to + at(row, chunk), from + (inside ? row * stride + chunk * CHUNK : 0), inside);
    }
  }
};

/// Of the 16 queries of a warp, a thread has two: rows lane / 4 and lane / 4 + 8. Four threads share each.
struct Running {
  float largest[2], sum[2];
};

/// Scores of a step become exponentials of their distance to the running maximum; returns what sums so far are worth now.
__device__ __forceinline__ void soften(float (&scores)[KEYS / 8][4], Running& running, float factor, int keys,
                                       float (&correction)[2]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = running.largest[half];
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = scores[j][half * 2 + e];
        score = j * 8 + lane % 4 * 2 + e < keys ? score * factor : -infinity();
        largest = fmaxf(largest, score);
      }
    largest = of_four(largest, fmaxf);
    // −∞ − −∞ would be NaN, where the exponential of −∞ is meant.
    const float shift = largest == -infinity() ? 0.f : largest;
    correction[half] = exp2_approximate(running.largest[half] - shift);
    running.largest[half] = largest;
    float sum = 0.f;
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = scores[j][half * 2 + e];
        score = exp2_approximate(score - shift);
        sum += score;
      }
    running.sum[half] = running.sum[half] * correction[half] + sum;
  }
}

template <class T, int DEPTH>
__device__ __forceinline__ void attend(const Attention& p) {
  using Tile = Tile<DEPTH>;
  DYNAMIC_SHARED(memory);
  const shared_t q_tile = shared_address(memory), stages = q_tile + Tile::BYTES;
  const Qkv& qkv = p.qkv;
  const int head = blockIdx.y, first_query = blockIdx.x * QUERIES, head_dim = qkv.head_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const i64 stride = token_stride(qkv);
  const T* q = (const T*)qkv.data + head_start(qkv, head, 0) + first_query * stride;
  const T* k = (const T*)qkv.data + head_start(qkv, head, 1);
  const T* v = (const T*)qkv.data + head_start(qkv, head, 2);
  auto bring_step = [&](int step) {
    const shared_t stage = stages + step % 2 * 2 * Tile::BYTES;
    const int first = step * KEYS, tokens = qkv.tokens - first;
    Tile::bring(stage, k + first * stride, stride, tokens, head_dim);
    Tile::bring(stage + Tile::BYTES, v + first * stride, stride, tokens, head_dim);
  };

  Tile::bring(q_tile, q, stride, qkv.tokens - first_query, head_dim);
  bring_step(0);
  cp_async_commit();
  u32 queries[DEPTH / 16][4];
  float context[DEPTH / 8][4] = {};
  Running running = {{-infinity(), -infinity()}, {0.f, 0.f}};
  // Scores in powers of two save a multiplication for each.
  const float factor = p.scale * 1.44269504f;

  const int steps = (qkv.tokens + KEYS - 1) / KEYS;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<0>();
    // This step has come for all threads, and all have read the step before it, whose memory is used again now.
    __syncthreads();
    if (step == 0) {
#pragma unroll
      for (int d = 0; d < DEPTH / 16; ++d)
        ldmatrix_x4(queries[d], q_tile + Tile::at(warp * 16 + lane % 16, d * 2 + lane / 16));
    }
    if (step + 1 < steps) bring_step(step + 1);
    cp_async_commit();

    const shared_t keys = stages + step % 2 * 2 * Tile::BYTES, values = keys + Tile::BYTES;
    float scores[KEYS / 8][4] = {};
#pragma unroll
    for (int d = 0; d < DEPTH / 16; ++d)
#pragma unroll
      for (int j = 0; j < KEYS / 16; ++j) {
        // Matrices 0 and 1 are keys 0 to 7 in the first and second eight columns, 2 and 3 keys 8 to 15.
        u32 b[4];
        ldmatrix_x4(b, keys + Tile::at(j * 16 + lane / 16 * 8 + lane % 8, d * 2 + lane / 8 % 2));
        mma<T>(scores[j * 2], queries[d], {b[0], b[1]});
        mma<T>(scores[j * 2 + 1], queries[d], {b[2], b[3]});
      }

    float correction[2];
    soften(scores, running, factor, qkv.tokens - step * KEYS, correction);
#pragma unroll
    for (int d = 0; d < DEPTH / 8; ++d)
#pragma unroll
      for (int i = 0; i < 4; ++i) context[d][i] *= correction[i / 2];
#pragma unroll
    for (int j = 0; j < KEYS / 16; ++j) {
      const float(&first)[4] = scores[j * 2];
      const float(&second)[4] = scores[j * 2 + 1];
      const u32 probabilities[4] = {pair_of<T>(first[0], first[1]), pair_of<T>(first[2], first[3]),
                                    pair_of<T>(second[0], second[1]), pair_of<T>(second[2], second[3])};
#pragma unroll
      for (int d = 0; d < DEPTH / 16; ++d) {
        // Matrices 0 and 1 are keys 0 to 7 and 8 to 15 in the first eight columns, 2 and 3 in the second.
        u32 b[4];
        ldmatrix_x4_transposed(b, values + Tile::at(j * 16 + lane % 16, d * 2 + lane / 16));
        mma<T>(context[d * 2], probabilities, {b[0], b[1]});
        mma<T>(context[d * 2 + 1], probabilities, {b[2], b[3]});
      }
    }
  }

  const int sample = head / qkv.num_heads, column = (head - sample * qkv.num_heads) * head_dim;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = of_four(running.sum[half], [](float a, float b) { return a + b; });
    const int token = first_query + warp * 16 + half * 8 + lane / 4;
    if (token >= qkv.tokens) continue;
    T* to = (T*)p.context.data + row_start(p.context, sample * qkv.tokens + token) + column + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < DEPTH / 8; ++d)
      if (d * 8 < head_dim)
        *(u32*)(to + d * 8) = pair_of<T>(context[d][half * 2] / sum, context[d][half * 2 + 1] / sum);
    // A row of nothing but −∞ has no softmax.
    if (p.stats && lane % 4 == 0)
      p.stats[(i64)head * qkv.tokens + token] =
          running.largest[half] == -infinity() ? not_a_number() : (running.largest[half] + log2f(sum)) * 0.69314718f;
  }
}
