//! `layer_norm` and the ops that move rows: `gather_rows`, `broadcast_rows`, `mean_tokens`, `cast`.

use std::sync::Arc;

use kernels_backend::{DType, LayerNorm, Rows, RowsMut, Shape, View, Write};
use proptest::prelude::*;

use crate::{
    Operand, Subject, agree, agree_in, cases, integers, noise,
    subject::{awkward, coarsest, types},
    tensor, typed, unset, unset_in, values,
};

/// More rows than any block of a sum has; few for Miri.
const MANY_ROWS: usize = if cfg!(miri) { 9 } else { 130 };

fn write(accumulate: bool) -> Write {
    if accumulate { Write::Accumulate } else { Write::Replace }
}

/// Rows far from zero too, with mean and deviation.
pub fn layer_norm_agrees_for_any_width_offset_and_type(subject: &dyn Subject) {
    // A row of one number has no variance: its result is eps-sized noise times 1/√eps.
    proptest!(cases(subject.cases()), |(
        batch in 1..3usize, rows in 0..20usize, width in awkward(subject, 2), before in 0..3usize,
        centre in -300.0f32..300.0, eps in proptest::sample::select(vec![1e-12f32, 1e-6, 1e-5]),
        x_type in types(subject, Operand::Other), y_type in types(subject, Operand::Handed), seed in any::<u64>(),
    )| {
        let all = before + rows;
        // The spacing of 16-bit types around 300 is a row's whole variance.
        let centre = if x_type == DType::F32 { centre } else { 0.0 };
        agree_in(subject, y_type, "layer_norm", width, 1.0 + centre.abs() * 0.1, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let data: Vec<_> = noise(seed, batch * all * width).iter().map(|x| x + centre).collect();
            let x = typed(s, [batch, all, width], x_type, &data);
            let norm = LayerNorm {
                weight: tensor(s, [width], &noise(seed + 1, width)),
                bias: tensor(s, [width], &noise(seed + 2, width)),
                eps,
            };
            let mut y = unset_in(s, [batch, rows, width], y_type);
            let mut stats = unset(s, [batch * rows, 2]);
            let from = Rows::range(&x, before..all).unwrap();
            s.layer_norm(from, &norm, (&mut y).into(), Some(&mut stats)).unwrap();
            let mut result = values(s, &y);
            if width > 8 {
                result.extend(values(s, &stats));
            }
            result
        });
    });
}

/// By index, by repetition and by cast, to ranges of rows.
pub fn rows_are_gathered_broadcast_and_copied_into_place(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..4usize, rows in 0..9usize, repeat in 1..4usize, width in awkward(subject, 1),
        before in 0..3usize, after in 0..3usize, accumulate in any::<bool>(),
        from_type in types(subject, Operand::Other), to_type in types(subject, Operand::Other),
        copy_type in types(subject, Operand::Handed), seed in any::<u64>(),
    )| {
        let count = rows * repeat;
        let all = before + count + after;
        let indices: Vec<_> = noise(seed, batch * count).iter().map(|x| ((x + 1.0) * 2.5) as i32).collect();
        agree_in(subject, coarsest(&[from_type, to_type, copy_type]), "rows", 1, 1.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let table = typed(s, [5, width], from_type, &noise(seed + 1, 5 * width));
            let indices = integers(s, [batch, count], &indices);
            let old = noise(seed + 2, batch * all * width);
            let mut dst = typed(s, [batch, all, width], to_type, &old);
            let range = before..before + count;
            let to = RowsMut::range(&mut dst, range.clone()).unwrap();
            s.gather_rows(&table, &indices, write(accumulate), to).unwrap();
            let mut result = values(s, &dst);
            if rows > 0 {
                let row = typed(s, [rows, width], from_type, &noise(seed + 3, rows * width));
                let to = RowsMut::range(&mut dst, range.clone()).unwrap();
                s.broadcast_rows(&row, write(accumulate), to).unwrap();
            }
            let row = typed(s, [width], from_type, &noise(seed + 4, width));
            s.broadcast_rows(&row, Write::Accumulate, (&mut dst).into()).unwrap();
            result.extend(values(s, &dst));
            let mut copy = unset_in(s, [batch * count, width], copy_type);
            s.cast(Rows::range(&dst, range).unwrap(), (&mut copy).into()).unwrap();
            result.extend(values(s, &copy));
            let mut back = unset(s, [batch * count, width]);
            s.cast((&copy).into(), (&mut back).into()).unwrap();
            result.extend(values(s, &back));
            result
        });
    });
}

/// Over few and many rows.
pub fn means_over_tokens_agree(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..4usize, rows in 1..MANY_ROWS, width in awkward(subject, 1), before in 0..3usize,
        x_type in types(subject, Operand::Other), y_type in types(subject, Operand::Other), seed in any::<u64>(),
    )| {
        agree_in(subject, y_type, "mean_tokens", rows, 1.0 / (rows as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let all = before + rows;
            let x = typed(s, [batch, all, width], x_type, &noise(seed, batch * all * width));
            let mut y = unset_in(s, [batch, width], y_type);
            s.mean_tokens(Rows::range(&x, before..all).unwrap(), &mut y).unwrap();
            values(s, &y)
        });
    });
}

/// The widths of real models and their neighbours.
pub fn wide_rows_agree(subject: &dyn Subject) {
    for width in [511, 512, 513, 768, 1023, 1025, 1280] {
        let y_type = if subject.takes(Operand::Handed, DType::Bf16) { DType::Bf16 } else { DType::F32 };
        for y_type in [DType::F32, y_type] {
            agree_in(subject, y_type, "layer_norm", width, 1.0, &|backend| {
                let mut stream = Arc::clone(backend).stream().unwrap();
                let s = &mut *stream;
                let x = tensor(s, [3, width], &noise(1, 3 * width));
                let norm = LayerNorm {
                    weight: backend.upload(&View::f32([width], &noise(2, width)).unwrap()).unwrap(),
                    bias: backend.upload(&View::f32([width], &noise(3, width)).unwrap()).unwrap(),
                    eps: 1e-6,
                };
                let mut y = unset_in(s, [3, width], y_type);
                s.layer_norm((&x).into(), &norm, (&mut y).into(), None).unwrap();
                values(s, &y)
            });
        }
    }
}

/// As does an infinity.
pub fn nan_spoils_its_row_only(subject: &dyn Subject) {
    agree(subject, "layer_norm", 9, 1.0, &|backend| {
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

/// Bit for bit, in every type that there is.
pub fn conversions_round_to_nearest_even_and_keep_special_values(subject: &dyn Subject) {
    let mut numbers = vec![0.0, -0.0, 1.0, -1.5, 0.1, 3.4e38, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    // Around the largest number of f16, its least normal one, its denormals, and denormals of f32.
    numbers
        .extend([65504.0, 65519.0, 65520.0, -65520.0, 6.1e-5, 6.09e-5, 6e-8, 5.97e-8, 2.99e-8, 1e-8, 1e-40]);
    // Ties of bf16 that go down and up, one just above a tie, and ties of f16.
    numbers.extend([0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x3f80_1000, 0x3f80_3000].map(f32::from_bits));
    let types = [DType::F32, DType::Bf16, DType::F16];
    for dtype in types.into_iter().filter(|&t| t == DType::F32 || subject.takes(Operand::Handed, t)) {
        // Integers have no rounding, so this bound is zero.
        agree_in(subject, DType::I32, &format!("cast to {dtype}"), 1, 0.0, &|backend| {
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

/// Whatever the padding of the shape before.
pub fn a_resized_tensor_reads_what_is_written_to_it(subject: &dyn Subject) {
    subject.each(&mut |backend, _| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let mut x = unset(s, [1, 4, 1500]);
        let flat = Shape::from([6000]);
        for shape in [flat, Shape::from([10, 600]), Shape::from([2, 5, 512]), Shape::from([0, 3])] {
            s.resize(&mut x, shape).unwrap();
            let data = noise(1, shape.elements());
            s.write(&View::f32(shape, &data).unwrap(), &mut x).unwrap();
            assert_eq!(values(s, &x), data, "{shape} on {}", backend.name());
        }
        let message = s.resize(&mut x, [6001].into()).unwrap_err().to_string();
        assert!(message.contains("6001"), "{message}");
    });
}
