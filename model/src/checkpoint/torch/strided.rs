//! Tensors as views of storages: an offset, and a stride for each dimension.

use std::borrow::Cow;

/// A view that has been checked against its storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strided {
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
    elements: usize,
}

impl Strided {
    /// Checks that every element lies in a storage of `length` elements.
    ///
    /// An *expanded* tensor repeats elements by strides of zero, and could describe more of them than any memory
    /// holds. None that is a weight has more elements than its storage, so more are refused.
    pub(super) fn new(
        shape: &[usize],
        strides: &[usize],
        offset: usize,
        length: usize,
    ) -> Result<Self, (String, String)> {
        let found = || format!("shape {shape:?}, strides {strides:?}, offset {offset}");
        if shape.len() != strides.len() {
            return Err(("as many strides as dimensions".to_owned(), found()));
        }
        let elements = match shape.contains(&0) {
            true => Some(0),
            false => shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)),
        };
        let Some(elements) = elements.filter(|&n| n <= length) else {
            return Err((format!("at most the {length} elements of its storage"), found()));
        };
        let last = shape.iter().zip(strides).try_fold(offset, |last, (&size, &stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(stride)?)
        });
        // Without elements nothing is read, wherever it lies.
        if elements > 0 && last.is_none_or(|last| last >= length) {
            return Err((format!("elements within the {length} of its storage"), found()));
        }
        Ok(Self { shape: shape.to_vec(), strides: strides.to_vec(), offset, elements })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in row-major order: where they lie if they lie so, else gathered.
    pub(super) fn bytes<'s>(&self, storage: &'s [u8], size: usize) -> Cow<'s, [u8]> {
        if self.elements == 0 {
            return Cow::Borrowed(&[]);
        }
        if self.is_row_major() {
            return Cow::Borrowed(&storage[self.offset * size..(self.offset + self.elements) * size]);
        }
        let mut gathered = Vec::with_capacity(self.elements * size);
        let mut index = vec![0; self.shape.len()];
        let mut position = self.offset;
        for _ in 0..self.elements {
            gathered.extend_from_slice(&storage[position * size..(position + 1) * size]);
            // Counts up like a number whose last digit is the last index.
            for (axis, digit) in index.iter_mut().enumerate().rev() {
                *digit += 1;
                position += self.strides[axis];
                if *digit < self.shape[axis] {
                    break;
                }
                position -= *digit * self.strides[axis];
                *digit = 0;
            }
        }
        Cow::Owned(gathered)
    }

    /// The stride of a dimension of one index is never used.
    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected *= size;
            fits
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STORAGE: [u8; 24] = {
        let mut bytes = [0; 24];
        let mut i = 0;
        while i < 24 {
            bytes[i] = i as u8;
            i += 1;
        }
        bytes
    };

    #[test]
    fn a_transposed_view_is_gathered_and_a_plain_one_is_not() {
        let plain = Strided::new(&[2, 3], &[3, 1], 1, 24).unwrap();
        assert!(matches!(plain.bytes(&STORAGE, 1), Cow::Borrowed([1, 2, 3, 4, 5, 6])));
        let transposed = Strided::new(&[3, 2], &[1, 3], 1, 24).unwrap();
        assert_eq!(&*transposed.bytes(&STORAGE, 1), [1, 4, 2, 5, 3, 6]);
        // Strides of dimensions with one index mean nothing.
        let odd = Strided::new(&[1, 4], &[99, 1], 0, 24).unwrap();
        assert!(matches!(odd.bytes(&STORAGE, 1), Cow::Borrowed([0, 1, 2, 3])));
    }

    #[test]
    fn views_beyond_their_storage_are_refused() {
        let max = usize::MAX;
        for (shape, strides, offset) in [
            (&[25][..], &[1][..], 0),
            (&[24], &[1], 1),
            (&[2, 2], &[1], 0),
            (&[2], &[24], 0),
            (&[1], &[1], 24),
            (&[1 << 40], &[0], 0),
            (&[max, max], &[1, 1], 0),
            (&[2], &[max], 1),
            (&[], &[], 24),
        ] {
            assert!(Strided::new(shape, strides, offset, 24).is_err(), "{shape:?} {strides:?} {offset}");
        }
        // Nothing can be read of an empty tensor, so it may be anywhere.
        assert_eq!(Strided::new(&[0, max], &[max, 1], 99, 24).unwrap().bytes(&STORAGE, 1).len(), 0);
    }

    proptest! {
        #[test]
        fn every_view_that_is_accepted_reads_the_elements_it_names(
            dims in prop::collection::vec((0usize..5, 0usize..9), 0..4),
            offset in 0usize..12,
        ) {
            let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
            let Ok(view) = Strided::new(&shape, &strides, offset, 12) else { return Ok(()) };
            let read = view.bytes(&STORAGE, 2);
            let count: usize = shape.iter().product();
            prop_assert_eq!(read.len(), count * 2);
            for (flat, pair) in read.chunks_exact(2).enumerate() {
                let mut rest = flat;
                let mut position = offset;
                for (&size, &stride) in shape.iter().zip(&strides).rev() {
                    position += rest % size * stride;
                    rest /= size;
                }
                prop_assert_eq!(pair, &STORAGE[position * 2..position * 2 + 2]);
            }
        }
    }
}
