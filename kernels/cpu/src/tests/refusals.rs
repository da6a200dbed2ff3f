use kernels_backend::{DType, Epilogue, Error, LinearBlock, WeightFormat, Write};

use super::*;

#[test]
fn precisions_that_are_not_there_are_refused_with_a_way_out() {
    for backend in BACKENDS.iter() {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let message = stream.alloc([1].into(), DType::Bf16, Layout::Rows).unwrap_err().to_string();
        assert!(message.contains("bf16") && message.contains("use f32"), "{message}");
        let view = View::new([1], DType::F16, &[0, 0]).unwrap();
        assert!(matches!(backend.upload(&view), Err(Error::Unsupported { .. })));
        let block = LinearBlock { weight: View::f32([1, 1], &[1.0]).unwrap(), bias: None };
        assert!(matches!(backend.pack_linear(&[block], WeightFormat::F16), Err(Error::Unsupported { .. })));
        // 2³¹ / (255·127) terms are the most that an i32 holds.
        let long = vec![0.0; 66_312];
        let block = LinearBlock { weight: View::f32([1, long.len()], &long).unwrap(), bias: None };
        let message = backend.pack_linear(&[block], WeightFormat::Int8).map(drop).unwrap_err().to_string();
        assert!(message.contains("66312 inputs in int8"), "{message}");
        assert!(matches!(Arc::clone(backend).backward_stream(), Err(Error::Unsupported { .. })));
    }
}

#[test]
fn weights_and_tensors_of_other_backends_are_refused() {
    let reference: Arc<dyn Backend> = ReferenceBackend::open();
    for backend in BACKENDS.iter() {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let x = tensor(s, [1, 2], &[1.0, 2.0]);
        let mut y = unset(s, [1, 1]);
        let foreign = packed(&reference, [1, 2], &[1.0, 1.0], None);
        let error = s.linear((&x).into(), &foreign, Epilogue::none(), (&mut y).into()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        let own = packed(backend, [1, 2], &[1.0, 1.0], None);
        let foreign = reference.upload(&View::f32([1, 2], &[1.0, 2.0]).unwrap()).unwrap();
        let error = s.linear((&foreign).into(), &own, Epilogue::none(), (&mut y).into()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
    }
}

#[test]
fn wrong_shapes_types_layouts_and_indices_are_named() {
    for backend in BACKENDS.iter() {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let linear = packed(backend, [3, 2], &[0.0; 6], None);
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
        let by_head = laid_out(s, [1, 1, 6], heads, &[0.0; 6]);
        let mut rows = unset(s, [1, 6]);
        let error = s.cast((&by_head).into(), (&mut rows).into()).unwrap_err();
        assert!(error.to_string().contains("laid out in rows"), "{error}");
        assert!(s.alloc([1, 1, 7].into(), DType::F32, heads).is_err());

        let error = s.read(&x, &mut [0.0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "read: expected a destination of 4 numbers, found 3");
        let error = s.write(&View::i32([1, 6], &[0; 6]).unwrap(), &mut rows).unwrap_err();
        assert!(matches!(error, Error::DType { .. }), "{error}");
        let error = s.alloc([usize::MAX, 2].into(), DType::F32, Layout::Rows).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    }
}

#[test]
fn an_instruction_set_that_is_missing_says_why() {
    for &isa in Isa::all() {
        match isa.check() {
            Ok(()) => assert_eq!(open(isa, Some(1)).unwrap().name(), format!("cpu:{isa}")),
            Err(reason) => {
                let error = open(isa, Some(1)).err().unwrap();
                assert_eq!(error, Error::Unavailable { name: format!("cpu:{isa}"), reason });
            }
        }
    }
    assert!(Isa::best().check().is_ok());
    assert!(matches!(open(Isa::Portable, Some(0)), Err(Error::Unavailable { .. })));
}
