use kernels_backend::{LayerNorm, Rows, RowsMut, Write};

use super::*;

/// More rows than any block of a sum has; few for Miri.
const MANY_ROWS: usize = if cfg!(miri) { 9 } else { 130 };

fn write(accumulate: bool) -> Write {
    if accumulate { Write::Accumulate } else { Write::Replace }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn layer_norm_agrees_for_any_width_and_offset(
        batch in 1..3usize, rows in 0..20usize, width in awkward(1), before in 0..3usize,
        centre in -300.0f32..300.0, eps in proptest::sample::select(vec![1e-12f32, 1e-6, 1e-5]),
        seed in any::<u64>(),
    ) {
        let all = before + rows;
        // A row of one number has no variance: its result is eps-sized noise times 1/√eps.
        prop_assume!(width > 1);
        agree("layer_norm", width, 1.0 + centre.abs() * 0.1, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let data: Vec<_> = noise(seed, batch * all * width).iter().map(|x| x + centre).collect();
            let x = tensor(s, [batch, all, width], &data);
            let norm = LayerNorm {
                weight: tensor(s, [width], &noise(seed + 1, width)),
                bias: tensor(s, [width], &noise(seed + 2, width)),
                eps,
            };
            let mut y = unset(s, [batch, rows, width]);
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
        batch in 1..4usize, rows in 0..9usize, repeat in 1..4usize, width in awkward(1), before in 0..3usize,
        after in 0..3usize, accumulate in any::<bool>(), seed in any::<u64>(),
    ) {
        let count = rows * repeat;
        let all = before + count + after;
        let indices: Vec<_> = noise(seed, batch * count).iter().map(|x| ((x + 1.0) * 2.5) as i32).collect();
        agree("rows", 1, 1.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let table = tensor(s, [5, width], &noise(seed + 1, 5 * width));
            let indices = integers(s, [batch, count], &indices);
            let old = noise(seed + 2, batch * all * width);
            let mut dst = tensor(s, [batch, all, width], &old);
            let range = before..before + count;
            let to = RowsMut::range(&mut dst, range.clone()).unwrap();
            s.gather_rows(&table, &indices, write(accumulate), to).unwrap();
            let mut result = values(s, &dst);
            if rows > 0 {
                let row = tensor(s, [rows, width], &noise(seed + 3, rows * width));
                let to = RowsMut::range(&mut dst, range.clone()).unwrap();
                s.broadcast_rows(&row, write(accumulate), to).unwrap();
            }
            let row = tensor(s, [width], &noise(seed + 4, width));
            s.broadcast_rows(&row, Write::Accumulate, (&mut dst).into()).unwrap();
            result.extend(values(s, &dst));
            let mut copy = unset(s, [batch * count, width]);
            s.cast(Rows::range(&dst, range).unwrap(), (&mut copy).into()).unwrap();
            result.extend(values(s, &copy));
            result
        });
    }

    #[test]
    fn means_over_tokens_agree(
        batch in 1..4usize, rows in 1..MANY_ROWS, width in awkward(1), before in 0..3usize, seed in any::<u64>(),
    ) {
        agree("mean_tokens", rows, 1.0 / (rows as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let all = before + rows;
            let x = tensor(s, [batch, all, width], &noise(seed, batch * all * width));
            let mut y = unset(s, [batch, width]);
            s.mean_tokens(Rows::range(&x, before..all).unwrap(), &mut y).unwrap();
            values(s, &y)
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large")]
fn wide_rows_agree() {
    for width in [511, 512, 513, 768, 1024, 1280] {
        agree("layer_norm", width, 1.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let x = tensor(s, [5, width], &noise(1, 5 * width));
            let norm = LayerNorm {
                weight: backend.upload(&View::f32([width], &noise(2, width)).unwrap()).unwrap(),
                bias: backend.upload(&View::f32([width], &noise(3, width)).unwrap()).unwrap(),
                eps: 1e-6,
            };
            let mut y = unset(s, [5, width]);
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
#[cfg_attr(miri, ignore = "too large")]
fn a_resized_tensor_reads_what_is_written_to_it() {
    for backend in BACKENDS.iter() {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let mut x = unset(s, [1, 4, 1500]);
        for shape in
            [Shape::from([6000]), Shape::from([10, 600]), Shape::from([2, 5, 512]), Shape::from([0, 3])]
        {
            s.resize(&mut x, shape).unwrap();
            let data = noise(1, shape.elements());
            s.write(&View::f32(shape, &data).unwrap(), &mut x).unwrap();
            assert_eq!(values(s, &x), data, "{shape} on {}", backend.name());
        }
        let message = s.resize(&mut x, [6001].into()).unwrap_err().to_string();
        assert!(message.contains("6001"), "{message}");
    }
}
