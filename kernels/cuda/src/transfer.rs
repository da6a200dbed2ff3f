//! Between host and tensors: `write`, `read`.

use kernels_backend::{DType, Error, Layout, Result, RowDims, Tensor, View, check};

use crate::{
    cast,
    kernel::Context,
    memory::{Address, Memory},
    staging::{PIECE, Staging},
    storage::{self, RowsArgument, type_code},
};

/// Host to tensor. Float types are converted on the device, which is faster than moving numbers on the host.
pub(crate) fn write(
    ctx: &Context<'_>,
    staging: &mut Staging,
    src: &View<'_>,
    dst: &mut Tensor,
) -> Result<()> {
    const OP: &str = "write";
    check::shape(OP, "destination", dst, src.shape())?;
    check::converts(OP, "view", src.dtype(), dst.dtype())?;
    let (dtype, layout, shape) = (dst.dtype(), dst.layout(), *dst.shape());
    let storage = storage::storage_mut(OP, dst, ctx.device)?;
    if dtype == DType::I32 {
        storage.integers.clear();
        storage.integers.extend(src.to_i32().into_iter().flatten());
    }
    let mut by_head = Vec::new();
    let mut bytes = src.bytes();
    if let Layout::Heads { num_heads } = layout {
        by_head.resize(bytes.len(), 0);
        let pieces = HeadPieces::new(&shape, num_heads, src.dtype().size());
        pieces.for_each(|row, head| by_head[head].copy_from_slice(&bytes[row]));
        bytes = &by_head;
    }
    if src.dtype() == dtype {
        return copy_in(ctx, staging, OP, &storage.memory, 0, bytes);
    }
    let (from, to) = (type_code(OP, "view", src.dtype())?, type_code(OP, "destination", dtype)?);
    let mut destination = storage.memory.address;
    for piece in bytes.chunks(PIECE) {
        let unconverted = staging.unconverted()?;
        // SAFETY: there is a whole piece of memory; what was there was converted before, in the order of the stream.
        unsafe { staging.send(ctx, OP, piece, unconverted)? };
        let count = piece.len() / src.dtype().size();
        let from = line(OP, unconverted, count, from)?;
        cast::copy(ctx, OP, from, line(OP, destination, count, to)?, 1, count)?;
        destination += (count * dtype.size()) as Address;
    }
    Ok(())
}

/// One long row; the order of elements is the same on both sides of a conversion.
fn line(op: &'static str, address: Address, count: usize, dtype: i32) -> Result<RowsArgument> {
    let dims = RowDims { batch: 1, rows: 1, width: count, rows_per_sample: 1, offset: 0 };
    RowsArgument::new(op, address, count, dims, dtype)
}

/// Tensor to host, in canonical order and widened; waits for the stream.
pub(crate) fn read(ctx: &Context<'_>, staging: &mut Staging, src: &Tensor, dst: &mut [f32]) -> Result<()> {
    const OP: &str = "read";
    let elements = src.shape().elements();
    if dst.len() != elements {
        return Err(Error::Shape {
            op: OP,
            expected: format!("a destination of {elements} numbers"),
            found: dst.len().to_string(),
        });
    }
    let (dtype, size) = (src.dtype(), src.dtype().size());
    let memory = &storage::storage(OP, src, ctx.device)?.memory;
    let Layout::Heads { num_heads } = src.layout() else {
        return copy_out(ctx, staging, OP, memory, elements * size, &mut |start, piece| {
            let count = piece.len() / size;
            View::new([count], dtype, piece)?.read_f32(0, &mut dst[start / size..][..count]);
            Ok(())
        });
    };
    let mut by_head = vec![0; elements * size];
    copy_out(ctx, staging, OP, memory, by_head.len(), &mut |start, piece| {
        by_head[start..][..piece.len()].copy_from_slice(piece);
        Ok(())
    })?;
    let view = View::new(*src.shape(), dtype, &by_head)?;
    HeadPieces::new(src.shape(), num_heads, 1).for_each(|row, head| view.read_f32(head.start, &mut dst[row]));
    Ok(())
}

/// Host to the bytes of `memory` from `start` on.
pub(crate) fn copy_in(
    ctx: &Context<'_>,
    staging: &mut Staging,
    op: &'static str,
    memory: &Memory,
    start: usize,
    bytes: &[u8],
) -> Result<()> {
    assert!(start + bytes.len() <= memory.bytes, "{op}: a copy beyond its memory");
    let mut to = memory.address + start as Address;
    for piece in bytes.chunks(PIECE) {
        // SAFETY: the destination was just checked.
        unsafe { staging.send(ctx, op, piece, to)? };
        to += piece.len() as Address;
    }
    Ok(())
}

/// Gives the first `bytes` bytes of `memory` to `take`, piece by piece with their places, after waiting for the stream.
fn copy_out(
    ctx: &Context<'_>,
    staging: &mut Staging,
    op: &'static str,
    memory: &Memory,
    bytes: usize,
    take: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    assert!(bytes <= memory.bytes, "{op}: a copy beyond its memory");
    let mut before = None;
    for start in (0..bytes).step_by(PIECE) {
        let count = PIECE.min(bytes - start);
        // SAFETY: the source was just checked.
        let begun = unsafe { staging.begin(ctx, op, memory.address + start as Address, count)? };
        if let Some((start, begun)) = before.replace((start, begun)) {
            take(start, staging.finish(op, begun)?)?;
        }
    }
    match before {
        Some((start, begun)) => take(start, staging.finish(op, begun)?),
        None => ctx.queue.borrow_mut().synchronize(op),
    }
}

/// Where the part of a token that belongs to a head lies in `(B, N, 3, h, d)` and in `(B, 3, h, N, d)`.
struct HeadPieces {
    batch: usize,
    tokens: usize,
    /// 3·h
    parts: usize,
    /// Of a part: d elements of `size`.
    piece: usize,
}

impl HeadPieces {
    fn new(shape: &[usize], num_heads: usize, size: usize) -> Self {
        let parts = 3 * num_heads;
        Self { batch: shape[0], tokens: shape[1], parts, piece: shape[2] / parts * size }
    }

    /// Calls `body(place in rows, place by head)` for all pieces.
    fn for_each(&self, mut body: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>)) {
        let Self { batch, tokens, parts, piece } = *self;
        for i in 0..batch * tokens * parts {
            let (sample, token, part) = (i / parts / tokens, i / parts % tokens, i % parts);
            let by_head = ((sample * parts + part) * tokens + token) * piece;
            body(i * piece..(i + 1) * piece, by_head..by_head + piece);
        }
    }
}
