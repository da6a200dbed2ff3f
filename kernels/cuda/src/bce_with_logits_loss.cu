// The mean of −t·ln σ(x) − (1 − t)·ln(1 − σ(x)), with gradient (σ(x) − t)/n. Bound by memory: one pass over both.
//
// In the form (1 − t)·x + max(−x, 0) + ln(1 + e^−|x|), which neither overflows nor cancels.
#include "activation.h"
#include "mean_loss.h"

KERNEL(THREADS, 1, bce_with_logits_loss, const __grid_constant__ MeanLoss p) {
  add_up(p, [](float x, float target) -> Term {
    float positive = x < 0.f ? -x : 0.f;
    return {(1.f - target) * x + positive + log1pf(expf(-fabsf(x))), sigmoid(x) - target};
  });
}
