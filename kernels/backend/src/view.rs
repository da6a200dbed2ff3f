//! Borrowed host data on its way to a backend.

use crate::{DType, Error, Result, Shape};

/// A read-only array in host memory: little-endian, row-major, of any alignment, so that a tensor of a
/// memory-mapped checkpoint can be handed to a backend as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    shape: Shape,
    dtype: DType,
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    /// Elements of type `dtype`, as they lie in a file.
    ///
    /// # Errors
    /// [`Error::Shape`] when `bytes` has another length than `shape` and `dtype` ask for.
    pub fn new(shape: impl Into<Shape>, dtype: DType, bytes: &'a [u8]) -> Result<Self> {
        let shape = shape.into();
        let expected = shape.checked_elements().and_then(|n| n.checked_mul(dtype.size()));
        if expected != Some(bytes.len()) {
            return Err(Error::Shape {
                op: "view",
                expected: format!("the bytes of {shape} {dtype}"),
                found: format!("{} bytes", bytes.len()),
            });
        }
        Ok(Self { shape, dtype, bytes })
    }

    /// A slice of `f32`.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn f32(shape: impl Into<Shape>, data: &'a [f32]) -> Result<Self> {
        Self::new(shape, DType::F32, bytemuck::cast_slice(data))
    }

    /// A slice of indices or labels.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn i32(shape: impl Into<Shape>, data: &'a [i32]) -> Result<Self> {
        Self::new(shape, DType::I32, bytemuck::cast_slice(data))
    }

    /// A slice of levels of pixels.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn u8(shape: impl Into<Shape>, data: &'a [u8]) -> Result<Self> {
        Self::new(shape, DType::U8, data)
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of elements differs.
    pub fn reshape(self, shape: impl Into<Shape>) -> Result<Self> {
        Self::new(shape, self.dtype, self.bytes)
    }

    /// The sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// All bytes, little-endian.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Writes elements `start..start + out.len()` to `out`, widened to `f32`.
    ///
    /// # Panics
    /// When the range leaves the view.
    pub fn read_f32(&self, start: usize, out: &mut [f32]) {
        let size = self.dtype.size();
        let bytes = &self.bytes[start * size..(start + out.len()) * size];
        let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        let quads = || bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
        match self.dtype {
            DType::F32 => out.iter_mut().zip(quads()).for_each(|(o, b)| *o = f32::from_le_bytes(b)),
            DType::I32 => out.iter_mut().zip(quads()).for_each(|(o, b)| *o = i32::from_le_bytes(b) as f32),
            DType::U8 => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = b.into()),
            DType::Bf16 => {
                out.iter_mut().zip(pairs()).for_each(|(o, b)| *o = half::bf16::from_le_bytes(b).to_f32());
            }
            DType::F16 => {
                out.iter_mut().zip(pairs()).for_each(|(o, b)| *o = half::f16::from_le_bytes(b).to_f32());
            }
        }
    }

    /// All elements, widened to `f32`. Allocates; for set-up, tests and small tables.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.shape.elements()];
        self.read_f32(0, &mut out);
        out
    }

    /// All elements of an `I32` view; `None` for another type.
    pub fn to_i32(&self) -> Option<Vec<i32>> {
        (self.dtype == DType::I32).then(|| {
            self.bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        })
    }
}
