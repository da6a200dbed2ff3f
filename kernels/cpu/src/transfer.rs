//! Between host and tensors: `write`, `read`, `cast`.

use kernels_backend::{DType, Error, Layout, Result, Rows, RowsMut, Tensor, View, Write, check};

use crate::{
    heads::{Heads, HeadsMut},
    operand::{OperandMut, widen},
    simd::Portable,
    storage::{Matrix, RowShape, floats, floats_mut, integers, levels},
    threads::Threads,
};

/// Host to tensor, widening to `f32`.
pub(crate) fn write(threads: &Threads, name: &str, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
    const OP: &str = "write";
    check::shape(OP, "destination", dst, src.shape())?;
    check::converts(OP, "view", src.dtype(), dst.dtype())?;
    if let Layout::Heads { num_heads } = dst.layout() {
        return write_heads(name, src, dst, num_heads);
    }
    let shape = RowShape::of(dst);
    if !dst.dtype().is_float() {
        let storage = dst.storage_mut::<crate::storage::CpuStorage>(OP, name)?;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut storage.0);
        bytes[..src.bytes().len()].copy_from_slice(src.bytes());
        return Ok(());
    }
    if dst.dtype() == DType::Bf16 {
        return write_pairs(threads, name, src, dst);
    }
    let words = &mut floats_mut(OP, "destination", dst, name)?[..shape.words()];
    if shape.rows <= 1 {
        // One long row, such as a video.
        const CHUNK: usize = 64 << 10;
        threads.for_each_chunk(words, CHUNK, |i, chunk| src.read_f32(i * CHUNK, chunk));
    } else if shape.width > 0 {
        let block = (16usize << 10).div_ceil(shape.width);
        threads.for_each_chunk(words, block * shape.stride, |b, rows| {
            for (i, row) in rows.chunks_mut(shape.stride).enumerate() {
                src.read_f32((b * block + i) * shape.width, &mut row[..shape.width]);
            }
        });
    }
    Ok(())
}

fn write_pairs(threads: &Threads, name: &str, src: &View<'_>, dst: &mut Tensor) -> Result<()> {
    let mut rows = OperandMut::new("write", "destination", dst.into(), name)?;
    rows.for_each_row(threads, |i, row| {
        let start = i * row.width();
        row.fill(|columns, values| src.read_f32(start + columns.start, values));
    });
    Ok(())
}

fn write_heads(name: &str, src: &View<'_>, dst: &mut Tensor, num_heads: usize) -> Result<()> {
    let [batch, tokens, width] = [dst.shape()[0], dst.shape()[1], dst.shape()[2]];
    let heads = HeadsMut::new("write", "destination", dst, num_heads, name)?;
    let mut values = vec![0.0; width];
    for row in 0..batch * tokens {
        src.read_f32(row * width, &mut values);
        // SAFETY: one row at a time, and `dst` is borrowed exclusively.
        unsafe { heads.put(Portable, row, 0..width, &values, width, Write::Replace) };
    }
    Ok(())
}

/// Tensor to host, in canonical order.
pub(crate) fn read(name: &str, src: &Tensor, dst: &mut [f32]) -> Result<()> {
    const OP: &str = "read";
    let elements = src.shape().elements();
    if dst.len() != elements {
        return Err(Error::Shape {
            op: OP,
            expected: format!("a destination of {elements} numbers"),
            found: dst.len().to_string(),
        });
    }
    if src.dtype() == DType::I32 {
        let values = integers(OP, "source", src, name)?;
        dst.iter_mut().zip(values).for_each(|(d, &s)| *d = s as f32);
        return Ok(());
    }
    if src.dtype() == DType::U8 {
        let levels = levels(OP, "source", src, name)?;
        dst.iter_mut().zip(levels).for_each(|(d, &level)| *d = level.into());
        return Ok(());
    }
    if let Layout::Heads { num_heads } = src.layout() {
        let heads = Heads::new(OP, "source", src, num_heads, name)?;
        let (tokens, width) = (src.shape()[1], src.shape()[2]);
        for (row, out) in dst.chunks_exact_mut(width.max(1)).enumerate() {
            heads.strides.pieces(row / tokens, row % tokens, 0..width, |at, columns| {
                heads.read_at(at, &mut out[columns]);
            });
        }
        return Ok(());
    }
    if src.dtype() == DType::Bf16 {
        let rows = Rows::from(src);
        let (pairs, width) = (Matrix::of_pairs(OP, "source", &rows, name)?, rows.dims.width);
        for (i, out) in dst.chunks_exact_mut(width.max(1)).enumerate() {
            widen(bytemuck::cast_slice(pairs.row(i)), out);
        }
        return Ok(());
    }
    let words = floats(OP, "source", src, name)?;
    let shape = RowShape::of(src);
    for (i, out) in dst.chunks_exact_mut(shape.width.max(1)).enumerate() {
        out.copy_from_slice(&words[shape.row(i)]);
    }
    Ok(())
}

/// Copies rows.
pub(crate) fn cast(threads: &Threads, name: &str, src: &Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
    const OP: &str = "cast";
    check::same_rows(OP, src.dims, dst.dims)?;
    let mut dst = OperandMut::new(OP, "destination", dst, name)?;
    if src.tensor.dtype() == DType::Bf16 {
        let src = Matrix::of_pairs(OP, "source", src, name)?;
        dst.for_each_row(threads, |i, row| {
            let halves: &[u16] = bytemuck::cast_slice(src.row(i));
            row.fill(|columns, to| widen(&halves[columns], to));
        });
    } else {
        let src = Matrix::new(OP, "source", src, name)?;
        dst.for_each_row(threads, |i, row| row.fill(|columns, to| to.copy_from_slice(&src.row(i)[columns])));
    }
    Ok(())
}
