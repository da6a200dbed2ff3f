//! What is wrong with a call is said, and nothing is written.

use std::sync::Arc;

use kernels_backend::{DType, Epilogue, Error, Layout, View, WeightFormat, Write};

use crate::{Subject, integers, laid_out, packed, subject::reference, tensor, unset};

/// Memory of another backend cannot be reached.
pub fn weights_and_tensors_of_other_backends_are_refused(subject: &dyn Subject) {
    let reference = reference();
    subject.each(&mut |backend, _| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let x = tensor(s, [1, 2], &[1.0, 2.0]);
        let mut y = unset(s, [1, 1]);
        let foreign = packed(&reference, WeightFormat::F32, [1, 2], &[1.0, 1.0], None);
        let error = s.linear((&x).into(), &foreign, Epilogue::none(), (&mut y).into()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        let own = packed(backend, WeightFormat::F32, [1, 2], &[1.0, 1.0], None);
        let foreign = reference.upload(&View::f32([1, 2], &[1.0, 2.0]).unwrap()).unwrap();
        let error = s.linear((&foreign).into(), &own, Epilogue::none(), (&mut y).into()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    });
}

/// With what was expected and what was found.
pub fn wrong_shapes_types_layouts_and_indices_are_named(subject: &dyn Subject) {
    subject.each(&mut |backend, _| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let linear = packed(backend, WeightFormat::F32, [3, 2], &[0.0; 6], None);
        let x = tensor(s, [1, 4], &[0.0; 4]);
        let mut y = unset(s, [1, 3]);
        let error = s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap_err();
        assert_eq!(error.to_string(), "linear: expected 2 input features, found rows of 4");

        let table = tensor(s, [2, 3], &[0.0; 6]);
        for (index, found) in [(2, "2"), (-1, "-1")] {
            let indices = integers(s, [1, 1], &[index]);
            let error = s.gather_rows(&table, &indices, Write::Replace, (&mut y).into()).unwrap_err();
            assert_eq!(error.to_string(), format!("gather_rows: index {found} is outside 0..2"));
        }
        let error = s.gather_rows(&table, &x, Write::Replace, (&mut y).into()).unwrap_err();
        assert!(matches!(error, Error::DType { .. }), "{error}");

        let logits = tensor(s, [1, 3], &[0.0; 3]);
        let labels = integers(s, [1], &[3]);
        let mut one = unset(s, [1]);
        let error = s.cross_entropy_loss(&logits, &labels, None, &mut one, None);
        assert!(matches!(error, Err(Error::Index { index: 3, bound: 3, .. })), "{error:?}");

        let heads = Layout::Heads { num_heads: 2 };
        let by_head = laid_out(s, [1, 1, 6], DType::F32, heads, &[0.0; 6]);
        let mut rows = unset(s, [1, 6]);
        let error = s.cast((&by_head).into(), (&mut rows).into()).unwrap_err();
        assert!(error.to_string().contains("laid out in rows"), "{error}");
        assert!(s.alloc([1, 1, 7].into(), DType::F32, heads).is_err());

        let shape = [1, 1, 1, 1, 2];
        let levels = tensor(s, shape, &[0.0; 2]);
        let (lookup, mut pixels) = (tensor(s, [1, 256], &[0.0; 256]), unset(s, shape));
        let error = s.normalize_levels(&levels, &lookup, &mut pixels).unwrap_err();
        assert_eq!(error.to_string(), "normalize_levels: expected levels of type u8, found f32");
        let mut levels = s.alloc(shape.into(), DType::U8, Layout::Rows).unwrap();
        let error = s.write(&View::f32(shape, &[0.0; 2]).unwrap(), &mut levels).unwrap_err();
        assert!(matches!(error, Error::DType { expected: DType::U8, found: DType::F32, .. }), "{error}");

        let error = s.read(&x, &mut [0.0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "read: expected a destination of 4 numbers, found 3");
        let error = s.write(&View::i32([1, 6], &[0; 6]).unwrap(), &mut rows).unwrap_err();
        assert!(matches!(error, Error::DType { .. }), "{error}");
    });
}

/// Sizes whose product overflows.
pub fn memory_that_no_integer_counts_is_refused(subject: &dyn Subject) {
    subject.each(&mut |backend, _| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let error = stream.alloc([usize::MAX, 2].into(), DType::F32, Layout::Rows).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    });
}
