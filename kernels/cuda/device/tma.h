// TMA and mbarrier: tiles of a matrix come to shared memory by themselves, and a barrier that lies there counts their bytes.
// Compute capability 9.0 and up.
#pragma once
#include "ptx.h"

#ifndef STAND_IN

/// What the driver makes of a matrix; see `kernel::TensorMap`.
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

/// As cuTensorMapEncodeTiled of driver.cpp writes it: rows of 16-bit elements, in boxes of rows of at most 128 bytes.
struct alignas(64) TensorMap {
  const u8* data;
  u64 stride;
  int columns, rows, box_columns, box_rows;
  u8 rest[96];
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
inline void tma_bring(shared_t to, const TensorMap* map, shared_t barrier, int column, int row,
                      SHIM_CALLER) {
  if (to % 1024) shim::fail("TMA to an address that is no multiple of 1024", SHIM_PLACE);
  const TensorMap m = *map;
  const i64 bytes = (i64)m.box_columns * m.box_rows * 2;
  shim::spoil((void*)to, bytes);
  shim::block.later.push_back([=] {
    for (int j = 0; j < m.box_rows; ++j)
      for (int i = 0; i < m.box_columns; ++i) {
        u64 at = (u64)(j * m.box_columns + i) * 2;
        bool inside = row + j < m.rows && column + i < m.columns;
        // The swizzle by 128 bytes: pieces of 16 within a row of 128, exclusive-or the row.
        *(u16*)(to + (at ^ ((at >> 3) & 0x70))) =
            inside ? *(const u16*)(m.data + (row + j) * m.stride + (column + i) * 2) : 0;
      }
    mbarrier(barrier).bytes -= bytes;
    mbarrier(barrier).step();
  });
}

template <int REGISTERS>
inline void leave_registers() {}
template <int REGISTERS>
inline void take_registers() {}

#endif
