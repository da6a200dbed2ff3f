//! `linear` and the packing of its weights.

use std::sync::Arc;

use kernels_backend::{
    Activation, DType, Epilogue, Layout, LinearBlock, Rows, RowsMut, View, WeightFormat, Write,
};
use proptest::prelude::*;

use crate::{
    Operand, Subject, agree, agree_in, cases, laid_out, noise, packed,
    subject::{awkward, formats, inputs, types},
    tensor, typed, unset, unset_in, values,
};

/// Any activation function.
pub fn activations() -> impl Strategy<Value = Activation> {
    proptest::sample::select(
        Activation::names().iter().map(|&(_, activation)| activation).collect::<Vec<_>>(),
    )
}

/// Bias, activation, residual and a kept pre-activation, in every mixture of types.
pub fn any_epilogue_size_and_type_agree_with_the_reference(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        rows in awkward(subject, 0), width in awkward(subject, 1), outputs in awkward(subject, 1),
        seed in any::<u64>(), activation in activations(), accumulate in any::<bool>(), bias in any::<bool>(),
        keep in any::<bool>(), (format, x_type) in inputs(subject), y_type in types(subject, Operand::Handed),
    )| {
        let write = if accumulate { Write::Accumulate } else { Write::Replace };
        let weight = noise(seed, width * outputs);
        let bias = bias.then(|| noise(seed + 1, outputs));
        let size = 1.0 + (width as f32).sqrt();
        agree_in(subject, y_type, "linear", width, size, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [outputs, width], &weight, bias.as_deref());
            let x = typed(s, [rows, width], x_type, &noise(seed + 2, rows * width));
            let mut y = typed(s, [rows, outputs], y_type, &noise(seed + 3, rows * outputs));
            let mut pre = unset_in(s, [rows, outputs], y_type);
            let epilogue = Epilogue { activation, write, pre_activation: keep.then_some(&mut pre) };
            s.linear((&x).into(), &linear, epilogue, (&mut y).into()).unwrap();
            let mut result = values(s, &y);
            result.extend(values(s, &pre));
            result
        });
    });
}

/// Some rows of each sample, to some rows of each sample and to a list.
pub fn ranges_of_rows_are_read_and_written_in_place(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..4usize, rows in 1..40usize, before in 0..5usize, after in 0..5usize,
        width in awkward(subject, 1), outputs in awkward(subject, 1), seed in any::<u64>(),
        (format, x_type) in inputs(subject), y_type in types(subject, Operand::Handed),
    )| {
        let all = before + rows + after;
        let weight = noise(seed, width * outputs);
        agree_in(subject, y_type, "linear", width, (width as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [outputs, width], &weight, None);
            let x = typed(s, [batch, all, width], x_type, &noise(seed + 1, batch * all * width));
            let mut y = unset_in(s, [batch, all, outputs], y_type);
            let from = Rows::range(&x, before..before + rows).unwrap();
            let to = RowsMut::range(&mut y, after..after + rows).unwrap();
            s.linear(from, &linear, Epilogue::none(), to).unwrap();
            let mut flat = unset_in(s, [batch * rows, outputs], y_type);
            let from = Rows::range(&x, before..before + rows).unwrap();
            s.linear(from, &linear, Epilogue::none(), (&mut flat).into()).unwrap();
            let mut result = values(s, &y);
            result.extend(values(s, &flat));
            result
        });
    });
}

/// [`Layout::Heads`], written and added to.
pub fn queries_keys_and_values_are_laid_out_by_head(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..3usize, tokens in awkward(subject, 0), num_heads in 1..4usize, head_dim in awkward(subject, 1),
        accumulate in any::<bool>(), dtype in types(subject, Operand::ByHeads), seed in any::<u64>(),
    )| {
        let width = 20;
        let outputs = 3 * num_heads * head_dim;
        let weight = noise(seed, width * outputs);
        agree_in(subject, dtype, "linear", width, (width as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, WeightFormat::F32, [outputs, width], &weight, None);
            let x = tensor(s, [batch, tokens, width], &noise(seed + 1, batch * tokens * width));
            let old = noise(seed + 2, batch * tokens * outputs);
            let mut y = laid_out(s, [batch, tokens, outputs], dtype, Layout::Heads { num_heads }, &old);
            let epilogue = if accumulate { Epilogue::accumulate() } else { Epilogue::none() };
            s.linear((&x).into(), &linear, epilogue, (&mut y).into()).unwrap();
            values(s, &y)
        });
    });
}

/// Weights from several places and of any type on disk, and weights that training changed.
pub fn stacked_blocks_of_any_type_and_a_repacked_layer_agree(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        outs in proptest::collection::vec(awkward(subject, 1), 1..4), width in awkward(subject, 1),
        seed in any::<u64>(), dtype in proptest::sample::select(vec![DType::F32, DType::Bf16, DType::F16]),
        format in formats(subject),
    )| {
        let outputs: usize = outs.iter().sum();
        let bytes = |seed, count| -> Vec<u8> {
            let numbers = noise(seed, count).into_iter();
            match dtype {
                DType::Bf16 => numbers.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
                DType::F16 => numbers.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
                _ => numbers.flat_map(f32::to_le_bytes).collect(),
            }
        };
        let data: Vec<_> = outs
            .iter()
            .enumerate()
            .map(|(i, &out)| (bytes(seed + i as u64, out * width), bytes(seed + 9 + i as u64, out)))
            .collect();
        let blocks: Vec<_> = outs
            .iter()
            .zip(&data)
            .enumerate()
            .map(|(i, (&out, (weight, bias)))| LinearBlock {
                weight: View::new([out, width], dtype, weight).unwrap(),
                bias: (i != 1).then(|| View::new([out], dtype, bias).unwrap()),
            })
            .collect();
        agree(subject, "pack_linear", width, (width as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let mut linear = backend.pack_linear(&blocks, format).unwrap();
            let x = tensor(s, [3, width], &noise(seed + 20, 3 * width));
            let mut y = unset(s, [3, outputs]);
            s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
            let mut result = values(s, &y);
            let weight = tensor(s, [outputs, width], &noise(seed + 21, outputs * width));
            let bias = tensor(s, [outputs], &noise(seed + 22, outputs));
            for bias in [Some(&bias), None] {
                backend.repack(&mut linear, &weight, bias).unwrap();
                s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
                result.extend(values(s, &y));
            }
            result
        });
    });
}

/// Sizes of real models.
pub fn padded_rows_and_long_sums_agree(subject: &dyn Subject) {
    let sizes = [(13 * 14, 768, 96), (29, 3072, 33), (1, 1024, 400), (160, 512, 48)];
    let f32 = sizes.map(|sizes| (sizes, WeightFormat::F32));
    let narrow = subject.formats().iter().map(|&format| (sizes[1], format));
    for ((rows, width, outputs), format) in f32.into_iter().chain(narrow) {
        let weight = noise(1, width * outputs);
        agree(subject, "linear", width, (width as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [outputs, width], &weight, None);
            let x = tensor(s, [rows, width], &noise(2, rows * width));
            let mut y = unset(s, [rows, outputs]);
            s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
            values(s, &y)
        });
    }
}

/// Every activation of special numbers, in f32; the numbers themselves in every precision.
pub fn nan_and_infinity_stay_in_their_rows(subject: &dyn Subject) {
    let activations = Activation::names().iter().map(|&(_, activation)| (activation, WeightFormat::F32));
    let narrow = subject.formats().iter().map(|&format| (Activation::Identity, format));
    for (activation, format) in activations.chain(narrow) {
        agree(subject, &format!("{activation:?} in {format}"), 4, 1e3, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [1, 1], &[1.0], None);
            let special =
                [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1e-40, 120.0, -120.0, 3.0, -3.0, 1e3, -1e3];
            let x = tensor(s, [special.len(), 1], &special);
            let mut y = unset(s, [special.len(), 1]);
            s.linear((&x).into(), &linear, Epilogue::activation(activation), (&mut y).into()).unwrap();
            values(s, &y)
        });
    }
}

/// A feature without a scale must not lose its NaN, nor one of zeros become NaN.
pub fn weights_that_are_not_finite_spoil_their_feature_only(subject: &dyn Subject) {
    for &format in subject.formats() {
        agree(subject, &format!("linear in {format}"), 3, 1.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let weight = [f32::NAN, 0.5, 1.0, 1.0, 0.25, -1.0, 0.0, 0.0, 0.0];
            let linear = packed(backend, format, [3, 3], &weight, Some(&[1.0, 2.0, 3.0]));
            let x = tensor(s, [2, 3], &[0.5, -1.0, 1.0, 0.0, 0.0, 0.0]);
            let mut y = unset(s, [2, 3]);
            s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
            values(s, &y)
        });
    }
}
