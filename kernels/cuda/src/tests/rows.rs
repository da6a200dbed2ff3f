use kernels_backend::{LayerNorm, Rows, RowsMut, Write};

use super::*;

fn write(accumulate: bool) -> Write {
    if accumulate { Write::Accumulate } else { Write::Replace }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn layer_norm_agrees_for_any_width_offset_and_type(
        batch in 1..3usize, rows in 0..6usize, width in awkward(2), before in 0..3usize,
        centre in -300.0f32..300.0, eps in proptest::sample::select(vec![1e-12f32, 1e-6, 1e-5]),
        types in (float_types(), float_types()), seed in any::<u64>(),
    ) {
        let all = before + rows;
        // The spacing of 16-bit types around 300 is a row's whole variance.
        let centre = if types.0 == DType::F32 { centre } else { 0.0 };
        // A row of one number has no variance: its result is eps-sized noise times 1/√eps.
        agree_in(types.1, "layer_norm", width, 1.0 + centre.abs() * 0.1, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let data: Vec<_> = noise(seed, batch * all * width).iter().map(|x| x + centre).collect();
            let x = typed(s, [batch, all, width], types.0, &data);
            let norm = LayerNorm {
                weight: tensor(s, [width], &noise(seed + 1, width)),
                bias: tensor(s, [width], &noise(seed + 2, width)),
                eps,
            };
            let mut y = unset_in(s, [batch, rows, width], types.1);
            let mut stats = unset(s, [batch * rows, 2]);
            let from = Rows::range(&x, before..all).unwrap();
            s.layer_norm(from, &norm, (&mut y).into(), Some(&mut stats)).unwrap();
            let mut result = values(s, &y);
            if width > 8 {
                result.extend(values(s, &stats));
            }
            result
        });
    }

    #[test]
    fn rows_are_gathered_broadcast_and_copied_into_place(
        batch in 1..4usize, rows in 0..5usize, repeat in 1..4usize, width in awkward(1), before in 0..3usize,
        after in 0..3usize, accumulate in any::<bool>(), types in (float_types(), float_types()), seed in any::<u64>(),
    ) {
        let count = rows * repeat;
        let all = before + count + after;
        let indices: Vec<_> = noise(seed, batch * count).iter().map(|x| ((x + 1.0) * 2.5) as i32).collect();
        agree_in(coarsest(&[types.0, types.1]), "rows", 1, 1.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let table = typed(s, [5, width], types.0, &noise(seed + 1, 5 * width));
            let indices = integers(s, [batch, count], &indices);
            let old = noise(seed + 2, batch * all * width);
            let mut dst = typed(s, [batch, all, width], types.1, &old);
            let range = before..before + count;
            let to = RowsMut::range(&mut dst, range.clone()).unwrap();
            s.gather_rows(&table, &indices, write(accumulate), to).unwrap();
            let mut result = values(s, &dst);
            if rows > 0 {
                let row = typed(s, [rows, width], types.0, &noise(seed + 3, rows * width));
                let to = RowsMut::range(&mut dst, range.clone()).unwrap();
                s.broadcast_rows(&row, write(accumulate), to).unwrap();
            }
            let row = typed(s, [width], types.0, &noise(seed + 4, width));
            s.broadcast_rows(&row, Write::Accumulate, (&mut dst).into()).unwrap();
            result.extend(values(s, &dst));
            let mut copy = unset_in(s, [batch * count, width], types.0);
            s.cast(Rows::range(&dst, range).unwrap(), (&mut copy).into()).unwrap();
            result.extend(values(s, &copy));
            result
        });
    }

    #[test]
    fn means_over_tokens_agree(
        batch in 1..4usize, rows in 1..40usize, width in awkward(1), before in 0..3usize,
        types in (float_types(), float_types()), seed in any::<u64>(),
    ) {
        agree_in(types.1, "mean_tokens", rows, 1.0 / (rows as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let all = before + rows;
            let x = typed(s, [batch, all, width], types.0, &noise(seed, batch * all * width));
            let mut y = unset_in(s, [batch, width], types.1);
            s.mean_tokens(Rows::range(&x, before..all).unwrap(), &mut y).unwrap();
            values(s, &y)
        });
    }
}

#[test]
fn wide_rows_agree() {
    for width in [512, 513, 768, 1280] {
        agree("layer_norm", width, 1.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let x = tensor(s, [3, width], &noise(1, 3 * width));
            let norm = LayerNorm {
                weight: backend.upload(&View::f32([width], &noise(2, width)).unwrap()).unwrap(),
                bias: backend.upload(&View::f32([width], &noise(3, width)).unwrap()).unwrap(),
                eps: 1e-6,
            };
            let mut y = unset(s, [3, width]);
            s.layer_norm((&x).into(), &norm, (&mut y).into(), None).unwrap();
            values(s, &y)
        });
    }
}

#[test]
fn nan_spoils_its_row_only() {
    agree("layer_norm", 9, 1.0, &|backend| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let mut data = noise(1, 27);
        data[10] = f32::NAN;
        data[20] = f32::INFINITY;
        let x = tensor(s, [3, 9], &data);
        let norm =
            LayerNorm { weight: tensor(s, [9], &[1.0; 9]), bias: tensor(s, [9], &[0.0; 9]), eps: 1e-6 };
        let mut y = unset(s, [3, 9]);
        s.layer_norm((&x).into(), &norm, (&mut y).into(), None).unwrap();
        values(s, &y)
    });
}

#[test]
fn conversions_round_to_nearest_even_and_keep_special_values() {
    let mut numbers = vec![0.0, -0.0, 1.0, -1.5, 0.1, 3.4e38, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    // Around the largest number of f16, its least normal one, its denormals, and denormals of f32.
    numbers
        .extend([65504.0, 65519.0, 65520.0, -65520.0, 6.1e-5, 6.09e-5, 6e-8, 5.97e-8, 2.99e-8, 1e-8, 1e-40]);
    // Ties of bf16 that go down and up, one just above a tie, and ties of f16.
    numbers.extend([0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x3f80_1000, 0x3f80_3000].map(f32::from_bits));
    for dtype in [DType::Bf16, DType::F16] {
        agree_in(DType::I32, "cast", 1, 0.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let x = tensor(s, [numbers.len()], &numbers);
            let mut narrow = unset_in(s, [numbers.len()], dtype);
            s.cast((&x).into(), (&mut narrow).into()).unwrap();
            let mut wide = unset(s, [numbers.len()]);
            s.cast((&narrow).into(), (&mut wide).into()).unwrap();
            let mut result = values(s, &narrow);
            result.extend(values(s, &wide));
            result
        });
    }
}

#[test]
fn a_resized_tensor_reads_what_is_written_to_it() {
    let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
    let s = &mut *stream;
    let mut x = unset(s, [1, 4, 1500]);
    for shape in [Shape::from([6000]), Shape::from([10, 600]), Shape::from([2, 5, 512]), Shape::from([0, 3])]
    {
        s.resize(&mut x, shape).unwrap();
        let data = noise(1, shape.elements());
        s.write(&View::f32(shape, &data).unwrap(), &mut x).unwrap();
        assert_eq!(values(s, &x), data, "{shape}");
    }
    let message = s.resize(&mut x, [6001].into()).unwrap_err().to_string();
    assert!(message.contains("6001"), "{message}");
}
