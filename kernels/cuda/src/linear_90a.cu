// y = [y +] activation(x·Wᵀ + b) for bf16 and f16 on Hopper (wgmma and TMA, compute capability 9.0), sums in f32. Compiled and
// run by the stand-in; never yet by a GPU, so it is used only where it is asked for by name.
//
// As many blocks as there are multiprocessors go over the tiles of y, 128 × COLUMNS each, down the rows first, so that
// blocks at work together read the same weights. A block is three warpgroups. One thread of the first has TMA bring pieces
// of x and W, 64 input features a step, into a ring of STAGES stages, and leaves its registers to the other two, which
// multiply 64 × COLUMNS each. A stage has two barriers: `full` ends a phase when its bytes have come, `empty` when both
// warpgroups have read them. The ring goes on from tile to tile: while sums are stored, the next tile comes.
//
// COLUMNS is 256, 192 or 128; the host takes the one that leaves the fewest multiprocessors idle at the end.
//
// The products of a step are started before those of the step before have ended, so that the tensor cores do not wait for a
// barrier. Sums go to memory 32 columns at a time in a loop: four threads that share rows trade, so that each has eight
// neighbours, which halves the transactions. Written out for all sums, stored as each thread has them, that was 2.6 MB of
// PTX, which took a driver 28 s to compile.
//
// By arithmetic only: products of 128 × 256 sums over 768 input features take 15,400 cycles at the 790 TFLOP/s that a H200 was
// seen to reach. Trading, bias and conversion are some ten instructions for each sum, 2,500 cycles, and the error function 38,
// another 9,700; as nothing hides them yet, that makes 680 TFLOP/s without an activation, 440 with GELU, and 590 over all
// linear layers of a base model.
//
// Missing for speed, in order of worth: sums stored while the next tile is multiplied, clusters of two blocks that share
// what they bring, stores by TMA.
#include "epilogue.h"
#include "reduce.h"
#include "tma.h"
#include "wgmma.h"

/// As `linear_90a::Linear90a`.
struct Linear90a {
  /// Boxes of 64 × 128 elements of x, and of 64 × COLUMNS of W.
  TensorMap x, weight;
  Epilogue epilogue;
  int rows, inputs, outputs;
};

constexpr int ROWS = 128, STEP = 64, THREADS = 384, WARPGROUP = 128;

/// Stages that fit the 227 KiB of a multiprocessor.
constexpr int stages_of(int columns) { return columns == 256 ? 4 : columns == 192 ? 5 : 6; }

/// A stage, and the parity of its phase; goes round the ring.
template <int STAGES>
struct Turn {
  int stage = 0;
  u32 parity;

  __device__ __forceinline__ void next() {
    if (++stage == STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// Among four lanes, each of which has a pair of columns of each of four groups of eight: lane t gets all pairs of group t.
__device__ __forceinline__ void trade(float (&x)[8]) {
#pragma unroll
  for (int distance = 1; distance < 4; distance *= 2) {
    const bool upper = lane_index() & distance;
#pragma unroll
    for (int group = 0; group < 4; ++group) {
      if (group & distance) continue;
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float &first = x[group * 2 + e], &second = x[(group + distance) * 2 + e];
        const float theirs = __shfl_xor_sync(ALL_LANES, upper ? first : second, distance);
        if (upper) first = theirs;
        else second = theirs;
      }
    }
  }
}

/// Finishes the sums of 16 rows and writes them.
template <int COLUMNS>
__device__ __forceinline__ void store_sums(const Linear90a& p, const float (&sums)[COLUMNS / 2], int first_row,
                                           int first_column) {
  const int lane = lane_index();
#pragma unroll 1
  for (int columns = 0; columns < COLUMNS; columns += 32) {
    const int column = first_column + columns + lane % 4 * 8;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float x[8];
      // A variable is no index for registers.
#pragma unroll
      for (int i = 0; i < COLUMNS / 32; ++i)
        if (i * 32 == columns)
#pragma unroll
          for (int e = 0; e < 8; ++e) x[e] = sums[i * 16 + e / 2 * 4 + half * 2 + e % 2];
      trade(x);
      const int row = first_row + half * 8 + lane / 4;
      if (row < p.rows && column < p.outputs) store_results(p.epilogue, row, column, x);
    }
  }
}

template <class T, int COLUMNS>
__device__ __forceinline__ void linear_tiles(const Linear90a& p) {
  constexpr int STAGES = stages_of(COLUMNS), X_BYTES = ROWS * STEP * 2, BYTES = X_BYTES + COLUMNS * STEP * 2;
  DYNAMIC_SHARED(memory);
  SHARED(u64, barriers, 2 * STAGES);
  const shared_t ring = shared_address(memory), full = shared_address(barriers), empty = full + STAGES * 8;
  const int down = (p.rows + ROWS - 1) / ROWS, across = (p.outputs + COLUMNS - 1) / COLUMNS;
  const int steps = (p.inputs + STEP - 1) / STEP;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; ++i) {
      mbarrier_init(full + i * 8, 1);
      // One arrival of each of eight warps.
      mbarrier_init(empty + i * 8, 8);
    }
    mbarrier_init_fence();
  }
  __syncthreads();

  if (threadIdx.x < WARPGROUP) {
    leave_registers<40>();
    if (threadIdx.x != 0) return;
    // The first time round, stages are empty already.
    Turn<STAGES> turn{0, 1};
    for (int tile = blockIdx.x; tile < down * across; tile += gridDim.x)
#pragma unroll 1
      for (int step = 0; step < steps; ++step, turn.next()) {
        const shared_t stage = ring + turn.stage * BYTES, barrier = full + turn.stage * 8;
        mbarrier_wait(empty + turn.stage * 8, turn.parity);
        mbarrier_arrive_expecting(barrier, BYTES);
        tma_bring(stage, &p.x, barrier, step * STEP, tile % down * ROWS);
        tma_bring(stage + X_BYTES, &p.weight, barrier, step * STEP, tile / down * COLUMNS);
      }
    return;
  }
  take_registers<232>();
  const int half = threadIdx.x / WARPGROUP - 1, warp = threadIdx.x / 32 % 4;
  const bool first_lane = lane_index() == 0;
  Turn<STAGES> turn{0, 0};
  for (int tile = blockIdx.x; tile < down * across; tile += gridDim.x) {
    // Set, or else ptxas lets each product wait for the one before it.
    float sums[COLUMNS / 2] = {};
    int previous = 0;
#pragma unroll 1
    for (int step = 0; step < steps; ++step, turn.next()) {
      mbarrier_wait(full + turn.stage * 8, turn.parity);
      const shared_t stage = ring + turn.stage * BYTES;
      const u64 x = wgmma_matrix(stage + half * 64 * STEP * 2, STEP * 2);
      const u64 weight = wgmma_matrix(stage + X_BYTES, STEP * 2);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < STEP / 16; ++k)
        Wgmma<T>::multiply(sums, wgmma_advance(x, k * 32), wgmma_advance(weight, k * 32), 1);
      wgmma_commit();
      // Those of the step before have ended.
      wgmma_wait<1>();
      if (first_lane && step > 0) mbarrier_arrive(empty + previous * 8);
      previous = turn.stage;
    }
    wgmma_wait<0>();
    wgmma_settle(sums);
    if (first_lane) mbarrier_arrive(empty + previous * 8);
    store_sums<COLUMNS>(p, sums, tile % down * ROWS + half * 64 + warp * 16, tile / down * COLUMNS);
  }
}

KERNEL(THREADS, 1, linear_90a_bf16_128, const __grid_constant__ Linear90a p) { linear_tiles<bf16, 128>(p); }
KERNEL(THREADS, 1, linear_90a_bf16_192, const __grid_constant__ Linear90a p) { linear_tiles<bf16, 192>(p); }
KERNEL(THREADS, 1, linear_90a_bf16_256, const __grid_constant__ Linear90a p) { linear_tiles<bf16, 256>(p); }
KERNEL(THREADS, 1, linear_90a_f16_128, const __grid_constant__ Linear90a p) { linear_tiles<f16, 128>(p); }
KERNEL(THREADS, 1, linear_90a_f16_192, const __grid_constant__ Linear90a p) { linear_tiles<f16, 192>(p); }
KERNEL(THREADS, 1, linear_90a_f16_256, const __grid_constant__ Linear90a p) { linear_tiles<f16, 256>(p); }
