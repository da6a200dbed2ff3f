use kernels_backend::{Activation, Epilogue, Rows, RowsMut, Write};

use super::*;

fn activations() -> impl Strategy<Value = Activation> {
    proptest::sample::select(
        Activation::names().iter().map(|&(_, activation)| activation).collect::<Vec<_>>(),
    )
}

fn formats() -> impl Strategy<Value = WeightFormat> {
    proptest::sample::select(vec![WeightFormat::F32, WeightFormat::Bf16, WeightFormat::F16])
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn any_epilogue_size_and_type_agree_with_the_reference(
        rows in awkward(0), inputs in awkward(1), outputs in awkward(1), seed in any::<u64>(),
        activation in activations(), accumulate in any::<bool>(), bias in any::<bool>(), keep in any::<bool>(),
        format in formats(), types in (float_types(), float_types()),
    ) {
        let write = if accumulate { Write::Accumulate } else { Write::Replace };
        let weight = noise(seed, inputs * outputs);
        let bias = bias.then(|| noise(seed + 1, outputs));
        let size = 1.0 + (inputs as f32).sqrt();
        agree_in(types.1, "linear", inputs, size, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [outputs, inputs], &weight, bias.as_deref());
            let x = typed(s, [rows, inputs], types.0, &noise(seed + 2, rows * inputs));
            let mut y = typed(s, [rows, outputs], types.1, &noise(seed + 3, rows * outputs));
            let mut pre = unset_in(s, [rows, outputs], types.1);
            let epilogue = Epilogue { activation, write, pre_activation: keep.then_some(&mut pre) };
            s.linear((&x).into(), &linear, epilogue, (&mut y).into()).unwrap();
            let mut result = values(s, &y);
            result.extend(values(s, &pre));
            result
        });
    }

    #[test]
    fn ranges_of_rows_are_read_and_written_in_place(
        batch in 1..4usize, rows in 1..40usize, before in 0..5usize, after in 0..5usize,
        inputs in awkward(1), outputs in awkward(1), seed in any::<u64>(), format in formats(),
    ) {
        let all = before + rows + after;
        let weight = noise(seed, inputs * outputs);
        agree("linear", inputs, (inputs as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [outputs, inputs], &weight, None);
            let x = tensor(s, [batch, all, inputs], &noise(seed + 1, batch * all * inputs));
            let mut y = unset(s, [batch, all, outputs]);
            let from = Rows::range(&x, before..before + rows).unwrap();
            let to = RowsMut::range(&mut y, after..after + rows).unwrap();
            s.linear(from, &linear, Epilogue::none(), to).unwrap();
            // Samples into a list of rows.
            let mut flat = unset(s, [batch * rows, outputs]);
            let from = Rows::range(&x, before..before + rows).unwrap();
            s.linear(from, &linear, Epilogue::none(), (&mut flat).into()).unwrap();
            let mut result = values(s, &y);
            result.extend(values(s, &flat));
            result
        });
    }

    #[test]
    fn queries_keys_and_values_are_laid_out_by_head(
        batch in 1..3usize, tokens in awkward(0), num_heads in 1..4usize, head_dim in 1..30usize,
        accumulate in any::<bool>(), dtype in float_types(), seed in any::<u64>(),
    ) {
        let inputs = 20;
        let outputs = 3 * num_heads * head_dim;
        let weight = noise(seed, inputs * outputs);
        agree_in(dtype, "linear", inputs, (inputs as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, WeightFormat::F32, [outputs, inputs], &weight, None);
            let x = tensor(s, [batch, tokens, inputs], &noise(seed + 1, batch * tokens * inputs));
            let old = noise(seed + 2, batch * tokens * outputs);
            let mut y = laid_out(s, [batch, tokens, outputs], dtype, Layout::Heads { num_heads }, &old);
            let epilogue = if accumulate { Epilogue::accumulate() } else { Epilogue::none() };
            s.linear((&x).into(), &linear, epilogue, (&mut y).into()).unwrap();
            values(s, &y)
        });
    }

    #[test]
    fn stacked_blocks_of_any_type_and_a_repacked_layer_agree(
        outs in proptest::collection::vec(1..40usize, 1..4), inputs in awkward(1), seed in any::<u64>(),
        dtype in float_types(), format in formats(),
    ) {
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
            .map(|(i, &out)| (bytes(seed + i as u64, out * inputs), bytes(seed + 9 + i as u64, out)))
            .collect();
        let blocks: Vec<_> = outs
            .iter()
            .zip(&data)
            .enumerate()
            .map(|(i, (&out, (weight, bias)))| LinearBlock {
                weight: View::new([out, inputs], dtype, weight).unwrap(),
                bias: (i != 1).then(|| View::new([out], dtype, bias).unwrap()),
            })
            .collect();
        agree("pack_linear", inputs, (inputs as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let mut linear = backend.pack_linear(&blocks, format).unwrap();
            let x = tensor(s, [3, inputs], &noise(seed + 20, 3 * inputs));
            let mut y = unset(s, [3, outputs]);
            s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
            let mut result = values(s, &y);
            let weight = tensor(s, [outputs, inputs], &noise(seed + 21, outputs * inputs));
            let bias = tensor(s, [outputs], &noise(seed + 22, outputs));
            for bias in [Some(&bias), None] {
                backend.repack(&mut linear, &weight, bias).unwrap();
                s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
                result.extend(values(s, &y));
            }
            result
        });
    }
}

#[test]
fn long_sums_agree() {
    for (rows, inputs, outputs, format) in [
        (130, 768, 96, WeightFormat::F32),
        (5, 3072, 33, WeightFormat::F32),
        (5, 3072, 33, WeightFormat::Bf16),
    ] {
        let weight = noise(1, inputs * outputs);
        agree("linear", inputs, (inputs as f32).sqrt(), &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [outputs, inputs], &weight, None);
            let x = tensor(s, [rows, inputs], &noise(2, rows * inputs));
            let mut y = unset(s, [rows, outputs]);
            s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
            values(s, &y)
        });
    }
}

#[test]
fn nan_and_infinity_stay_in_their_rows() {
    let activations = Activation::names().iter().map(|&(_, activation)| (activation, WeightFormat::F32));
    for (activation, format) in activations.chain([(Activation::Identity, WeightFormat::Bf16)]) {
        agree(&format!("{activation:?}"), 4, 1e3, &|backend| {
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

#[test]
fn weights_that_are_not_finite_spoil_their_feature_only() {
    agree("linear", 3, 1.0, &|backend| {
        let mut stream = Arc::clone(backend).stream().unwrap();
        let s = &mut *stream;
        let weight = [f32::NAN, 0.5, 1.0, 1.0, 0.25, -1.0, 0.0, 0.0, 0.0];
        let linear = packed(backend, WeightFormat::Bf16, [3, 3], &weight, Some(&[1.0, 2.0, 3.0]));
        let x = tensor(s, [2, 3], &[0.5, -1.0, 1.0, 0.0, 0.0, 0.0]);
        let mut y = unset(s, [2, 3]);
        s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
        values(s, &y)
    });
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn on_tensor_cores_any_epilogue_agrees_with_the_reference(
        rows in awkward(1), inputs in eighths(), outputs in eighths(), seed in any::<u64>(),
        activation in activations(), accumulate in any::<bool>(), keep in any::<bool>(), by_head in any::<bool>(),
        format in proptest::sample::select(vec![WeightFormat::Bf16, WeightFormat::F16]), y_type in float_types(),
    ) {
        let write = if accumulate { Write::Accumulate } else { Write::Replace };
        let (weight, bias) = (noise(seed, 3 * inputs * outputs), noise(seed + 1, 3 * outputs));
        let (types, size) = ((format.dtype().unwrap(), y_type), 1.0 + (inputs as f32).sqrt());
        let layout = if by_head { Layout::Heads { num_heads: outputs / 8 } } else { Layout::Rows };
        let backends: Vec<_> = [&CUDA.1].into_iter().chain(HOPPER.as_ref()).collect();
        agree_on(&backends, types.1, "linear", inputs, size, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let linear = packed(backend, format, [3 * outputs, inputs], &weight, Some(&bias));
            let x = typed(s, [1, rows, inputs], types.0, &noise(seed + 2, rows * inputs));
            let old = noise(seed + 3, rows * 3 * outputs);
            let mut y = laid_out(s, [1, rows, 3 * outputs], types.1, layout, &old);
            let mut pre = unset_in(s, [1, rows, 3 * outputs], types.1);
            let epilogue = Epilogue { activation, write, pre_activation: keep.then_some(&mut pre) };
            s.linear((&x).into(), &linear, epilogue, (&mut y).into()).unwrap();
            let mut result = values(s, &y);
            result.extend(values(s, &pre));
            result
        });
    }
}

/// Multiples of eight around the steps and tiles of tensor cores.
fn eighths() -> impl Strategy<Value = usize> {
    proptest::sample::select(vec![8, 24, 32, 40, 64, 72, 96, 104, 128, 136, 200])
}
