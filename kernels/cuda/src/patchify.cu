// patches[b, i, (c, t, y, x)] = the pixels of patch indices[b, i], or of patch i.
//
// Bound by memory. A thread moves four neighbours of a pixel row where patches are so wide, so reads are 16 bytes and
// writes are contiguous over the whole block.
#include "patches.h"
#include "rows.h"

struct Patchify {
  Cut cut;
  Rows patches;
  int total, width, count;
};

KERNEL(256, 1, patchify, const __grid_constant__ Patchify p) {
  Piece piece = piece_of_thread(p.width, p.count);
  if (piece.row >= p.total) return;
  const Cut& cut = p.cut;
  int rest = piece.column;
  int x = rest % cut.patch_width;
  rest /= cut.patch_width;
  int y = rest % cut.patch_height;
  rest /= cut.patch_height;
  int t = rest % cut.tubelet_size, channel = rest / cut.tubelet_size;
  i64 from = pixel_index(cut, corner_of_row(cut, piece.row), channel, t, y, x);
  i64 to = row_start(p.patches, piece.row) + piece.column;
  with_type(cut.type, [&](auto f) {
    with_type(p.patches.type, [&](auto t) {
      move_piece((const decltype(f)*)cut.pixels + from, (decltype(t)*)p.patches.data + to, p.count, 0);
    });
  });
}
