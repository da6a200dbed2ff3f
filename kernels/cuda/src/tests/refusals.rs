use kernels_backend::{Epilogue, Error, Write};

use super::*;

#[test]
fn precisions_that_are_not_there_are_refused_with_a_way_out() {
    let backend = &CUDA.1;
    let block = LinearBlock { weight: View::f32([1, 1], &[1.0]).unwrap(), bias: None };
    let message = backend.pack_linear(&[block], WeightFormat::Int8).map(drop).unwrap_err().to_string();
    assert_eq!(message, "cuda:0: weight format int8 is not supported; use f32, bf16 or f16");
    assert!(matches!(Arc::clone(backend).backward_stream(), Err(Error::Unsupported { .. })));
}

#[test]
fn weights_and_tensors_of_other_backends_are_refused() {
    let reference: Arc<dyn Backend> = ReferenceBackend::open();
    let backend = &CUDA.1;
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
}

#[test]
fn wrong_shapes_types_layouts_and_indices_are_named() {
    let backend = &CUDA.1;
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
    let unwritten = s.alloc([1, 1].into(), DType::I32, Layout::Rows).unwrap();
    let error = s.gather_rows(&table, &unwritten, Write::Replace, (&mut y).into()).unwrap_err();
    assert!(error.to_string().contains("indices that were written"), "{error}");
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

    let error = s.read(&x, &mut [0.0; 3]).unwrap_err();
    assert_eq!(error.to_string(), "read: expected a destination of 4 numbers, found 3");
    let error = s.write(&View::i32([1, 6], &[0; 6]).unwrap(), &mut rows).unwrap_err();
    assert!(matches!(error, Error::DType { .. }), "{error}");
}

#[test]
fn memory_that_cannot_be_had_is_an_error_that_says_how_much() {
    let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
    let error = stream.alloc([usize::MAX, 2].into(), DType::F32, Layout::Rows).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    let error = stream.alloc([1 << 20, 1 << 20].into(), DType::Bf16, Layout::Rows).unwrap_err();
    let expected = "cuda:0: cannot allocate 2199023255552 bytes for a tensor of shape (1048576, 1048576), ";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(error.to_string().ends_with(" bytes are free"), "{error}");
}

#[test]
fn a_gpu_that_is_not_there_is_refused_by_its_number() {
    LazyLock::force(&CUDA);
    let error = crate::open(99).err().unwrap().to_string();
    assert!(error.starts_with("backend cuda:99 cannot run on this machine: expected one of the "), "{error}");
    assert!(error.ends_with("counted from 0, found number 99"), "{error}");
    assert!(crate::check(0).is_ok() && !crate::devices().unwrap().is_empty());
}
