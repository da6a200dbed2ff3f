//! Sizes of a tensor, without an allocation.

use std::{fmt, ops::Deref};

/// Up to five sizes, slowest dimension first. Derefs to a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; Shape::MAX_RANK],
    rank: usize,
}

impl Shape {
    /// `pixel_values (B, T, C, H, W)` has the most dimensions of all.
    pub const MAX_RANK: usize = 5;

    /// A shape of these sizes.
    ///
    /// # Panics
    /// With more than [`Shape::MAX_RANK`] sizes, which no op takes.
    pub fn new(sizes: &[usize]) -> Self {
        assert!(sizes.len() <= Self::MAX_RANK, "a shape has at most {} dimensions", Self::MAX_RANK);
        let mut dims = [1; Self::MAX_RANK];
        dims[..sizes.len()].copy_from_slice(sizes);
        Self { dims, rank: sizes.len() }
    }

    /// The number of elements, or `None` where it does not fit a `usize`.
    pub fn checked_elements(&self) -> Option<usize> {
        self.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
    }

    /// The number of elements of a shape that a tensor already has.
    pub fn elements(&self) -> usize {
        self.iter().product()
    }
}

impl<const R: usize> From<[usize; R]> for Shape {
    fn from(sizes: [usize; R]) -> Self {
        const { assert!(R <= Shape::MAX_RANK) };
        Self::new(&sizes)
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (i, d) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
