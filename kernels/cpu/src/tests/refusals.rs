use kernels_backend::{AttentionOptions, Epilogue, Error, LinearBlock, View};
use kernels_testing::typed;

use super::*;

#[test]
fn precisions_that_are_not_there_are_refused_with_a_way_out() {
    for backend in BACKENDS.iter() {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let message = stream.alloc([1].into(), DType::F16, Layout::Rows).unwrap_err().to_string();
        assert!(message.contains("f16") && message.contains("use f32 or bf16"), "{message}");
        // What is not a linear layer's input is f32, and a layer's input is of its own type if not f32.
        let s = &mut *stream;
        let [x, mut y] = [1, 2].map(|seed| typed(s, [1, 2], DType::Bf16, &noise(seed, 2)));
        let mut mean = unset(s, [1, 2]);
        let error = s.mean_tokens((&x).into(), &mut mean).unwrap_err();
        assert_eq!(
            error,
            Error::DType { op: "mean_tokens", operand: "x", expected: DType::F32, found: DType::Bf16 }
        );
        let linear = packed(backend, WeightFormat::F32, [2, 2], &[0.0; 4], None);
        let error = s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap_err();
        assert!(matches!(error, Error::DType { op: "linear", operand: "x", .. }), "{error}");
        let (num_heads, precision) = (1, WeightFormat::F32);
        let options = AttentionOptions { num_heads, scale: 1.0, dropout: None, precision };
        let qkv = s.alloc([1, 1, 3].into(), DType::Bf16, Layout::Heads { num_heads }).unwrap();
        let mut context = unset(s, [1, 1, 1]);
        let message = s.attention(&qkv, &options, &mut context, None).unwrap_err().to_string();
        assert!(
            message.contains("attention of bf16 in f32") && message.contains("values in f32"),
            "{message}"
        );
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
