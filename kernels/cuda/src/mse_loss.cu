// The mean of (x − target)², with gradient 2·(x − target)/n. Bound by memory: one pass over both.
#include "mean_loss.h"

KERNEL(THREADS, 1, mse_loss, const __grid_constant__ MeanLoss p) {
  add_up(p, [](float x, float target) -> Term {
    float difference = x - target;
    return {difference * difference, 2.f * difference};
  });
}
