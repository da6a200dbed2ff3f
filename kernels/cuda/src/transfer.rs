//! Between host and tensors: `write`, `read`.

use std::sync::Arc;

use cudarc::driver::result;
use kernels_backend::{DType, Error, Layout, Result, RowDims, Tensor, View, check};

use crate::{
    cast,
    device::Device,
    kernel::Context,
    memory::Memory,
    storage::{self, RowsArgument, type_code},
};

/// Memory for what is on its way; grown when something larger comes, then kept.
#[derive(Default)]
pub(crate) struct Staging {
    /// On the host.
    bytes: Vec<u8>,
    /// On the device, for numbers whose type changes there.
    memory: Option<Memory>,
}

/// At least `bytes` bytes of the device: what is there, or, where that is too small, new memory in its place.
pub(crate) fn device_memory<'a>(
    memory: &'a mut Option<Memory>,
    device: &Arc<Device>,
    bytes: usize,
) -> Result<&'a Memory> {
    if memory.as_ref().is_none_or(|memory| memory.bytes < bytes) {
        *memory = None;
    }
    match memory {
        Some(memory) => Ok(memory),
        none => Ok(none.insert(Memory::new(device, Some(bytes), &[bytes].into())?)),
    }
}

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
    let mut bytes = src.bytes();
    if let Layout::Heads { num_heads } = layout {
        staging.bytes.resize(bytes.len(), 0);
        let pieces = HeadPieces::new(&shape, num_heads, src.dtype().size());
        pieces.for_each(|row, head| staging.bytes[head].copy_from_slice(&bytes[row]));
        bytes = &staging.bytes;
    }
    if src.dtype() == dtype {
        return copy_in(ctx, OP, &storage.memory, 0, bytes);
    }
    let destination = storage.memory.address;
    let count = shape.elements();
    // One long row; the order of elements is the same on both sides.
    let line = RowDims { batch: 1, rows: 1, width: count, rows_per_sample: 1, offset: 0 };
    let to = RowsArgument::new(OP, destination, count, line, type_code(OP, "destination", dtype)?)?;
    let memory = device_memory(&mut staging.memory, ctx.device, bytes.len())?;
    copy_in(ctx, OP, memory, 0, bytes)?;
    let from = RowsArgument::new(OP, memory.address, count, line, type_code(OP, "view", src.dtype())?)?;
    cast::copy(ctx, OP, from, to, 1, count)
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
    let storage = storage::storage(OP, src, ctx.device)?;
    if src.dtype() == DType::F32 && src.layout() == Layout::Rows {
        return copy_out(ctx, OP, &storage.memory, bytemuck::cast_slice_mut(dst));
    }
    staging.bytes.resize(elements * src.dtype().size(), 0);
    copy_out(ctx, OP, &storage.memory, &mut staging.bytes)?;
    let Layout::Heads { num_heads } = src.layout() else {
        View::new(*src.shape(), src.dtype(), &staging.bytes)?.read_f32(0, dst);
        return Ok(());
    };
    let view = View::new(*src.shape(), src.dtype(), &staging.bytes)?;
    HeadPieces::new(src.shape(), num_heads, 1).for_each(|row, head| view.read_f32(head.start, &mut dst[row]));
    Ok(())
}

/// Host to the bytes of `memory` from `start` on.
pub(crate) fn copy_in(
    ctx: &Context<'_>,
    op: &'static str,
    memory: &Memory,
    start: usize,
    bytes: &[u8],
) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    assert!(start + bytes.len() <= memory.bytes, "{op}: a copy beyond its memory");
    ctx.device.bind(op)?;
    // SAFETY: the destination was just checked; the source is ordinary memory, which the driver has read when the call
    // returns.
    let copied =
        unsafe { result::memcpy_htod_async(memory.address + start as u64, bytes, ctx.stream.cu_stream()) };
    ctx.device.driver(op, copied)
}

/// The first bytes of `memory` to the host, waiting for the stream.
fn copy_out(ctx: &Context<'_>, op: &'static str, memory: &Memory, bytes: &mut [u8]) -> Result<()> {
    assert!(bytes.len() <= memory.bytes, "{op}: a copy beyond its memory");
    ctx.device.bind(op)?;
    if !bytes.is_empty() {
        // SAFETY: the source was just checked; the destination stays borrowed until the stream has come to rest.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, memory.address, ctx.stream.cu_stream()) };
        // Waits also after an error: the driver may have begun to write.
        let waited = ctx.stream.synchronize();
        ctx.device.driver(op, copied)?;
        return ctx.device.driver(op, waited);
    }
    ctx.device.driver(op, ctx.stream.synchronize())
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
