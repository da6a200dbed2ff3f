use kernels_backend::{AttentionOptions, Epilogue, LayerNorm, View};
use kernels_testing::unset_in;

use super::*;

#[test]
fn what_fills_the_last_word_of_a_row_is_zero_whatever_was_there() {
    for backend in BACKENDS.iter() {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        // Where the upper half of the second word is to be, an infinity lay, which times zero would be NaN.
        let mut normed = unset_in(s, [1, 8], DType::Bf16);
        s.write(&View::f32([1, 8], &[f32::INFINITY; 8]).unwrap(), &mut normed).unwrap();
        s.resize(&mut normed, [1, 3].into()).unwrap();
        let norm =
            LayerNorm { weight: tensor(s, [3], &[1.0; 3]), bias: tensor(s, [3], &[0.0; 3]), eps: 1e-6 };
        let x = tensor(s, [1, 3], &[-1.0, 0.0, 1.0]);
        s.layer_norm((&x).into(), &norm, (&mut normed).into(), None).unwrap();
        let linear = packed(backend, WeightFormat::Bf16, [1, 3], &[1.0, 1.0, -1.0], None);
        let mut y = unset(s, [1, 1]);
        s.linear((&normed).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
        // √(3/2), the inverse deviation, rounded to bf16.
        let expected = -2.0 * 1.226_562_5;
        assert_eq!(values(s, &y), [expected], "{}", backend.name());
    }
}

#[test]
fn what_fills_the_last_word_of_a_vector_of_a_head_is_zero_whatever_was_there() {
    for backend in BACKENDS.iter().filter(|b| b.attention_inputs(WeightFormat::Bf16) == DType::Bf16) {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let num_heads = 1;
        let mut qkv = s.alloc([1, 2, 12].into(), DType::Bf16, Layout::Heads { num_heads }).unwrap();
        s.write(&View::f32([1, 2, 12], &[f32::INFINITY; 24]).unwrap(), &mut qkv).unwrap();
        s.resize(&mut qkv, [1, 2, 9].into()).unwrap();
        let linear = packed(backend, WeightFormat::F32, [9, 1], &[0.5; 9], None);
        let x = tensor(s, [1, 2, 1], &[1.0, 3.0]);
        s.linear((&x).into(), &linear, Epilogue::none(), (&mut qkv).into()).unwrap();
        let options =
            AttentionOptions { num_heads, scale: 0.0, dropout: None, precision: WeightFormat::Bf16 };
        let mut context = unset(s, [1, 2, 3]);
        s.attention(&qkv, &options, &mut context, None).unwrap();
        assert_eq!(values(s, &context), [1.0; 6], "{}", backend.name());
    }
}
