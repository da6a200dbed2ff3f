use kernels_backend::{AttentionOptions, Error, Write};

use super::*;

#[test]
fn precisions_that_are_not_there_are_refused_with_a_way_out() {
    let backend = &CUDA.1;
    let block = LinearBlock { weight: View::f32([1, 1], &[1.0]).unwrap(), bias: None };
    let message = backend.pack_linear(&[block], WeightFormat::Int8).map(drop).unwrap_err().to_string();
    assert_eq!(message, "cuda:0: weight format int8 is not supported; use f32, bf16 or f16");
    assert!(matches!(Arc::clone(backend).backward_stream(), Err(Error::Unsupported { .. })));
    let mut stream = Arc::clone(backend).stream().unwrap();
    let s = &mut *stream;
    let (qkv, mut context) = (tensor(s, [1, 1, 3], &[1.0; 3]), unset(s, [1, 1, 1]));
    let precision = WeightFormat::Int8;
    let options = AttentionOptions { num_heads: 1, scale: 1.0, dropout: None, precision };
    let message = s.attention(&qkv, &options, &mut context, None).unwrap_err().to_string();
    assert_eq!(message, "cuda:0: attention in int8 is not supported; use f32, bf16 or f16");
}

#[test]
fn indices_that_the_host_has_not_written_are_refused() {
    let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
    let s = &mut *stream;
    let (table, mut y) = (tensor(s, [2, 3], &[0.0; 6]), unset(s, [1, 3]));
    let unwritten = s.alloc([1, 1].into(), DType::I32, Layout::Rows).unwrap();
    let error = s.gather_rows(&table, &unwritten, Write::Replace, (&mut y).into()).unwrap_err();
    assert!(error.to_string().contains("indices that were written"), "{error}");
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
