// d = a·b for a 16×16 and b 16×16 of 16-bit numbers, by way of every primitive that the tensor-core kernels are made of:
// what cp.async, ldmatrix and mma.sync do on a device, the same has to come out of their bodies for the processor. For
// tests; no op runs it.
//
// Two warps: a comes to shared memory in the first group of copies, b in the second; each warp makes 8 columns of d.
#include "types.h"

struct Primitives {
  /// Row-major; rows of a from `rows` on are taken for zeros and not read.
  const u16 *a, *b;
  float* d;
  int rows;
  Type type;
};

KERNEL(64, 1, primitives, const __grid_constant__ Primitives p) {
  SHARED(u16, a, 16 * 16);
  SHARED(u16, b, 16 * 16);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // Half a row for each lane.
  const int copied = lane * 8;
  if (warp == 0) cp_async_16(shared_address(a + copied), p.a + copied, lane / 2 < p.rows);
  cp_async_commit();
  if (warp == 1) cp_async_16(shared_address(b + copied), p.b + copied, true);
  cp_async_commit();

  // Matrices 0 to 3 of a fragment: the upper and lower half of the first eight columns, then of the others.
  const int row = lane / 8 % 2 * 8 + lane % 8, column = lane / 16 * 8;
  u32 of_a[4], of_b[4];
  cp_async_wait<1>();
  __syncthreads();
  ldmatrix_x4(of_a, shared_address(a + row * 16 + column));
  cp_async_wait<0>();
  __syncthreads();
  ldmatrix_x4_transposed(of_b, shared_address(b + row * 16 + column));

  float d[4] = {0.f, 0.f, 0.f, 0.f};
  const u32 own[2] = {of_b[warp * 2], of_b[warp * 2 + 1]};
  if (p.type == BF16) mma_16x8x16_bf16(d, of_a, own);
  else mma_16x8x16_f16(d, of_a, own);
  for (int i = 0; i < 4; ++i) p.d[(lane / 4 + i / 2 * 8) * 16 + warp * 8 + lane % 4 * 2 + i % 2] = d[i];
}
