// to[b, i] [+]= table[i mod R]: the same R rows in every sample.
//
// Bound by memory, as cast.cu; the table stays in the cache.
#include "rows.h"

struct BroadcastRows {
  Rows table, to;
  int total, width, count, accumulate;
};

KERNEL(256, 1, broadcast_rows, const __grid_constant__ BroadcastRows p) {
  Piece piece = piece_of_thread(p.width, p.count);
  if (piece.row >= p.total) return;
  move_piece(p.table, row_start(p.table, piece.row % p.to.rows % p.table.rows) + piece.column, p.to,
             row_start(p.to, piece.row) + piece.column, p.count, p.accumulate);
}
