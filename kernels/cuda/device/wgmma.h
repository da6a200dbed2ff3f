// wgmma: a warpgroup multiplies matrices, while it goes on. Compute capability 9.0 with its extensions only.
//
// d += a·bᵀ for a 64×16, b N×16 and d 64×N, of which a thread of the warpgroup holds N / 2 numbers: with w its warp, g = lane / 4
// and t = lane mod 4, d[4·j + 2·h + e] is row 16·w + g + 8·h, column 8·j + 2·t + e. Both a and b lie in shared memory; or a is in
// registers, as mma.sync wants it (ptx.h), and b lies there transposed, 16×N. Operands are read when the hardware comes to
// them, so neither they nor d may be touched between `wgmma_fence` and `wgmma_wait`.
#pragma once
#include "types.h"

/// What a descriptor says of where a matrix starts; addresses in shared memory have 18 bits.
__device__ __forceinline__ u64 shared_window(shared_t address);

/// A matrix in shared memory with rows of 32, 64 or 128 bytes, swizzled by as many as TMA writes them, groups of eight rows
/// one after another. Its address is a multiple of such a group's bytes, plus 32 for each step of 16 elements along a row.
///
/// Rows are those of an operand whose K runs along them ("K-major"); or they are steps of K of a transposed one ("MN-major"),
/// which then has as many columns as a row has elements, so that the distance between pieces of a row is not used. In both
/// cases the distance between groups of eight rows is the "stride byte offset" (PTX ISA, "Matrix Descriptor Format").
__device__ __forceinline__ u64 wgmma_matrix(shared_t address, int row_bytes) {
  const u64 swizzle = row_bytes == 128 ? 1 : row_bytes == 64 ? 2 : 3;
  return shared_window(address) >> 4 | (u64)1 << 16 | (u64)(8 * row_bytes >> 4) << 32 | swizzle << 62;
}

/// The same so many bytes further on. The start is in the lower half, so that the upper one is a constant of the code.
__device__ __forceinline__ u64 wgmma_advance(u64 matrix, int bytes) {
  return matrix >> 32 << 32 | ((u32)matrix + (u32)(bytes >> 4));
}

#ifndef STAND_IN

__device__ __forceinline__ u64 shared_window(shared_t address) { return address & 0x3ffff; }

/// Makes writes to registers and shared memory so far visible to the multiplications that follow.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/// Closes a group of multiplications.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most PENDING of the newest groups are still under way.
template <int PENDING>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/// After a wait: the compiler, which takes a product for finished when it is started, uses these numbers no earlier than here.
template <int COUNT>
__device__ __forceinline__ void wgmma_settle(float (&d)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// Inline assembly names every register; eight at a time.
#define EIGHT_0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define EIGHT_1 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define EIGHT_2 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define EIGHT_3 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define EIGHT_4 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define EIGHT_5 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define EIGHT_6 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define EIGHT_7 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define EIGHT_8 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define EIGHT_9 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define EIGHT_10 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define EIGHT_11 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define EIGHT_12 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define EIGHT_13 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define EIGHT_14 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define EIGHT_15 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define NAMES_16 EIGHT_0
#define NAMES_32 NAMES_16 EIGHT_1
#define NAMES_64 NAMES_32 EIGHT_2 EIGHT_3
#define NAMES_112 NAMES_64 EIGHT_4 EIGHT_5 EIGHT_6
#define NAMES_128 NAMES_112 EIGHT_7
#define NAMES_192 NAMES_128 EIGHT_8 EIGHT_9 EIGHT_10 EIGHT_11
#define NAMES_256 NAMES_192 EIGHT_12 EIGHT_13 EIGHT_14 EIGHT_15
#define EIGHT(d, i)                                                                                                   \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define ALL_16(d) EIGHT(d, 0)
#define ALL_32(d) ALL_16(d), EIGHT(d, 8)
#define ALL_64(d) ALL_32(d), EIGHT(d, 16), EIGHT(d, 24)
#define ALL_112(d) ALL_64(d), EIGHT(d, 32), EIGHT(d, 40), EIGHT(d, 48)
#define ALL_128(d) ALL_112(d), EIGHT(d, 56)
#define ALL_192(d) ALL_128(d), EIGHT(d, 64), EIGHT(d, 72), EIGHT(d, 80), EIGHT(d, 88)
#define ALL_256(d) ALL_192(d), EIGHT(d, 96), EIGHT(d, 104), EIGHT(d, 112), EIGHT(d, 120)

template <class T>
struct Wgmma;
/// Starts d = a·bᵀ, or d += a·bᵀ where `add` is not zero.
#define WGMMA(type, columns, a_at, b_at, add_at)                                                                      \
  static __device__ __forceinline__ void multiply(float (&d)[columns / 2], u64 a, u64 b, int add) {                   \
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #add_at                                                     \
                 ", 0;\n"                                                                                             \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." #type "." #type " {" NAMES_##columns         \
                 "}, %" #a_at ", %" #b_at ", add, 1, 1, 0, 0;\n}\n"                                                    \
                 : ALL_##columns(d)                                                                                    \
                 : "l"(a), "l"(b), "r"(add)                                                                            \
                 : "memory");                                                                                          \
  }
/// Starts d += a·b for a in registers and b transposed.
#define WGMMA_TRANSPOSED(type, columns, a0_at, a1_at, a2_at, a3_at, b_at)                                              \
  static __device__ __forceinline__ void multiply_transposed(float (&d)[columns / 2], const u32 (&a)[4], u64 b) {     \
    asm volatile("{\n.reg .pred add;\nsetp.eq.b32 add, 0, 0;\n"                                                       \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." #type "." #type " {" NAMES_##columns         \
                 "}, {%" #a0_at ", %" #a1_at ", %" #a2_at ", %" #a3_at "}, %" #b_at ", add, 1, 1, 1;\n}\n"             \
                 : ALL_##columns(d)                                                                                    \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)                                                 \
                 : "memory");                                                                                          \
  }
#define WGMMA_OF(type)                           \
  template <>                                    \
  struct Wgmma<type> {                           \
    WGMMA(type, 112, 56, 57, 58)                 \
    WGMMA(type, 128, 64, 65, 66)                 \
    WGMMA(type, 192, 96, 97, 98)                 \
    WGMMA(type, 256, 128, 129, 130)              \
    WGMMA_TRANSPOSED(type, 16, 8, 9, 10, 11, 12)   \
    WGMMA_TRANSPOSED(type, 32, 16, 17, 18, 19, 20) \
    WGMMA_TRANSPOSED(type, 64, 32, 33, 34, 35, 36) \
  };
WGMMA_OF(bf16)
WGMMA_OF(f16)

#else  // STAND_IN: products are made at the wait, from what then lies in memory and in registers.

/// Here the window is the shared memory whose size is given at launch.
inline u64 shared_window(shared_t address) {
  const u64 start = (u64)shim::block.dynamic_start;
  if (address < start || address - start >= 1 << 18) shim::fail("an operand of wgmma outside of dynamic shared memory");
  return address - start;
}

/// All four warps of a warpgroup have to come before any goes on.
inline void warpgroup_barrier(shim::Place place) {
  shim::barrier(shim::block.warpgroups[threadIdx.x / 128], 128, place);
}

/// The multiplications that a thread has under way: the open group, then the closed ones, oldest first.
struct Multiplications {
  std::vector<std::function<void()>> open;
  std::deque<std::vector<std::function<void()>>> closed;
  /// Whether registers may have been written since the last fence: after a wait they usually are.
  bool fenced = false;

  template <class Multiply>
  void start(Multiply multiply) {
    if (!fenced) shim::fail("wgmma without a fence after the last wait");
    open.push_back(multiply);
  }
};

inline void wgmma_fence(SHIM_CALLER) {
  if (shim::dropped("wgmma_fence", SHIM_PLACE)) return;
  warpgroup_barrier(SHIM_PLACE);
  shim::mine<Multiplications>().fenced = true;
}

inline void wgmma_commit() {
  Multiplications& mine = shim::mine<Multiplications>();
  mine.closed.push_back(std::move(mine.open));
  mine.open.clear();
}

template <int PENDING>
inline void wgmma_wait(SHIM_CALLER) {
  if (shim::dropped("wgmma_wait", SHIM_PLACE)) return;
  warpgroup_barrier(SHIM_PLACE);
  shim::mine<Multiplications>().fenced = false;
  auto& closed = shim::mine<Multiplications>().closed;
  for (; (int)closed.size() > PENDING; closed.pop_front())
    for (auto& multiply : closed.front()) multiply();
}

template <int COUNT>
inline void wgmma_settle(float (&)[COUNT]) {}

/// What a descriptor says, as the PTX ISA defines it; `wgmma_matrix` is not asked.
struct Operand {
  u64 start, pieces_apart, groups_apart, row_bytes;

  explicit Operand(u64 descriptor) {
    auto field = [&](int bit) { return (descriptor >> bit & 0x3fff) << 4; };
    start = (u64)shim::block.dynamic_start + field(0);
    pieces_apart = field(16);
    groups_apart = field(32);
    if (!(descriptor >> 62)) shim::fail("an operand of wgmma that is not swizzled");
    row_bytes = 256 >> (descriptor >> 62);
  }

  /// Element k of row or column n.
  template <class T>
  float element(bool transposed, u64 n, u64 k) const {
    const u64 in_row = row_bytes / 2;
    u64 at = transposed ? n % in_row * 2 + n / in_row * pieces_apart + k % 8 * row_bytes + k / 8 * groups_apart
                        : k * 2 + n % 8 * row_bytes + n / 8 * groups_apart;
    at += start;
    return widen(*(const T*)(at ^ (at >> 3 & (row_bytes - 16))));
  }
};

template <class T>
struct Wgmma {
  /// Adds the products of two rows of 16 with every column to what this thread has of those rows.
  static void add_products(float* sums, int count, const float (&rows)[2][16], const Operand& b, bool transposed) {
    for (int j = 0; j < count / 4; ++j)
      for (int e = 0; e < 2; ++e)
        for (int k = 0; k < 16; ++k) {
          const float element = b.element<T>(transposed, 8 * j + threadIdx.x % 4 * 2 + e, k);
          for (int h = 0; h < 2; ++h) sums[4 * j + 2 * h + e] += rows[h][k] * element;
        }
  }

  template <int COUNT>
  static void multiply(float (&d)[COUNT], u64 a, u64 b, int add) {
    float* sums = d;
    shim::mine<Multiplications>().start([=] {
      const int first = threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
      float rows[2][16];
      for (int h = 0; h < 2; ++h)
        for (int k = 0; k < 16; ++k) rows[h][k] = Operand(a).element<T>(false, first + 8 * h, k);
      if (!add) std::fill(sums, sums + COUNT, 0.f);
      add_products(sums, COUNT, rows, Operand(b), false);
    });
  }

  /// A row of a is spread over the four lanes that share it.
  template <int COUNT>
  static void multiply_transposed(float (&d)[COUNT], const u32 (&a)[4], u64 b, SHIM_CALLER) {
    struct Fragment {
      u32 pairs[4];
    };
    float* sums = d;
    const u32* pairs = a;
    shim::mine<Multiplications>().start([=] {
      Fragment mine;
      memcpy(mine.pairs, pairs, sizeof mine.pairs);
      shim::exchange(mine, SHIM_PLACE, [&](auto of, int lane) {
        float rows[2][16];
        for (int k = 0; k < 16; ++k) {
          const Fragment theirs = of(lane / 4 * 4 + k % 8 / 2);
          for (int h = 0; h < 2; ++h) rows[h][k] = widen(T{(u16)(theirs.pairs[k / 8 * 2 + h] >> k % 2 * 16)});
        }
        add_products(sums, COUNT, rows, Operand(b), true);
      });
    });
  }
};

#endif
