// −ln softmax(logits)[label], averaged over the labels that count, with gradient (softmax − one-hot)/items.
//
// Logits are few (a row of some hundred classes for each clip), so one block takes the rows one after another, and the sum
// over rows needs no second kernel.
#include "reduce.h"
#include "types.h"

struct CrossEntropyLoss {
  const void* logits;
  const int* labels;
  void* loss;
  /// Null for none.
  void* gradient;
  Type logits_type, loss_type, gradient_type;
  int batch, classes;
  /// What the sum is divided by.
  float items;
};

constexpr int THREADS = 256;
/// Labels of this value do not count; the host has checked all others.
constexpr int IGNORED = -100;

template <class T>
__device__ __forceinline__ void cross_entropy(const CrossEntropyLoss& p) {
  float total = 0.f;
#pragma unroll 1
  for (int row = 0; row < p.batch; ++row) {
    const T* logits = (const T*)p.logits + (i64)row * p.classes;
    const int label = p.labels[row];
    float largest = -infinity(), sum = 0.f;
    for (int i = threadIdx.x; i < p.classes; i += THREADS) largest = fmaxf(largest, widen(logits[i]));
    largest = block_max<THREADS>(largest);
    for (int i = threadIdx.x; i < p.classes; i += THREADS) sum += expf(widen(logits[i]) - largest);
    sum = block_sum<THREADS>(sum);
    if (label != IGNORED) total += logf(sum) - (widen(logits[label]) - largest);
    if (!p.gradient) continue;
    with_type(p.gradient_type, [&](auto type) {
      using G = decltype(type);
      G* gradient = (G*)p.gradient + (i64)row * p.classes;
      for (int i = threadIdx.x; i < p.classes; i += THREADS) {
        float probability = expf(widen(logits[i]) - largest) / sum;
        float derivative = (probability - (i == label ? 1.f : 0.f)) / p.items;
        gradient[i] = narrow<G>(label == IGNORED ? 0.f : derivative);
      }
    });
  }
  if (threadIdx.x > 0) return;
  with_type(p.loss_type, [&](auto type) {
    using L = decltype(type);
    *(L*)p.loss = narrow<L>(total / p.items);
  });
}

KERNEL(THREADS, 1, cross_entropy_loss, const __grid_constant__ CrossEntropyLoss p) {
  with_type(p.logits_type, [&](auto type) { cross_entropy<decltype(type)>(p); });
}
