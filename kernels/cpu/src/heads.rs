//! q, k and v of each head: where they lie, how rows get there, and how they are read.

use std::ops::Range;

use kernels_backend::{DType, Layout, Result, Tensor, Write};

use crate::{
    operand::{put, round, widen},
    simd::Simd,
    storage::{CpuStorage, floats, floats_mut, row_stride},
    threads::Parts,
};

/// Where q, k and v of each head lie, in numbers of the tensor's type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadStrides {
    num_heads: usize,
    head_dim: usize,
    tokens: usize,
    /// From one token of a head to the next.
    pub(crate) token: usize,
    by_head: bool,
}

impl HeadStrides {
    /// For a tensor of shape `(B, N, 3·D)`, of f32 in either layout or of bf16 by heads. A vector of bf16 starts at a
    /// word.
    pub(crate) fn new(tensor: &Tensor, num_heads: usize) -> Self {
        let (tokens, width) = (tensor.shape()[1], tensor.shape()[2]);
        let head_dim = width / 3 / num_heads;
        let by_head = tensor.layout() != Layout::Rows;
        let token = match (by_head, tensor.dtype()) {
            (true, DType::Bf16) => head_dim.next_multiple_of(2),
            (true, _) => head_dim,
            (false, dtype) => row_stride(width, dtype),
        };
        Self { num_heads, head_dim, tokens, token, by_head }
    }

    /// The first number of q (0), k (1) or v (2) of a head; the tokens follow, [`HeadStrides::token`] apart.
    #[inline(always)]
    pub(crate) fn start(&self, sample: usize, which: usize, head: usize) -> usize {
        let Self { num_heads, head_dim, tokens, token, by_head } = *self;
        if by_head {
            ((sample * 3 + which) * num_heads + head) * tokens * token
        } else {
            sample * tokens * token + (which * num_heads + head) * head_dim
        }
    }

    /// Calls `piece(where it lies, its columns)` for each head that columns `columns` of a token touch.
    #[inline(always)]
    pub(crate) fn pieces(
        &self,
        sample: usize,
        token: usize,
        columns: Range<usize>,
        mut piece: impl FnMut(usize, Range<usize>),
    ) {
        let mut column = columns.start;
        while column < columns.end {
            let (block, within) = (column / self.head_dim, column % self.head_dim);
            let end = columns.end.min(column + self.head_dim - within);
            let start = self.start(sample, block / self.num_heads, block % self.num_heads);
            piece(start + token * self.token + within, column..end);
            column = end;
        }
    }
}

/// A tensor laid out by heads, to write.
pub(crate) struct HeadsMut<'a> {
    memory: Memory<'a>,
    strides: HeadStrides,
}

enum Memory<'a> {
    Numbers(Parts<'a, f32>),
    /// bf16
    Halves(Parts<'a, u16>),
}

impl<'a> HeadsMut<'a> {
    /// The memory of `tensor`.
    pub(crate) fn new(
        op: &'static str,
        operand: &'static str,
        tensor: &'a mut Tensor,
        num_heads: usize,
        name: &str,
    ) -> Result<Self> {
        let strides = HeadStrides::new(tensor, num_heads);
        let memory = if tensor.dtype() == DType::Bf16 {
            let words = &mut tensor.storage_mut::<CpuStorage>(op, name)?.0;
            Memory::Halves(Parts::new(bytemuck::cast_slice_mut(words)))
        } else {
            Memory::Numbers(Parts::new(floats_mut(op, operand, tensor, name)?))
        };
        Ok(Self { memory, strides })
    }

    /// Writes or adds to some columns of rows from the `row`-th on, counted over all samples; `values` are rows of `width`
    /// numbers, of which the first belong to these columns.
    ///
    /// # Safety
    /// - Nobody else reads or writes these columns of these rows meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn put<S: Simd>(
        &self,
        s: S,
        row: usize,
        columns: Range<usize>,
        values: &[f32],
        width: usize,
        write: Write,
    ) {
        let strides = self.strides;
        let (mut row, mut values) = (row, values);
        while !values.is_empty() {
            // A tile may go on in the next sample. Where its columns lie is found once for all rows of a sample.
            let (sample, token) = (row / strides.tokens, row % strides.tokens);
            let count = (strides.tokens - token).min(values.len() / width);
            let (here, rest) = values.split_at(count * width);
            strides.pieces(
                sample,
                token,
                columns.clone(),
                // Else it is a function of its own, without vector instructions.
                #[inline(always)]
                |at, piece| {
                    // What fills up the last word of a vector is written with it.
                    let whole = piece.end.is_multiple_of(strides.head_dim);
                    let filler = if whole { strides.head_dim % 2 } else { 0 };
                    let piece = piece.start - columns.start..piece.end - columns.start;
                    for (r, values) in here.chunks_exact(width).enumerate() {
                        // SAFETY: by this function's contract; different columns lie in different places.
                        unsafe {
                            self.put_at(s, at + r * strides.token, &values[piece.clone()], filler, write)
                        };
                    }
                },
            );
            (row, values) = (row + count, rest);
        }
    }

    /// Writes or adds numbers that lie together, and in bf16 so many zeros after them.
    ///
    /// # Safety
    /// - Nobody else reads or writes there meanwhile.
    #[inline(always)]
    unsafe fn put_at<S: Simd>(&self, s: S, at: usize, values: &[f32], filler: usize, write: Write) {
        match &self.memory {
            // SAFETY: by this function's contract.
            Memory::Numbers(parts) => put(s, unsafe { parts.part(at..at + values.len()) }, values, write),
            Memory::Halves(parts) => {
                // SAFETY: by this function's contract.
                round(values, unsafe { parts.part(at..at + values.len() + filler) }, write);
            }
        }
    }
}

/// q, k and v to read.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    words: &'a [f32],
    /// Numbers in a word: f32 or bf16.
    numbers: usize,
    pub(crate) strides: HeadStrides,
}

impl<'a> Heads<'a> {
    /// The memory of `tensor`.
    pub(crate) fn new(
        op: &'static str,
        operand: &'static str,
        tensor: &'a Tensor,
        num_heads: usize,
        name: &str,
    ) -> Result<Self> {
        let strides = HeadStrides::new(tensor, num_heads);
        if tensor.dtype() == DType::Bf16 && tensor.layout() != Layout::Rows {
            return Ok(Self { words: &tensor.storage::<CpuStorage>(op, name)?.0, numbers: 2, strides });
        }
        Ok(Self { words: floats(op, operand, tensor, name)?, numbers: 1, strides })
    }

    /// The words from the first q (0), k (1) or v (2) of a head on; heads are counted over all samples.
    #[inline(always)]
    pub(crate) fn words(&self, which: usize, head: usize) -> &'a [f32] {
        &self.words[self.first(which, head) / self.numbers..]
    }

    /// Words between two tokens.
    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        self.strides.token / self.numbers
    }

    /// One vector, where they are bf16.
    #[inline(always)]
    pub(crate) fn halves(&self, which: usize, head: usize, token: usize) -> &'a [u16] {
        let start = self.first(which, head) + token * self.strides.token;
        &bytemuck::cast_slice(self.words)[start..start + self.strides.head_dim]
    }

    /// The first numbers of one vector.
    #[inline(always)]
    pub(crate) fn read(&self, which: usize, head: usize, token: usize, to: &mut [f32]) {
        self.read_at(self.first(which, head) + token * self.strides.token, to);
    }

    /// The numbers from one place on, as [`HeadStrides::pieces`] gives it.
    #[inline(always)]
    pub(crate) fn read_at(&self, at: usize, to: &mut [f32]) {
        if self.numbers == 1 {
            to.copy_from_slice(&self.words[at..at + to.len()]);
        } else {
            widen(&bytemuck::cast_slice(self.words)[at..at + to.len()], to);
        }
    }

    fn first(&self, which: usize, head: usize) -> usize {
        let num_heads = self.strides.num_heads;
        self.strides.start(head / num_heads, which, head % num_heads)
    }
}
