// The instructions that C++ has no word for, and the only file with inline PTX.
//
// Every primitive has two bodies: one for the GPU, and one for the processor, on which the tests run the same kernels
// (STAND_IN; see stand-in/shim.h). A primitive is added with both, and to src/primitives.cu, which tests that they agree.
//
// The processor's bodies are late on purpose: what an instruction leaves undefined until it is waited for, reads as
// NaN until then.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifndef STAND_IN

/// Declares a kernel: `threads` is the most threads of a block, `blocks` how many blocks a multiprocessor should hold.
#define KERNEL(threads, blocks, name, ...) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(__VA_ARGS__)

/// Memory that the threads of a block share: `count` elements.
#define SHARED(type, name, count) __shared__ __align__(16) type name[count]

/// Shared memory whose size is given at launch.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) u8 name[]

/// An address in shared memory, as instructions take it.
typedef u32 shared_t;

__device__ __forceinline__ shared_t shared_address(const void* pointer) {
  return (u32)__cvta_generic_to_shared(pointer);
}

// Conversions, to nearest even. NaN becomes the canonical NaN.

__device__ __forceinline__ u16 bf16_from_f32(float x) {
  u16 bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

__device__ __forceinline__ float f32_from_bf16(u16 bits) { return __uint_as_float((u32)bits << 16); }

__device__ __forceinline__ u16 f16_from_f32(float x) {
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

__device__ __forceinline__ float f32_from_f16(u16 bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}

/// Two numbers in one register, `low` in the lower half, as mma and packed stores want them.
__device__ __forceinline__ u32 bf16x2_from_f32(float low, float high) {
  u32 bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

__device__ __forceinline__ u32 f16x2_from_f32(float low, float high) {
  u32 bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

/// 2^x, within 2 ulp; what expf costs most of its time beside.
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Barriers for some of the warps of a block, numbered from 1: a phase ends when `threads` have come, of which those that only
// arrive do not wait.

__device__ __forceinline__ void named_barrier_wait(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

__device__ __forceinline__ void named_barrier_arrive(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// cp.async: 16 bytes from global to shared memory past the registers. Both addresses are multiples of 16. The bytes may
// be read after the wait and, by other threads, a barrier.

/// Copies 16 bytes; writes zeros instead, and reads nothing, where `inside` is false.
__device__ __forceinline__ void cp_async_16(shared_t to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(inside ? 16 : 0) : "memory");
}

/// Closes a group of copies.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most PENDING of the newest groups are still under way.
template <int PENDING>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// ldmatrix: 8×8 matrices of 16-bit elements from shared memory, one row of 16 bytes at the address that each lane gives
// (lanes 8·i .. 8·i + 7 for matrix i). Lane l gets elements 2·(l mod 4) and the next of row l / 4 of each matrix; of its
// transpose in the second form.

__device__ __forceinline__ void ldmatrix_x4(u32 (&r)[4], shared_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_transposed(u32 (&r)[4], shared_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}

// mma.sync: c += a·b for a 16×16, b 16×8 and c 16×8, spread over a warp. With g = lane / 4 and t = lane mod 4, a lane
// holds of a: rows g (a0, a2) and g + 8 (a1, a3), columns 2t, 2t + 1 (a0, a1) and 2t + 8, 2t + 9 (a2, a3); of b:
// column g, rows 2t, 2t + 1 (b0) and 2t + 8, 2t + 9 (b1); of c: rows g (c0, c1) and g + 8 (c2, c3), columns 2t, 2t + 1.

__device__ __forceinline__ void mma_16x8x16_bf16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_16x8x16_f16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else  // STAND_IN: the same on the processor. An address in shared memory is a pointer.

typedef u64 shared_t;

inline shared_t shared_address(const void* pointer) { return (u64)pointer; }

inline u16 bf16_from_f32(float x) {
  u32 bits = __float_as_uint(x);
  if (x != x) return 0x7fff;
  return (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float f32_from_bf16(u16 bits) { return __uint_as_float((u32)bits << 16); }

inline u16 f16_from_f32(float x) {
  u32 bits = __float_as_uint(x), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;
  // From 65520 on, halfway to the first number beyond the largest, everything rounds to infinity.
  if (magnitude >= 0x477ff000) return (u16)(sign | 0x7c00);
  if (magnitude < 0x38800000) {
    // Below 2^-14: multiples of 2^-24, which is what adding 0.5 rounds a float to.
    float rounded = __uint_as_float(magnitude) + 0.5f;
    return (u16)(sign | (__float_as_uint(rounded) - 0x3f000000));
  }
  return (u16)(sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13));
}

inline float f32_from_f16(u16 bits) {
  u32 sign = (u32)(bits & 0x8000) << 16, exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | fraction << 13);
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint(fraction * 0x1p-24f));
  return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

inline u32 bf16x2_from_f32(float low, float high) { return bf16_from_f32(low) | (u32)bf16_from_f32(high) << 16; }
inline u32 f16x2_from_f32(float low, float high) { return f16_from_f32(low) | (u32)f16_from_f32(high) << 16; }

inline float exp2_approximate(float x) {
  float y = std::exp2(x);
  return std::fabs(y) < 0x1p-126f ? 0.f : y;
}

/// Where nobody waits, arrivals have no effect; then one side is missing.
inline void come_to(shim::NamedBarrier& barrier, int threads, shim::Place place) {
  if (barrier.waiting == 0 && barrier.group.arrived + 1 == threads) shim::fail("a barrier where nobody waits", place);
  if (barrier.group.arrived + 1 == threads) barrier.waiting = 0;
  shim::arrive(barrier.group, threads);
}

inline void named_barrier_wait(int barrier, int threads, SHIM_CALLER) {
  if (shim::dropped("named_barrier_wait", SHIM_PLACE)) return;
  shim::NamedBarrier& named = shim::block.named[barrier];
  const uint64_t generation = named.group.generation;
  ++named.waiting;
  come_to(named, threads, SHIM_PLACE);
  shim::await(named.group, generation, SHIM_PLACE);
}

inline void named_barrier_arrive(int barrier, int threads, SHIM_CALLER) {
  if (!shim::dropped("named_barrier_arrive", SHIM_PLACE)) come_to(shim::block.named[barrier], threads, SHIM_PLACE);
}

/// The copies that a thread has under way: the group that is open, then the closed ones, oldest first.
struct AsyncCopies {
  struct Copy {
    void* to;
    const void* from;
    bool inside;
  };
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> closed;
};

inline void cp_async_16(shared_t to, const void* from, bool inside, SHIM_CALLER) {
  if (to % 16 || (inside && (u64)from % 16)) shim::fail("cp.async of an address that is no multiple of 16", SHIM_PLACE);
  shim::spoil((void*)to, 16);
  shim::mine<AsyncCopies>().open.push_back({(void*)to, from, inside});
}

inline void cp_async_commit() {
  AsyncCopies& copies = shim::mine<AsyncCopies>();
  copies.closed.push_back(std::move(copies.open));
  copies.open.clear();
}

template <int PENDING>
inline void cp_async_wait(SHIM_CALLER) {
  if (shim::dropped("cp_async_wait", SHIM_PLACE)) return;
  auto& closed = shim::mine<AsyncCopies>().closed;
  for (; (int)closed.size() > PENDING; closed.pop_front())
    for (const AsyncCopies::Copy& copy : closed.front())
      if (copy.inside) memcpy(copy.to, copy.from, 16); else memset(copy.to, 0, 16);
}

/// Row `row` of matrix `i` starts at the address of lane 8·i + row.
template <bool TRANSPOSED>
inline void ldmatrix(u32 (&r)[4], shared_t address, shim::Place place) {
  if (address % 16) shim::fail("ldmatrix of an address that is no multiple of 16", place);
  shim::exchange(address, place, [&](auto of, int lane) {
    for (int i = 0; i < 4; ++i) {
      u16 pair[2];
      for (int e = 0; e < 2; ++e) {
        int row = lane / 4, column = lane % 4 * 2 + e;
        if (TRANSPOSED) std::swap(row, column);
        pair[e] = ((const u16*)of(i * 8 + row))[column];
      }
      r[i] = pair[0] | (u32)pair[1] << 16;
    }
  });
}

inline void ldmatrix_x4(u32 (&r)[4], shared_t row, SHIM_CALLER) {
  ldmatrix<false>(r, row, SHIM_PLACE);
}

inline void ldmatrix_x4_transposed(u32 (&r)[4], shared_t row, SHIM_CALLER) {
  ldmatrix<true>(r, row, SHIM_PLACE);
}

/// A multiplication whose operands of 16 bits `widen` reads.
template <class Widen>
inline void mma_16x8x16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2], shim::Place place, Widen widen) {
  struct Fragment {
    u32 a[4], b[2];
  } mine;
  memcpy(mine.a, a, sizeof mine.a);
  memcpy(mine.b, b, sizeof mine.b);
  auto half = [&](u32 pair, int which) { return widen((u16)(pair >> 16 * which)); };
  shim::exchange(mine, place, [&](auto of, int lane) {
    for (int i = 0; i < 4; ++i) {
      int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float sum = c[i];
      for (int k = 0; k < 16; ++k) {
        u32 left = of(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2];
        u32 right = of(column * 4 + k % 8 / 2).b[k / 8];
        sum += half(left, k % 2) * half(right, k % 2);
      }
      c[i] = sum;
    }
  });
}

inline void mma_16x8x16_bf16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2], SHIM_CALLER) {
  mma_16x8x16(c, a, b, SHIM_PLACE, f32_from_bf16);
}

inline void mma_16x8x16_f16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2], SHIM_CALLER) {
  mma_16x8x16(c, a, b, SHIM_PLACE, f32_from_f16);
}

#endif
