// wgmma: a warpgroup multiplies matrices that lie in shared memory, while it goes on. Compute capability 9.0 with its
// extensions only.
//
// d += a·bᵀ for a 64×16, b N×16 and d 64×N, of which a thread of the warpgroup holds N / 2 numbers: with w its warp, g = lane / 4
// and t = lane mod 4, d[4·j + 2·h + e] is row 16·w + g + 8·h, column 8·j + 2·t + e. a and b are read when the hardware comes to
// them, so neither they nor d may be touched between `wgmma_fence` and `wgmma_wait`.
#pragma once
#include "types.h"

#ifndef STAND_IN

/// A matrix in shared memory with K-major rows of 128 bytes, swizzled by 128 bytes as TMA writes it: groups of eight rows lie
/// 1024 bytes apart. The address of a row's first 16-byte piece is a multiple of 1024, plus 32 bytes for each step of 16
/// elements along K.
__device__ __forceinline__ u64 wgmma_matrix(shared_t address) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

/// Makes writes to registers and shared memory so far visible to the multiplications that follow.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/// Closes a group of multiplications.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most PENDING of the newest groups are still under way.
template <int PENDING>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// Inline assembly names every register; sixteen at a time.
#define REGISTERS_0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define REGISTERS_1 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define REGISTERS_2 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define REGISTERS_3 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define REGISTERS_4 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define REGISTERS_5 ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define REGISTERS_6 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define REGISTERS_7 ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SIXTEEN(d, i)                                                                                                 \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),            \
      "+f"(d[i + 7]), "+f"(d[i + 8]), "+f"(d[i + 9]), "+f"(d[i + 10]), "+f"(d[i + 11]), "+f"(d[i + 12]),                 \
      "+f"(d[i + 13]), "+f"(d[i + 14]), "+f"(d[i + 15])
#define REGISTERS_128 REGISTERS_0 REGISTERS_1 REGISTERS_2 REGISTERS_3
#define REGISTERS_192 REGISTERS_128 REGISTERS_4 REGISTERS_5
#define REGISTERS_256 REGISTERS_192 REGISTERS_6 REGISTERS_7
#define ALL_128(d) SIXTEEN(d, 0), SIXTEEN(d, 16), SIXTEEN(d, 32), SIXTEEN(d, 48)
#define ALL_192(d) ALL_128(d), SIXTEEN(d, 64), SIXTEEN(d, 80)
#define ALL_256(d) ALL_192(d), SIXTEEN(d, 96), SIXTEEN(d, 112)

/// Starts d = a·bᵀ, or d += a·bᵀ where `add` is not zero.
template <class T>
struct Wgmma;
#define WGMMA(type, columns, a_at, b_at, add_at)                                                                      \
  static __device__ __forceinline__ void multiply(float (&d)[columns / 2], u64 a, u64 b, int add) {                   \
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #add_at                                                     \
                 ", 0;\n"                                                                                             \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." #type "." #type " {" REGISTERS_##columns      \
                 "}, %" #a_at ", %" #b_at ", add, 1, 1, 0, 0;\n}\n"                                                    \
                 : ALL_##columns(d)                                                                                    \
                 : "l"(a), "l"(b), "r"(add)                                                                            \
                 : "memory");                                                                                          \
  }
#define WGMMA_OF(type)            \
  template <>                     \
  struct Wgmma<type> {            \
    WGMMA(type, 128, 64, 65, 66)  \
    WGMMA(type, 192, 96, 97, 98)  \
    WGMMA(type, 256, 128, 129, 130) \
  };
WGMMA_OF(bf16)
WGMMA_OF(f16)

#else  // STAND_IN: products are made at the wait, from what then lies in memory.

inline u64 wgmma_matrix(shared_t address) { return address; }

/// All four warps of a warpgroup have to come before any goes on.
inline void warpgroup_barrier(shim::Place place) {
  shim::barrier(shim::block.warpgroups[threadIdx.x / 128], 128, place);
}

inline void wgmma_fence(SHIM_CALLER) { warpgroup_barrier(SHIM_PLACE); }

/// The multiplications that a thread has under way: the open group, then the closed ones, oldest first.
struct Multiplications {
  std::vector<std::function<void()>> open;
  std::deque<std::vector<std::function<void()>>> closed;
};

inline void wgmma_commit() {
  Multiplications& mine = shim::mine<Multiplications>();
  mine.closed.push_back(std::move(mine.open));
  mine.open.clear();
}

template <int PENDING>
inline void wgmma_wait(SHIM_CALLER) {
  if (shim::dropped("wgmma_wait", SHIM_PLACE)) return;
  warpgroup_barrier(SHIM_PLACE);
  auto& closed = shim::mine<Multiplications>().closed;
  for (; (int)closed.size() > PENDING; closed.pop_front())
    for (auto& multiply : closed.front()) multiply();
}

/// Bytes as a swizzle by 128 bytes lays them out: the piece of 16 within a row, exclusive-or the row.
inline u64 swizzled_128(u64 address) { return address ^ ((address >> 3) & 0x70); }

template <class T>
struct Wgmma {
  /// Element k of a row of a matrix.
  static float element(u64 matrix, int row, int k) {
    u64 address = matrix + (u64)(row / 8) * 1024 + row % 8 * 128 + k * 2;
    return widen(*(const T*)swizzled_128(address));
  }

  template <int HALF>
  static void multiply(float (&d)[HALF], u64 a, u64 b, int add) {
    const int first = threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4, pair = threadIdx.x % 4 * 2;
    float* sums = d;
    shim::mine<Multiplications>().open.push_back([=] {
      for (int h = 0; h < 2; ++h) {
        float row[16];
        for (int k = 0; k < 16; ++k) row[k] = element(a, first + 8 * h, k);
        for (int j = 0; j < HALF / 4; ++j)
          for (int e = 0; e < 2; ++e) {
            float& sum = sums[4 * j + 2 * h + e];
            if (!add) sum = 0.f;
            for (int k = 0; k < 16; ++k) sum += row[k] * element(b, 8 * j + pair + e, k);
          }
      }
    });
  }
};

#endif
