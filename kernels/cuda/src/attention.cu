// context = softmax(scale·q·kᵀ)·v for each sample and head, with sums in f32: the kernel for f32, and for every size and
// mixture of types that the tensor-core kernels do not take. The scores never reach memory (Dao et al., 2022,
// "FlashAttention"; the division is left to the end, as in the second paper).
//
// A block of 128 threads makes the context of 32 queries of a head, or 128 columns of it. Four threads share a query. It
// goes over the keys 32 at a time: scores, from pieces of 32 columns of q and k in shared memory; the running maximum m and
// sum l of each query; probabilities to shared memory; and acc = acc·e^(m − m') + p·v. A head wider than 128 takes several
// blocks, each of which computes the scores again, so that any head_dim works within fixed memory.
#include "heads.h"
#include "reduce.h"
#include "rows.h"

struct Attention {
  Qkv qkv;
  Rows context;
  /// The logarithm of each softmax denominator, (B, h, N); may be null.
  float* stats;
  float scale;
};

constexpr int THREADS = 128;
/// Queries of a block, keys of a step, and columns of q and k that are in shared memory at a time.
constexpr int QUERIES = 32, KEYS = 32, DEPTH = 32;
/// Threads that share a query.
constexpr int SHARE = THREADS / QUERIES;
/// Columns of the context that a block makes, so that a thread holds 32 of them in registers.
constexpr int COLUMNS = 128;
/// One more than a tile, so that its columns fall into different banks.
constexpr int PADDED = 33;

/// Fills `tile[row][column]` with 32 × 32 numbers; zeros beyond the last row and the last column.
template <class T>
__device__ __forceinline__ void bring_tile(float* tile, const T* from, i64 stride, int rows, int columns) {
  for (int i = threadIdx.x; i < 32 * 32; i += THREADS) {
    int row = i / 32, column = i % 32;
    tile[row * PADDED + column] = row < rows && column < columns ? widen(from[row * stride + column]) : 0.f;
  }
}

template <class T>
__device__ __forceinline__ void attend(const Attention& p) {
  SHARED(float, q_tile, QUERIES * PADDED);
  SHARED(float, k_tile, KEYS * PADDED);
  SHARED(float, v_tile, KEYS * COLUMNS);
  SHARED(float, probabilities, QUERIES * PADDED);
  const Qkv& qkv = p.qkv;
  const int head = blockIdx.y, first_query = blockIdx.x * QUERIES, first_column = blockIdx.z * COLUMNS;
  const i64 stride = token_stride(qkv);
  const T* q = (const T*)qkv.data + head_start(qkv, head, 0) + first_query * stride;
  const T* k = (const T*)qkv.data + head_start(qkv, head, 1);
  const T* v = (const T*)qkv.data + head_start(qkv, head, 2) + first_column;
  const int query = threadIdx.x / SHARE, share = threadIdx.x % SHARE;
  const int columns = min(COLUMNS, qkv.head_dim - first_column);
  float acc[COLUMNS / SHARE] = {};
  float largest = -infinity(), sum = 0.f;

#pragma unroll 1
  for (int first_key = 0; first_key < qkv.tokens; first_key += KEYS) {
    const int keys = min(KEYS, qkv.tokens - first_key);
    // Scores of this query with keys share, share + 4, …
    float scores[KEYS / SHARE] = {};
#pragma unroll 1
    for (int depth = 0; depth < qkv.head_dim; depth += DEPTH) {
      bring_tile(q_tile, q + depth, stride, qkv.tokens - first_query, qkv.head_dim - depth);
      bring_tile(k_tile, k + first_key * stride + depth, stride, keys, qkv.head_dim - depth);
      __syncthreads();
#pragma unroll 8
      for (int i = 0; i < DEPTH; ++i) {
        float element = q_tile[query * PADDED + i];
#pragma unroll
        for (int j = 0; j < KEYS / SHARE; ++j) scores[j] += element * k_tile[(share + j * SHARE) * PADDED + i];
      }
      // The tiles are written again.
      __syncthreads();
    }
    for (int i = threadIdx.x; i < KEYS * COLUMNS; i += THREADS) {
      int key = i / COLUMNS, column = i % COLUMNS;
      bool inside = key < keys && column < columns;
      v_tile[i] = inside ? widen(v[(first_key + key) * stride + column]) : 0.f;
    }

    float step_largest = largest;
#pragma unroll
    for (int j = 0; j < KEYS / SHARE; ++j) {
      scores[j] = share + j * SHARE < keys ? scores[j] * p.scale : -infinity();
      step_largest = fmaxf(step_largest, scores[j]);
    }
    // The four threads of a query are neighbours.
#pragma unroll
    for (int distance = 1; distance < SHARE; distance *= 2)
      step_largest = fmaxf(step_largest, __shfl_xor_sync(ALL_LANES, step_largest, distance));
    // −∞ − −∞ would be NaN, where the exponential of −∞ is meant.
    const float shift = step_largest == -infinity() ? 0.f : step_largest;
    const float correction = expf(largest - shift);
    largest = step_largest;
    sum *= correction;
#pragma unroll
    for (int j = 0; j < KEYS / SHARE; ++j) {
      float probability = expf(scores[j] - shift);
      sum += probability;
      probabilities[query * PADDED + share + j * SHARE] = probability;
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < COLUMNS / SHARE; ++c) acc[c] *= correction;
    for (int key = 0; key < keys; ++key) {
      float probability = probabilities[query * PADDED + key];
#pragma unroll
      for (int c = 0; c < COLUMNS / SHARE; ++c) acc[c] += probability * v_tile[key * COLUMNS + share + c * SHARE];
    }
    // Probabilities and values are written again only after the barriers of the next step's scores.
  }

#pragma unroll
  for (int distance = 1; distance < SHARE; distance *= 2) sum += __shfl_xor_sync(ALL_LANES, sum, distance);
  const int token = first_query + query;
  if (token >= qkv.tokens) return;
  const int sample = head / qkv.num_heads;
  const i64 start = row_start(p.context, sample * qkv.tokens + token) +
                    (head - sample * qkv.num_heads) * qkv.head_dim + first_column;
  with_type(p.context.type, [&](auto type) {
    using C = decltype(type);
#pragma unroll
    for (int c = 0; c < COLUMNS / SHARE; ++c)
      if (share + c * SHARE < columns) ((C*)p.context.data)[start + share + c * SHARE] = narrow<C>(acc[c] / sum);
  });
  // A row of nothing but −∞ has no softmax.
  if (p.stats && share == 0 && first_column == 0)
    p.stats[(i64)head * qkv.tokens + token] = largest == -infinity() ? not_a_number() : largest + logf(sum);
}

KERNEL(THREADS, 4, attention_f32, const __grid_constant__ Attention p) { attend<float>(p); }
KERNEL(THREADS, 4, attention_bf16, const __grid_constant__ Attention p) { attend<bf16>(p); }
KERNEL(THREADS, 4, attention_f16, const __grid_constant__ Attention p) { attend<f16>(p); }
