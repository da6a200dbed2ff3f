// loss = sum of partials / count: the end of every loss that is a mean over elements (device/mean_loss.h). One block.
#include "mean_loss.h"

struct MeanOfPartials {
  const float* partials;
  void* loss;
  i64 count;
  int blocks;
  Type type;
};

KERNEL(THREADS, 1, mean_of_partials, const __grid_constant__ MeanOfPartials p) {
  float sum = 0.f;
  for (int i = threadIdx.x; i < p.blocks; i += THREADS) sum += p.partials[i];
  sum = block_sum<THREADS>(sum);
  if (threadIdx.x > 0) return;
  with_type(p.type, [&](auto type) {
    using T = decltype(type);
    *(T*)p.loss = narrow<T>(sum / p.count);
  });
}
