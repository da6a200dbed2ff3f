//! Arrays that live where a backend keeps them.

use std::{any::Any, fmt};

use crate::{DType, Error, Result, Shape};

/// How a tensor may be laid out. A request at allocation: the backend chooses strides, padding and order
/// within it, and [`crate::Stream::read`] undoes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// One row after another; a backend may pad the rows.
    Rows,
    /// `qkv (B, N, 3·D)` kept as attention likes it, typically one matrix per sample and head.
    /// Written by `linear`, read by `attention`.
    Heads {
        /// The heads of each of q, k and v.
        num_heads: usize,
    },
}

/// Memory of one backend. Each backend has a type of its own and finds it again by downcast.
pub trait Storage: Any + Send + Sync {}

/// A shape, an element type, a layout, and memory that only the backend that made it understands.
pub struct Tensor {
    shape: Shape,
    dtype: DType,
    layout: Layout,
    storage: Box<dyn Storage>,
}

impl Tensor {
    /// Wraps a backend's memory. For backends; everyone else calls [`crate::Stream::alloc`].
    pub fn from_storage(shape: Shape, dtype: DType, layout: Layout, storage: impl Storage) -> Self {
        Self { shape, dtype, layout, storage: Box::new(storage) }
    }

    /// The sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The layout asked for at allocation.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Gives the memory a new shape. For backends, which know whether it fits; everyone else calls
    /// [`crate::Stream::resize`].
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// The memory, if it is of the type that backend `expected` makes.
    ///
    /// # Errors
    /// [`Error::Foreign`] when another backend made it.
    pub fn storage<S: Storage>(&self, op: &'static str, expected: &str) -> Result<&S> {
        let any: &dyn Any = &*self.storage;
        any.downcast_ref().ok_or_else(|| Error::Foreign { op, expected: expected.to_owned() })
    }

    /// As [`Tensor::storage`], to write to.
    ///
    /// # Errors
    /// [`Error::Foreign`] when another backend made it.
    pub fn storage_mut<S: Storage>(&mut self, op: &'static str, expected: &str) -> Result<&mut S> {
        let any: &mut dyn Any = &mut *self.storage;
        any.downcast_mut().ok_or_else(|| Error::Foreign { op, expected: expected.to_owned() })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor {} {} {:?}", self.shape, self.dtype, self.layout)
    }
}
