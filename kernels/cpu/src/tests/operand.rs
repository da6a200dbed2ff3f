use kernels_backend::{Epilogue, LayerNorm, View};
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
