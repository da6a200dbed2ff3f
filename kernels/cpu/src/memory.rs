//! Memory for tensors and packed weights.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use kernels_backend::{Error, Result, Shape};

/// A cache line, and the widest vector.
const LINE: usize = 64;

/// From this size on, memory starts at a multiple of it and asks for pages of this size: 340 MB of weights are
/// 170 such pages, but 83 000 small ones, each of which costs a fault at load and an entry of the TLB later.
const HUGE_PAGE: usize = 2 << 20;

/// Zeroed `f32` memory, aligned to a cache line.
pub(crate) struct Buffer {
    /// What the allocator returned, and what it must be given back with.
    base: NonNull<u8>,
    layout: Layout,
    /// The first aligned number within.
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: a buffer owns its memory, as a `Vec<f32>` does.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zeros, or `None` where they cannot be had.
    pub(crate) fn zeroed(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<f32>())?;
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        // The allocator clears memory of a large alignment itself; of a small one it takes cleared pages from
        // the system, which cost nothing until they are touched. So the alignment is made here.
        let layout = Layout::from_size_align(bytes.checked_add(align)?, align_of::<f32>()).ok()?;
        // SAFETY: the size is at least `align`, so not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let skip = base.as_ptr().align_offset(align);
        // SAFETY: `align_offset` skips less than `align` bytes and as many were asked for on top.
        let start = unsafe { base.add(skip) };
        if bytes >= HUGE_PAGE {
            // Only whole pages: a page that is partly used would be resident as a whole.
            ask_for_huge_pages(start, bytes / HUGE_PAGE * HUGE_PAGE);
        }
        Some(Self { base, layout, start: start.cast(), len })
    }

    /// [`Buffer::zeroed`] for something of a shape that an error names; `None` is a length that no integer holds.
    pub(crate) fn of_shape(len: Option<usize>, name: &str, shape: impl Into<Shape>) -> Result<Self> {
        len.and_then(Self::zeroed).ok_or_else(|| Error::OutOfMemory {
            backend: name.to_owned(),
            bytes: len.and_then(|len| len.checked_mul(size_of::<f32>())).unwrap_or(usize::MAX),
            shape: shape.into().to_string(),
            free: None,
        })
    }

    /// Makes room for rows × width words, of which the old ones are lost.
    pub(crate) fn grow(&mut self, name: &str, [rows, width]: [usize; 2]) -> Result<()> {
        let words = rows.checked_mul(width);
        if words.is_none_or(|words| self.len < words) {
            *self = Self::of_shape(words, name, [rows, width])?;
        }
        Ok(())
    }
}

/// Makes `memory` at least so long; it is never shortened, so that nothing is allocated once the largest was seen.
pub(crate) fn grow<T: Clone + Default>(memory: &mut Vec<T>, len: usize) {
    if memory.len() < len {
        memory.resize(len, T::default());
    }
}

impl Default for Buffer {
    /// No memory.
    fn default() -> Self {
        Self::zeroed(0).expect("no memory is always to be had")
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `start` is aligned and followed by `len` initialised numbers that `self` owns.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: both are what the allocation was made with.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
fn ask_for_huge_pages(start: NonNull<u8>, bytes: usize) {
    // A refusal is harmless: the memory then has small pages.
    // SAFETY: the range lies within an allocation that the caller owns, and the advice changes no contents.
    unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(any(not(target_os = "linux"), miri))]
fn ask_for_huge_pages(_: NonNull<u8>, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_of_the_size_asked_for() {
        let large = if cfg!(miri) { 1000 } else { HUGE_PAGE / 4 };
        for len in [0, 1, 15, 16, 17, large - 1, large, 2 * large + 3] {
            let mut buffer = Buffer::zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|&x| x == 0.0));
            let align = if len * 4 >= HUGE_PAGE { HUGE_PAGE } else { LINE };
            assert_eq!(buffer.as_ptr().addr() % align, 0, "{len}");
            buffer.fill(1.0);
        }
    }

    #[test]
    fn an_absurd_size_is_refused() {
        assert!(Buffer::zeroed(usize::MAX).is_none());
        assert!(Buffer::zeroed(usize::MAX / 8).is_none());
    }
}
