// labels[b, i, (t, y, x, c)] = the pixels of patch indices[b, i], brought back to what they were before normalisation,
// and then, if asked, each channel of the patch to mean 0 and variance 1: (x − mean) / (sqrt(unbiased var) + 1e-6).
//
// A warp takes one channel of one patch (512 pixels for VideoMAE) and goes over it up to three times, as layer_norm.cu.
#include "patches.h"
#include "reduce.h"
#include "rows.h"

/// As many as `patch_targets::MAX_CHANNELS`.
constexpr int MAX_CHANNELS = 8;

struct PatchTargets {
  Cut cut;
  Rows labels;
  int total, normalize;
  /// What turns pixels back: pixel · std + mean.
  float mean[MAX_CHANNELS], std[MAX_CHANNELS];
};

KERNEL(256, 1, patch_targets, const __grid_constant__ PatchTargets p) {
  const Cut& cut = p.cut;
  int item = blockIdx.x * (blockDim.x / 32) + warp_index();
  if (item >= p.total * cut.channels) return;
  int row = item / cut.channels, channel = item % cut.channels;
  int count = cut.tubelet_size * cut.patch_height * cut.patch_width;
  float scale = p.std[channel], shift = p.mean[channel];
  Corner corner = corner_of_row(cut, row);

  // `body(pixel, value)` for the pixels that this lane has.
  auto for_each_pixel = [&](auto body) {
    with_type(cut.type, [&](auto type) {
#pragma unroll 1
      for (int pixel = lane_index(); pixel < count; pixel += 32) {
        int x = pixel % cut.patch_width, line = pixel / cut.patch_width;
        i64 at = pixel_index(cut, corner, channel, line / cut.patch_height, line % cut.patch_height, x);
        body(pixel, widen(((const decltype(type)*)cut.pixels)[at]) * scale + shift);
      }
    });
  };

  float mean = 0.f, divisor = 1.f;
  if (p.normalize) {
    float sum = 0.f, squares = 0.f;
    for_each_pixel([&](int, float x) { sum += x; });
    mean = warp_sum(sum) / count;
    for_each_pixel([&](int, float x) { squares += (x - mean) * (x - mean); });
    divisor = sqrtf(warp_sum(squares) / (count - 1)) + 1e-6f;
  }
  with_type(p.labels.type, [&](auto type) {
    using T = decltype(type);
    T* labels = (T*)p.labels.data + row_start(p.labels, row) + channel;
    for_each_pixel([&](int pixel, float x) { labels[pixel * cut.channels] = narrow<T>((x - mean) / divisor); });
  });
}
