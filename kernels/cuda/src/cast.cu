// to[i] = from[i], row by row, between element types.
//
// Bound by memory: a thread moves four elements where rows allow it (8 or 16 bytes an access), neighbours neighbouring
// ones.
#include "rows.h"

struct Cast {
  Rows from, to;
  int total, width;
  /// Elements that a thread moves: 4, or 1 where rows do not start at multiples of four.
  int count;
};

KERNEL(256, 1, cast, const __grid_constant__ Cast p) {
  Piece piece = piece_of_thread(p.width, p.count);
  if (piece.row >= p.total) return;
  move_piece(p.from, row_start(p.from, piece.row) + piece.column, p.to, row_start(p.to, piece.row) + piece.column,
             p.count, 0);
}
