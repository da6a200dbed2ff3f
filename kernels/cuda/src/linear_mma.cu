// y = [y +] activation(x·Wᵀ + b) for bf16 and f16 on tensor cores (mma.sync, compute capability 8.0 and up), sums in f32.
//
// A block of 256 threads makes a tile of 128 × 128 of y. It goes along the input features in steps of 32, whose pieces of x
// and W come to shared memory by cp.async, three steps ahead of the one that is computed (STAGES − 1): a step's 16 KiB are
// then on their way for about two thousand cycles. Its eight warps make 64 × 32 numbers each, as 4 × 4 products of
// 16 × 8 × 16, for which a step is read from shared memory twelve times by ldmatrix.
//
// A row of a step is 64 bytes, four chunks of 16. Chunk c of row r lies at c xor (r / 2 mod 4), so that the eight rows that
// an ldmatrix reads at once, at one chunk, fall into different banks.
//
// At the end the sums pass through the same shared memory, so that a thread then has eight neighbours of a row: bias,
// activation and residual are applied to these, and 16 bytes are stored at once.
#include "epilogue.h"
#include "mma.h"

/// As `linear::LinearParameters`.
struct Linear {
  Rows x;
  /// (out, in), with rows `weight_stride` apart.
  const void* weight;
  i64 weight_stride;
  Epilogue epilogue;
  int rows, inputs, outputs;
};

constexpr int TILE = 128, STEP = 32, STAGES = 4, THREADS = 256;
/// Elements of 16 bytes, and such chunks of a row of a step.
constexpr int CHUNK = 8, CHUNKS = STEP / CHUNK;
/// Bytes of a step of x, and as many of W.
constexpr int SIDE = TILE * STEP * 2;
/// What a warp makes, and the products in it.
constexpr int WARP_ROWS = 64, WARP_COLUMNS = 32, ACROSS = WARP_COLUMNS / 8, DOWN = WARP_ROWS / 16;
/// Four more than a tile, so that the rows of sums fall into different banks.
constexpr int PADDED = TILE + 4;

/// Where a chunk of a row of a step lies, in bytes.
__device__ __forceinline__ int chunk_at(int row, int chunk) {
  return row * STEP * 2 + (chunk ^ (row / 2 % CHUNKS)) * 16;
}

/// The pieces of x and W that a thread brings in each step: chunk `own` of rows `row` and `row + 64` of the tile.
template <class T>
struct Sources {
  const T *x[2], *w[2];
  bool x_inside[2], w_inside[2];
  int row, own;
};

template <class T>
__device__ __forceinline__ Sources<T> sources(const Linear& p, int first_row, int first_column) {
  Sources<T> s;
  s.row = threadIdx.x / CHUNKS;
  s.own = threadIdx.x % CHUNKS;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int row = first_row + s.row + half * TILE / 2, column = first_column + s.row + half * TILE / 2;
    s.x_inside[half] = row < p.rows;
    s.w_inside[half] = column < p.outputs;
    s.x[half] = (const T*)p.x.data + row_start(p.x, min(row, p.rows - 1)) + s.own * CHUNK;
    s.w[half] = (const T*)p.weight + min(column, p.outputs - 1) * p.weight_stride + s.own * CHUNK;
  }
  return s;
}

/// Sets the copies of a step going. A chunk beyond the last feature is zero.
template <class T>
__device__ __forceinline__ void bring(const Sources<T>& s, shared_t stage, int first, int inputs) {
  const bool inside = first + s.own * CHUNK < inputs;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int at = chunk_at(s.row + half * TILE / 2, s.own);
    cp_async_16(stage + at, s.x[half] + first, inside && s.x_inside[half]);
    cp_async_16(stage + SIDE + at, s.w[half] + first, inside && s.w_inside[half]);
  }
}

/// Adds the products of a step to the sums of a warp whose rows and columns of the tile begin at these.
template <class T>
__device__ __forceinline__ void multiply(shared_t stage, int row, int column, float (&sums)[DOWN][ACROSS][4]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < STEP / 16; ++half) {
    u32 a[DOWN][4], b[ACROSS / 2][4];
    // Matrices 0 and 1 are rows 0 to 15 of columns 0 to 7, matrices 2 and 3 those of columns 8 to 15.
#pragma unroll
    for (int i = 0; i < DOWN; ++i) ldmatrix_x4(a[i], stage + chunk_at(row + i * 16 + lane % 16, half * 2 + lane / 16));
    // Matrices 0 and 1 are features 0 to 7 of the first and second eight inputs, 2 and 3 features 8 to 15.
#pragma unroll
    for (int j = 0; j < ACROSS / 2; ++j)
      ldmatrix_x4(b[j], stage + SIDE + chunk_at(column + j * 16 + lane / 16 * 8 + lane % 8, half * 2 + lane / 8 % 2));
#pragma unroll
    for (int i = 0; i < DOWN; ++i)
#pragma unroll
      for (int j = 0; j < ACROSS; ++j) {
        const u32 pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma<T>(sums[i][j], a[i], pair);
      }
  }
}

template <class T>
__device__ __forceinline__ void linear_tile(const Linear& p) {
  DYNAMIC_SHARED(memory);
  const shared_t stages = shared_address(memory);
  const int first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
  const int warp = threadIdx.x / 32, row = warp / 4 * WARP_ROWS, column = warp % 4 * WARP_COLUMNS;
  const Sources<T> from = sources<T>(p, first_row, first_column);
  const int steps = (p.inputs + STEP - 1) / STEP;
  float sums[DOWN][ACROSS][4] = {};

#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < steps) bring(from, stages + step * 2 * SIDE, step * STEP, p.inputs);
    cp_async_commit();
  }
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<STAGES - 2>();
    // This step has come for all threads, and all have read the step before it, whose memory is used again now.
    __syncthreads();
    const int next = step + STAGES - 1;
    if (next < steps) bring(from, stages + next % STAGES * 2 * SIDE, next * STEP, p.inputs);
    // Also a group of nothing, so that the same number is always under way.
    cp_async_commit();
    multiply<T>(stages + step % STAGES * 2 * SIDE, row, column, sums);
  }
  // All have read the last step, where the sums go now.
  __syncthreads();
  float* tile = (float*)memory;
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < DOWN; ++i)
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float* to = tile + (row + i * 16 + half * 8 + lane / 4) * PADDED + column + j * 8 + lane % 4 * 2;
        to[0] = sums[i][j][half * 2];
        to[1] = sums[i][j][half * 2 + 1];
      }
  __syncthreads();
#pragma unroll 1
  for (int i = threadIdx.x; i < TILE * TILE / CHUNK; i += THREADS) {
    const int line = i / (TILE / CHUNK), at = i % (TILE / CHUNK) * CHUNK;
    if (first_row + line < p.rows && first_column + at < p.outputs) {
      float eight[CHUNK];
      load_eight(tile + line * PADDED + at, eight);
      store_results(p.epilogue, first_row + line, first_column + at, eight);
    }
  }
}

KERNEL(THREADS, 2, linear_mma_bf16, const __grid_constant__ Linear p) { linear_tile<bf16>(p); }
KERNEL(THREADS, 2, linear_mma_f16, const __grid_constant__ Linear p) { linear_tile<f16>(p); }
