// TMA and mbarrier: tiles of a tensor come to shared memory by themselves, and a barrier that lies there counts their bytes.
// Compute capability 9.0 and up.
#pragma once
#include "ptx.h"

#ifndef STAND_IN

/// What the driver makes of a tensor; see `tma::TensorMap`.
struct __align__(64) TensorMap {
  u64 opaque[16];
};

/// A barrier whose phase ends when `arrivals` threads have come, and all bytes that were announced.
__device__ __forceinline__ void mbarrier_init(shared_t barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/// Makes barriers that were just made visible to TMA.
__device__ __forceinline__ void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void mbarrier_arrive(shared_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives, and announces bytes.
__device__ __forceinline__ void mbarrier_arrive_expecting(shared_t barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/// Waits for the end of the phase of this parity. A new barrier is in phase 0, and its phase −1, of parity 1, is over.
__device__ __forceinline__ void mbarrier_wait(shared_t barrier, u32 parity) {
  asm volatile(
      "{\n.reg .pred over;\nagain:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
      "@over bra done;\nbra again;\ndone:\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// Brings the box of a map that starts at `column` and `row`; zeros where it reaches beyond the matrix. Its bytes count as
/// come at the barrier.
__device__ __forceinline__ void tma_bring(shared_t to, const TensorMap* map, shared_t barrier, int column, int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(column), "r"(row)
      : "memory");
}

/// As `tma_bring` for four coordinates, the innermost first.
__device__ __forceinline__ void tma_bring(shared_t to, const TensorMap* map, shared_t barrier, int x, int y, int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

/// Leaves a warpgroup with so many registers a thread, so that others can take more.
template <int REGISTERS>
__device__ __forceinline__ void leave_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

template <int REGISTERS>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

#else  // STAND_IN

/// As cuTensorMapEncodeTiled of driver.cpp writes it, of 16-bit elements. A dimension that is not used has size 1. Rows of a
/// box are 32, 64 or 128 bytes, and swizzled by as many.
struct alignas(64) TensorMap {
  const u8* data;
  /// In bytes.
  u64 strides[4];
  int sizes[4], box[4];
};

/// Barriers live beside the memory they are in, by address.
struct Mbarrier {
  int arrivals = 0, awaited = 0;
  i64 bytes = 0;
  u32 phase = 0;

  void step() {
    ++shim::block.progress;
    if (awaited || bytes) return;
    awaited = arrivals;
    ++phase;
  }
};

inline Mbarrier& mbarrier(shared_t address) {
  static thread_local std::pair<u64, std::map<shared_t, Mbarrier>> barriers;
  if (barriers.first != shim::block.serial) barriers = {shim::block.serial, {}};
  return barriers.second[address];
}

inline void mbarrier_init(shared_t barrier, u32 arrivals) { mbarrier(barrier) = {(int)arrivals, (int)arrivals, 0, 0}; }
inline void mbarrier_init_fence() {}

inline void mbarrier_arrive(shared_t barrier, SHIM_CALLER) {
  if (shim::dropped("mbarrier_arrive", SHIM_PLACE)) return;
  Mbarrier& b = mbarrier(barrier);
  if (!b.awaited) shim::fail("more arrivals than the barrier waits for", SHIM_PLACE);
  --b.awaited;
  b.step();
}

inline void mbarrier_arrive_expecting(shared_t barrier, u32 bytes, SHIM_CALLER) {
  if (shim::dropped("mbarrier_arrive_expecting", SHIM_PLACE)) return;
  mbarrier(barrier).bytes += bytes;
  mbarrier_arrive(barrier, caller_file, caller_line);
}

inline void mbarrier_wait(shared_t barrier, u32 parity, SHIM_CALLER) {
  if (shim::dropped("mbarrier_wait", SHIM_PLACE)) return;
  if (!mbarrier(barrier).arrivals) shim::fail("a barrier that nobody has made", SHIM_PLACE);
  shim::block.current->waits_at = SHIM_PLACE;
  while (mbarrier(barrier).phase % 2 == parity) shim::yield();
  shim::block.current->waits_at = {"", 0};
  ++shim::block.progress;
}

/// The box reads as NaN at once; its elements, and the bytes at the barrier, come later.
inline void bring_box(shared_t to, const TensorMap& map, shared_t barrier, std::array<int, 4> first, shim::Place place) {
  const u64 row_bytes = (u64)map.box[0] * 2;
  const i64 bytes = (i64)row_bytes * map.box[1] * map.box[2] * map.box[3];
  if (to % (8 * row_bytes)) shim::fail("TMA to an address between two repetitions of the swizzle", place);
  shim::spoil((void*)to, bytes);
  shim::block.later.push_back([=] {
    u64 at = to;
    std::array<int, 4> i;
    for (i[3] = 0; i[3] < map.box[3]; ++i[3])
      for (i[2] = 0; i[2] < map.box[2]; ++i[2])
        for (i[1] = 0; i[1] < map.box[1]; ++i[1])
          for (i[0] = 0; i[0] < map.box[0]; ++i[0], at += 2) {
            const u8* from = map.data;
            bool inside = true;
            for (int d = 0; d < 4; ++d) {
              inside &= first[d] + i[d] >= 0 && first[d] + i[d] < map.sizes[d];
              from += (first[d] + i[d]) * map.strides[d];
            }
            // The swizzle: within eight rows, pieces of 16 bytes change places by the number of the 128 bytes they are in.
            *(u16*)(at ^ (at >> 3 & (row_bytes - 16))) = inside ? *(const u16*)from : 0;
          }
    mbarrier(barrier).bytes -= bytes;
    mbarrier(barrier).step();
  });
}

inline void tma_bring(shared_t to, const TensorMap* map, shared_t barrier, int column, int row, SHIM_CALLER) {
  bring_box(to, *map, barrier, {column, row, 0, 0}, SHIM_PLACE);
}

inline void tma_bring(shared_t to, const TensorMap* map, shared_t barrier, int x, int y, int z, int w, SHIM_CALLER) {
  bring_box(to, *map, barrier, {x, y, z, w}, SHIM_PLACE);
}

template <int REGISTERS>
inline void leave_registers() {}
template <int REGISTERS>
inline void take_registers() {}

#endif
