use kernels_backend::{Activation, AttentionOptions, Epilogue, LayerNorm, enter};

use super::*;

/// A transformer layer's worth of ops; every bit of what it leaves.
fn bits(backend: &Arc<dyn Backend>, tokens: usize, inside: bool) -> Vec<u32> {
    let (width, num_heads) = (40, 5);
    let mut stream = Arc::clone(backend).stream().unwrap();
    let qkv_layer =
        packed(backend, WeightFormat::F32, [3 * width, width], &noise(1, 3 * width * width), None);
    let mlp =
        packed(backend, WeightFormat::F32, [width, width], &noise(2, width * width), Some(&noise(3, width)));
    let s = &mut *stream;
    let norm = LayerNorm {
        weight: tensor(s, [width], &noise(4, width)),
        bias: tensor(s, [width], &noise(5, width)),
        eps: 1e-6,
    };
    let mut x = tensor(s, [2, tokens, width], &noise(6, 2 * tokens * width));
    let mut normed = unset(s, [2, tokens, width]);
    let mut qkv = s.alloc([2, tokens, 3 * width].into(), DType::F32, Layout::Heads { num_heads }).unwrap();
    let mut mean = unset(s, [2, width]);
    let mut body = |s: &mut dyn Stream| {
        s.layer_norm((&x).into(), &norm, (&mut normed).into(), None).unwrap();
        s.linear((&normed).into(), &qkv_layer, Epilogue::none(), (&mut qkv).into()).unwrap();
        let options = AttentionOptions { num_heads, scale: 0.3, dropout: None, precision: WeightFormat::F32 };
        s.attention(&qkv, &options, &mut normed, None).unwrap();
        let epilogue = Epilogue { activation: Activation::Gelu, ..Epilogue::accumulate() };
        s.linear((&normed).into(), &mlp, epilogue, (&mut x).into()).unwrap();
        s.mean_tokens((&x).into(), &mut mean).unwrap();
    };
    if inside {
        enter(s, body)
    } else {
        body(s)
    }
    let mut result = values(s, &x);
    result.extend(values(s, &mean));
    result.into_iter().map(f32::to_bits).collect()
}

#[test]
#[cfg_attr(miri, ignore = "too large")]
fn results_have_the_same_bits_for_any_number_of_threads() {
    let by_threads: Vec<_> = [1, 2, 3].map(backends).into_iter().collect();
    for (i, one) in by_threads[0].iter().enumerate() {
        for tokens in [1, 17, 300] {
            let expected = bits(one, tokens, false);
            for backends in &by_threads {
                for inside in [false, true] {
                    assert_eq!(
                        bits(&backends[i], tokens, inside),
                        expected,
                        "{tokens} tokens on {}",
                        one.name()
                    );
                }
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large")]
fn a_row_has_the_same_bits_in_whatever_tile_it_falls() {
    let (inputs, outputs) = (37, 21);
    for backend in BACKENDS.iter() {
        let linear = packed(
            backend,
            WeightFormat::F32,
            [outputs, inputs],
            &noise(1, inputs * outputs),
            Some(&noise(2, outputs)),
        );
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let mut run = |rows: usize| {
            let x = tensor(s, [rows, inputs], &noise(3, rows * inputs));
            let mut y = unset(s, [rows, outputs]);
            s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
            values(s, &y)
        };
        let all = run(60);
        for rows in 1..60 {
            assert_eq!(run(rows), all[..rows * outputs], "{rows} rows on {}", backend.name());
        }
    }
}
