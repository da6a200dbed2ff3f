// A video and how it is cut into patches.
#pragma once
#include "types.h"

/// As `patches::CutArgument`.
struct Cut {
  const void* pixels;
  /// The tokens of each row, or null for all in order.
  const int* indices;
  Type type;
  /// T, C, H and W.
  int frames, channels, height, width;
  int tubelet_size, patch_height, patch_width;
  /// Rows of a sample: V with indices, else all N patches.
  int rows;
};

/// The first pixel of a patch.
struct Corner {
  int sample, frame, y, x;
};

/// The patch that row `row` of all samples is.
__device__ __forceinline__ Corner corner_of_row(const Cut& cut, int row) {
  int sample = row / cut.rows;
  int token = cut.indices ? cut.indices[row] : row - sample * cut.rows;
  int columns = cut.width / cut.patch_width, lines = cut.height / cut.patch_height;
  int line = token / columns;
  return {sample, line / lines * cut.tubelet_size, line % lines * cut.patch_height, token % columns * cut.patch_width};
}

/// The flat index in (B, T, C, H, W) of a pixel of a patch.
__device__ __forceinline__ i64 pixel_index(const Cut& cut, Corner corner, int channel, int t, int y, int x) {
  i64 plane = ((i64)corner.sample * cut.frames + corner.frame + t) * cut.channels + channel;
  return (plane * cut.height + corner.y + y) * cut.width + corner.x + x;
}
