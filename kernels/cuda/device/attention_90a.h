// context = softmax(scale·q·kᵀ)·v for each sample and head in bf16 and f16 on Hopper (wgmma and TMA, compute capability 9.0),
// sums in f32. Compiled and run by the stand-in; never yet by a GPU, so it is used only where it is asked for by name.
//
// As many blocks as there are multiprocessors go over tiles of 64 queries for each of WARPGROUPS warpgroups, 112 keys a step
// (1568 tokens, those of most models, are 14 steps). One thread of a further warpgroup has TMA bring queries and a ring of
// keys and values, in the order of their use. The others hold scores, probabilities and context in registers: S = q·kᵀ
// reads both sides from shared memory; its sums lie just as the left operand of p·v does, which takes them from registers
// once they are rounded, and v transposed from memory. Two things keep the tensor cores at work while exponentials are taken
// (Shah et al., 2024, "FlashAttention-3", sections 3.1 and 3.2):
// - within a warpgroup, the products S of a step and p·v of the step before are started together, and the softmax of S runs
//   beside p·v;
// - between warpgroups, a turn goes round: each starts its products only after the one before it, so that softmaxes of one
//   fall among the products of the others.
//
// The last keys come first: only they reach beyond the end, and only their scores are masked. Tiles that reach beyond the
// last query come last: they take less time, which fills the end. TMA writes zeros beyond the last token and column.
//
// A head is padded to DEPTH columns: the first 64 in rows of 128 bytes, what is left in rows of its own, each swizzled by
// their width, which is how wgmma reads them without conflicts.
//
// A step of head_dim 64 with three warpgroups is 2·192·112·64 multiplications in each product: 1344 cycles for both at 4096
// operations a cycle, and just as many for 192·112 exponentials at 16 a cycle; maxima, sums and the like fit between them.
// Overlapped without a gap that would be the 989 TFLOP/s of the tensor cores; the paper's kernel, of the same structure,
// was measured at 392 to 460 for 1024 and 2048 tokens on an H100 and loses 6 % of 1568 to its steps of 128, so something
// above 400 is expected here.
//
// Not tried: some of the exponentials as polynomials, because they weigh as much as the products here; clusters that share
// keys and values; context stored by TMA.
#pragma once
#include "mma.h"
#include "reduce.h"
#include "rows.h"
#include "tma.h"
#include "wgmma.h"

/// As `attention_90a::Attention90a`.
struct Attention90a {
  /// Boxes of qkv, of as many rows as a warpgroup has queries or a step has keys: of the first columns of a head, and of the
  /// columns left, if any.
  TensorMap queries, keys, queries_left, keys_left;
  Rows context;
  /// The logarithm of each softmax denominator, (B, h, N); may be null.
  float* stats;
  /// scale·log2(e): scores in powers of two save a multiplication for each. Positive, so that the largest product is the
  /// largest score.
  float factor;
  int tokens, num_heads, head_dim;
  /// Whether qkv is `(B, 3, h, N, d)`, else `(B, N, 3, h, d)`.
  int by_head;
  /// Heads of all samples.
  int heads;
};

constexpr int WARPGROUP = 128, KEYS = 112, WARPGROUP_QUERIES = 64;

/// Rows of a head in shared memory.
template <int DEPTH, int ROWS>
struct Rows90a {
  /// Columns of the first part, and of the other.
  static constexpr int FIRST = DEPTH < 64 ? DEPTH : 64, LEFT = DEPTH - FIRST;
  static constexpr int LEFT_AT = ROWS * FIRST * 2, BYTES = ROWS * DEPTH * 2;
  /// Bytes to the next, which starts with a repetition of the widest swizzle.
  static constexpr int ROOM = (BYTES + 1023) / 1024 * 1024;

  /// The parts as operands.
  static __device__ __forceinline__ u64 first(shared_t rows) { return wgmma_matrix(rows, FIRST * 2); }
  static __device__ __forceinline__ u64 left(shared_t rows) { return wgmma_matrix(rows + LEFT_AT, LEFT * 2); }

  static __device__ __forceinline__ void bring(const TensorMap& first, const TensorMap& left, shared_t to, shared_t barrier,
                                               int y, int z, int sample) {
    tma_bring(to, &first, barrier, 0, y, z, sample);
    if (LEFT > 0) tma_bring(to + LEFT_AT, &left, barrier, FIRST, y, z, sample);
  }
};

template <int DEPTH>
struct Sizes {
  /// What a warpgroup holds of a wide head leaves registers for two of them only, and memory for fewer slots.
  static constexpr int WARPGROUPS = DEPTH > 80 ? 2 : 3, SLOTS = DEPTH > 96 ? 4 : 8;
  static constexpr int QUERIES = WARPGROUPS * WARPGROUP_QUERIES, THREADS = (WARPGROUPS + 1) * WARPGROUP;
  /// Of a thread that brings, and of one that computes; together all that a multiprocessor has.
  static constexpr int FEW_REGISTERS = DEPTH > 80 ? 24 : 32, MANY_REGISTERS = DEPTH > 80 ? 240 : 160;
  using Queries = Rows90a<DEPTH, WARPGROUP_QUERIES>;
  using Keys = Rows90a<DEPTH, KEYS>;
};

/// A ring in shared memory, of places that are filled and read in turn. Two barriers of each: `full` ends a phase when the
/// bytes have come, `empty` when all warps have read them. What is brought is counted from 0, by both sides.
template <int PLACES>
struct Ring {
  /// The place of number 0, bytes from one to the next, and the first barrier.
  shared_t start, room, barriers;

  __device__ __forceinline__ shared_t place(u32 number) const { return start + number % PLACES * room; }
  __device__ __forceinline__ shared_t full(u32 number) const { return barriers + number % PLACES * 16; }
  __device__ __forceinline__ shared_t empty(u32 number) const { return full(number) + 8; }
  /// The parity of the phase in which it comes and is read.
  __device__ __forceinline__ u32 phase(u32 number) const { return number / PLACES % 2; }

  /// One thread announces bytes; a lane of each of so many warps arrives when they were read.
  __device__ __forceinline__ void init(int warps) const {
    for (int i = 0; i < PLACES; ++i) {
      mbarrier_init(full(i), 1);
      mbarrier_init(empty(i), warps);
    }
  }
};

/// The rings: of tiles of queries, one of which comes while the other is in use, and of keys or values of a step.
template <int DEPTH>
struct Rings {
  using S = Sizes<DEPTH>;
  static constexpr int BARRIERS = 2 * (2 + S::SLOTS);
  Ring<2> queries;
  Ring<S::SLOTS> slots;

  __device__ __forceinline__ Rings(const void* memory, const void* barriers) {
    const shared_t start = shared_address(memory), first_barrier = shared_address(barriers);
    constexpr int ROOM = S::WARPGROUPS * S::Queries::ROOM;
    queries = {start, ROOM, first_barrier};
    slots = {start + 2 * ROOM, S::Keys::ROOM, first_barrier + 2 * 16};
  }
};

/// A head, counted through all samples, and the first of the queries that a block takes of it.
struct Tile {
  int head, first_query;
};

/// The number of the tile that a block takes after `t` others.
__device__ __forceinline__ int tile_number(u32 t) { return blockIdx.x + t * gridDim.x; }

/// How many tiles there are.
template <int QUERIES>
__device__ __forceinline__ int tiles_of(const Attention90a& p) {
  return p.heads * ((p.tokens + QUERIES - 1) / QUERIES);
}

/// Whole ones first, head by head.
template <int QUERIES>
__device__ __forceinline__ Tile tile_at(const Attention90a& p, int i) {
  const int whole = p.tokens / QUERIES;
  if (i < p.heads * whole) return {i / whole, i % whole * QUERIES};
  return {i - p.heads * whole, whole * QUERIES};
}

/// What one thread does: brings queries, keys and values of each tile, in the order of their use.
template <int DEPTH>
__device__ __forceinline__ void bring_tiles(const Attention90a& p, const Rings<DEPTH>& rings) {
  using S = Sizes<DEPTH>;
  const int steps = (p.tokens + KEYS - 1) / KEYS;
  u32 brought = 0;
#pragma unroll 1
  for (u32 t = 0; tile_number(t) < tiles_of<S::QUERIES>(p); ++t) {
    const Tile tile = tile_at<S::QUERIES>(p, tile_number(t));
    const int sample = tile.head / p.num_heads, head = tile.head - sample * p.num_heads;
    // Of the two middle coordinates, which are token and head, the one of the shorter stride comes first.
    auto y = [&](int token, int part) { return p.by_head ? token : part * p.num_heads + head; };
    auto z = [&](int token, int part) { return p.by_head ? part * p.num_heads + head : token; };
    auto bring = [&](int part, int step) {
      const int token = step * KEYS;
      const shared_t full = rings.slots.full(brought);
      // The first time round, places are empty already: the phase before the first is over.
      mbarrier_wait(rings.slots.empty(brought), rings.slots.phase(brought) ^ 1);
      mbarrier_arrive_expecting(full, S::Keys::BYTES);
      S::Keys::bring(p.keys, p.keys_left, rings.slots.place(brought), full, y(token, part), z(token, part), sample);
      ++brought;
    };
#pragma unroll 1
    for (int step = steps - 1; step >= 0; --step) {
      bring(1, step);
      if (step + 1 < steps) {
        bring(2, step + 1);
        continue;
      }
      const shared_t full = rings.queries.full(t);
      mbarrier_wait(rings.queries.empty(t), rings.queries.phase(t) ^ 1);
      mbarrier_arrive_expecting(full, S::WARPGROUPS * S::Queries::BYTES);
#pragma unroll 1
      for (int w = 0; w < S::WARPGROUPS; ++w) {
        const int token = tile.first_query + w * WARPGROUP_QUERIES;
        const shared_t place = rings.queries.place(t) + w * S::Queries::ROOM;
        S::Queries::bring(p.queries, p.queries_left, place, full, y(token, 0), z(token, 0), sample);
      }
    }
    bring(2, 0);
  }
}

/// Of the 64 queries of a warpgroup, a thread has two: rows lane / 4 and lane / 4 + 8 of its warp. Four threads share each.
/// The maximum is of scores in powers of two.
struct Running {
  float largest[2], sum[2];
};

/// Scores of keys beyond the end become −∞.
__device__ __forceinline__ void mask(float (&scores)[KEYS / 2], int keys) {
#pragma unroll
  for (int i = 0; i < KEYS / 2; ++i)
    if (i / 4 * 8 + lane_index() % 4 * 2 + i % 2 >= keys) scores[i] = -infinity();
}

/// Products become exponentials of the distance of their scores to the running maximum; returns what sums so far are worth
/// now. Multiplication by `factor` and subtraction are one instruction.
__device__ __forceinline__ void soften(float (&scores)[KEYS / 2], Running& running, float factor, float (&correction)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float product = -infinity();
#pragma unroll
    for (int i = 0; i < KEYS / 4; ++i) product = fmaxf(product, scores[i / 2 * 4 + half * 2 + i % 2]);
    const float largest = fmaxf(running.largest[half], of_four(product, fmaxf) * factor);
    // −∞ − −∞ would be NaN, where the exponential of −∞ is meant.
    const float shift = largest == -infinity() ? 0.f : largest;
    correction[half] = exp2_approximate(running.largest[half] - shift);
    running.largest[half] = largest;
    float sum = 0.f;
#pragma unroll
    for (int i = 0; i < KEYS / 4; ++i) {
      float& score = scores[i / 2 * 4 + half * 2 + i % 2];
      score = exp2_approximate(score * factor - shift);
      sum += score;
    }
    running.sum[half] = running.sum[half] * correction[half] + sum;
  }
}

/// Rounds probabilities to the left operand of the product with 16 values, for each 16.
template <class T>
__device__ __forceinline__ void pack(const float (&scores)[KEYS / 2], u32 (&probabilities)[KEYS / 16][4]) {
#pragma unroll
  for (int i = 0; i < KEYS / 4; ++i) probabilities[i / 4][i % 4] = pair_of<T>(scores[i * 2], scores[i * 2 + 1]);
}

/// Starts scores = q·kᵀ.
template <class T, int DEPTH>
__device__ __forceinline__ void start_scores(float (&scores)[KEYS / 2], shared_t queries, shared_t keys) {
  using S = Sizes<DEPTH>;
  const u64 q = S::Queries::first(queries), k = S::Keys::first(keys);
#pragma unroll
  for (int d = 0; d < S::Keys::FIRST; d += 16)
    Wgmma<T>::multiply(scores, wgmma_advance(q, d * 2), wgmma_advance(k, d * 2), d != 0);
  const u64 q_left = S::Queries::left(queries), k_left = S::Keys::left(keys);
#pragma unroll
  for (int d = 0; d < S::Keys::LEFT; d += 16)
    Wgmma<T>::multiply(scores, wgmma_advance(q_left, d * 2), wgmma_advance(k_left, d * 2), 1);
  wgmma_commit();
}

/// Starts context += p·v.
template <class T, int DEPTH>
__device__ __forceinline__ void start_context(float (&context)[DEPTH / 2], const u32 (&probabilities)[KEYS / 16][4],
                                              shared_t values) {
  using V = typename Sizes<DEPTH>::Keys;
#pragma unroll
  for (int i = 0; i < KEYS / 16; ++i) {
    auto& first = *(float(*)[V::FIRST / 2])context;
    Wgmma<T>::multiply_transposed(first, probabilities[i], wgmma_advance(V::first(values), i * 16 * V::FIRST * 2));
    if constexpr (V::LEFT > 0) {
      auto& left = *(float(*)[V::LEFT / 2])(context + V::FIRST / 2);
      Wgmma<T>::multiply_transposed(left, probabilities[i], wgmma_advance(V::left(values), i * 16 * V::LEFT * 2));
    }
  }
  wgmma_commit();
}

/// Divides by the sums, and writes a warp's 16 queries.
template <class T, int DEPTH>
__device__ __forceinline__ void store(const Attention90a& p, int head_of_all, int first_query,
                                      const float (&context)[DEPTH / 2], const Running& running) {
  const int sample = head_of_all / p.num_heads, column = (head_of_all - sample * p.num_heads) * p.head_dim;
  const int lane = lane_index();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = of_four(running.sum[half], [](float a, float b) { return a + b; }), share = 1.f / sum;
    const int token = first_query + half * 8 + lane / 4;
    if (token >= p.tokens) continue;
    T* to = (T*)p.context.data + row_start(p.context, sample * p.tokens + token) + column + lane % 4 * 2;
#pragma unroll
    for (int d = 0; d < DEPTH / 8; ++d)
      if (d * 8 < p.head_dim)
        *(u32*)(to + d * 8) = pair_of<T>(context[d * 4 + half * 2] * share, context[d * 4 + half * 2 + 1] * share);
    // A row of nothing but −∞ has no softmax.
    if (p.stats && lane % 4 == 0)
      p.stats[(i64)head_of_all * p.tokens + token] =
          running.largest[half] == -infinity() ? not_a_number() : (running.largest[half] + log2f(sum)) * 0.69314718f;
  }
}

/// Turns between warpgroups: each waits at a named barrier of its own for the one before it.
template <int WARPGROUPS>
struct Turns {
  static constexpr int FIRST = 1, THREADS = 2 * WARPGROUP;
  int own, next;

  __device__ __forceinline__ explicit Turns(int warpgroup) {
    own = FIRST + warpgroup;
    next = FIRST + (warpgroup + 1) % WARPGROUPS;
    // The last one lets the first one begin.
    if (next == FIRST) pass();
  }

  __device__ __forceinline__ void take() const { named_barrier_wait(own, THREADS); }
  __device__ __forceinline__ void pass() const { named_barrier_arrive(next, THREADS); }
};

/// What a warpgroup does of a tile whose queries end before its own: the others count on its turns and arrivals.
template <int DEPTH>
__device__ __forceinline__ void pass_over(const Rings<DEPTH>& rings, const Turns<Sizes<DEPTH>::WARPGROUPS>& turns, u32 number,
                                          int steps) {
#pragma unroll 1
  for (int i = 0; i < 2 * steps; ++i, ++number) {
    mbarrier_wait(rings.slots.full(number), rings.slots.phase(number));
    if (lane_index() == 0) mbarrier_arrive(rings.slots.empty(number));
    if (i % 2 == 0 || i + 1 == 2 * steps) continue;
    turns.take();
    turns.pass();
  }
}

/// What a warpgroup does: the context of its 64 queries of each tile.
template <class T, int DEPTH>
__device__ __forceinline__ void make_tiles(const Attention90a& p, const Rings<DEPTH>& rings) {
  using S = Sizes<DEPTH>;
  const Ring<S::SLOTS>& slots = rings.slots;
  const int warpgroup = threadIdx.x / WARPGROUP - 1, steps = (p.tokens + KEYS - 1) / KEYS;
  const bool first_lane = lane_index() == 0;
  const Turns<S::WARPGROUPS> turns(warpgroup);

#pragma unroll 1
  for (u32 t = 0; tile_number(t) < tiles_of<S::QUERIES>(p); ++t) {
    const Tile tile = tile_at<S::QUERIES>(p, tile_number(t));
    const int first_query = tile.first_query + warpgroup * WARPGROUP_QUERIES;
    const shared_t queries = rings.queries.place(t) + warpgroup * S::Queries::ROOM;
    // What comes next.
    u32 next = t * 2 * steps;
    mbarrier_wait(rings.queries.full(t), rings.queries.phase(t));
    if (first_query >= p.tokens) {
      pass_over(rings, turns, next, steps);
      if (first_lane) mbarrier_arrive(rings.queries.empty(t));
      continue;
    }
    float scores[KEYS / 2], context[DEPTH / 2] = {}, correction[2];
    u32 probabilities[KEYS / 16][4];
    Running running = {{-infinity(), -infinity()}, {0.f, 0.f}};

    mbarrier_wait(slots.full(next), slots.phase(next));
    wgmma_fence();
    start_scores<T, DEPTH>(scores, queries, slots.place(next));
    wgmma_wait<0>();
    wgmma_settle(scores);
    if (first_lane) mbarrier_arrive(slots.empty(next));
    mask(scores, p.tokens - (steps - 1) * KEYS);
    soften(scores, running, p.factor, correction);
    pack<T>(scores, probabilities);
    ++next;
    mbarrier_wait(slots.full(next), slots.phase(next));

#pragma unroll 1
    for (int step = steps - 2; step >= 0; --step) {
      const u32 keys = next++, values = next++;
      mbarrier_wait(slots.full(values), slots.phase(values));
      turns.take();
      wgmma_fence();
      start_scores<T, DEPTH>(scores, queries, slots.place(keys));
      start_context<T, DEPTH>(context, probabilities, slots.place(values));
      turns.pass();
      wgmma_wait<1>();
      wgmma_settle(scores);
      if (first_lane) mbarrier_arrive(slots.empty(keys));
      soften(scores, running, p.factor, correction);
      // The next keys, or the last values. The assembler moves no arithmetic over this wait; without one here it puts the
      // softmax behind the end of p·v.
      mbarrier_wait(slots.full(next), slots.phase(next));
      wgmma_wait<0>();
      wgmma_settle(context);
      wgmma_settle(scores);
      if (first_lane) mbarrier_arrive(slots.empty(values));
#pragma unroll
      for (int d = 0; d < DEPTH / 2; ++d) context[d] *= correction[d / 2 % 2];
      pack<T>(scores, probabilities);
    }
    if (first_lane) mbarrier_arrive(rings.queries.empty(t));

    wgmma_fence();
    start_context<T, DEPTH>(context, probabilities, slots.place(next));
    wgmma_wait<0>();
    wgmma_settle(context);
    if (first_lane) mbarrier_arrive(slots.empty(next));
    store<T, DEPTH>(p, tile.head, first_query + threadIdx.x % WARPGROUP / 32 * 16, context, running);
  }
}

template <class T, int DEPTH>
__device__ __forceinline__ void attend(const Attention90a& p) {
  using S = Sizes<DEPTH>;
  DYNAMIC_SHARED(memory);
  SHARED(u64, barriers, Rings<DEPTH>::BARRIERS);
  const Rings<DEPTH> rings(memory, barriers);
  if (threadIdx.x == 0) {
    rings.queries.init(S::WARPGROUPS * 4);
    rings.slots.init(S::WARPGROUPS * 4);
    mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < WARPGROUP) {
    leave_registers<S::FEW_REGISTERS>();
    if (threadIdx.x == 0) bring_tiles<DEPTH>(p, rings);
  } else {
    take_registers<S::MANY_REGISTERS>();
    make_tiles<T, DEPTH>(p, rings);
  }
}

/// The kernels of a type, for heads of up to so many columns.
#define ATTENTION_90A(type, depth) \
  KERNEL(Sizes<depth>::THREADS, 1, attention_90a_##type##_##depth, const __grid_constant__ Attention90a p) { \
    attend<type, depth>(p);                                                                                  \
  }
