// pixel_values[b, t, c, y, x] = table[c, levels[b, t, c, y, x]]
//
// Bound by memory: a thread takes four neighbours of a plane, with one load of a word and one store of 8 or 16 bytes,
// where planes allow it. The table, 3 KiB for three channels, stays in the first-level cache.
#include "types.h"

struct NormalizeLevels {
  const u8* levels;
  const float* table;
  void* pixels;
  i64 total;
  int plane, channels;
  /// Elements that a thread makes: 4, or 1.
  int count;
  Type type;
};

KERNEL(256, 1, normalize_levels, const __grid_constant__ NormalizeLevels p) {
  i64 first = ((i64)blockIdx.x * blockDim.x + threadIdx.x) * p.count;
  if (first >= p.total) return;
  const float* table = p.table + first / p.plane % p.channels * 256;
  with_type(p.type, [&](auto t) {
    auto* to = (decltype(t)*)p.pixels + first;
    if (p.count == 4) {
      u32 four = *(const u32*)(p.levels + first);
      float x[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = table[four >> 8 * i & 255];
      store_four(to, x);
    } else {
      *to = narrow<decltype(t)>(table[p.levels[first]]);
    }
  });
}
