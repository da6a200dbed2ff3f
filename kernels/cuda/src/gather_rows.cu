// to[b, i] [+]= table[indices[b, i]].
//
// Bound by memory, as cast.cu. The host has checked the indices.
#include "rows.h"

struct GatherRows {
  Rows table, to;
  const int* indices;
  int total, width, count, accumulate;
};

KERNEL(256, 1, gather_rows, const __grid_constant__ GatherRows p) {
  Piece piece = piece_of_thread(p.width, p.count);
  if (piece.row >= p.total) return;
  move_piece(p.table, row_start(p.table, p.indices[piece.row]) + piece.column, p.to,
             row_start(p.to, piece.row) + piece.column, p.count, p.accumulate);
}
