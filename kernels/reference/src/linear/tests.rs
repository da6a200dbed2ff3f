use kernels_backend::{
    Activation, Backend as _, DType, Epilogue, Error, Layout, Linear, LinearBlock, LinearGradients, Rows,
    RowsMut, View, WeightFormat, Write, recording::Recording,
};
use proptest::prelude::*;

use crate::{
    ReferenceBackend, storage,
    testing::{Differences, cases, noise, packed, stream, tensor, typed, undefined, values, zeros},
};

/// `(2, 2)` to three features, small enough to multiply by hand.
fn small() -> Linear {
    packed([3, 2], &[1.0, 0.0, 0.0, -1.0, 1.0, 1.0], Some(&[0.0, 10.0, 100.0]), WeightFormat::F32)
}

#[test]
fn the_product_by_hand() {
    let x = tensor([2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let mut y = undefined([2, 3]);
    stream().linear((&x).into(), &small(), Epilogue::none(), (&mut y).into()).unwrap();
    assert_eq!(values(&y), [1.0, 8.0, 103.0, 3.0, 6.0, 107.0]);
}

#[test]
fn the_epilogue_keeps_the_pre_activation_then_activates_then_accumulates() {
    let x = tensor([1, 2], &[-1.0, 20.0]);
    let (mut y, mut pre) = (tensor([1, 3], &[0.5, 0.5, 0.5]), undefined([1, 3]));
    let epilogue =
        Epilogue { activation: Activation::Relu, write: Write::Accumulate, pre_activation: Some(&mut pre) };
    stream().linear((&x).into(), &small(), epilogue, (&mut y).into()).unwrap();
    assert_eq!(values(&pre), [-1.0, -10.0, 119.0]);
    assert_eq!(values(&y), [0.5, 0.5, 119.5]);
}

#[test]
fn blocks_are_stacked_and_a_missing_bias_is_zero() {
    let view = |w| View::f32([1, 1], w).unwrap();
    let blocks = [
        LinearBlock { weight: view(&[2.0]), bias: Some(View::f32([1], &[1.0]).unwrap()) },
        LinearBlock { weight: view(&[3.0]), bias: None },
        LinearBlock { weight: view(&[4.0]), bias: Some(View::f32([1], &[-1.0]).unwrap()) },
    ];
    let fused = ReferenceBackend.pack_linear(&blocks, WeightFormat::F32).unwrap();
    let (x, mut y) = (tensor([1, 1], &[10.0]), undefined([1, 3]));
    stream().linear((&x).into(), &fused, Epilogue::none(), (&mut y).into()).unwrap();
    assert_eq!(values(&y), [21.0, 30.0, 39.0]);
}

#[test]
fn half_weights_are_rounded_when_packed_and_biases_are_not() {
    // 1 + 2⁻⁹ needs ten bits and 1 + 2⁻¹² thirteen; bf16 has eight, f16 eleven.
    let (ten, thirteen) = (1.0 + 1.0 / 512.0, 1.0 + 1.0 / 4096.0);
    for (format, stored, weight) in [
        (WeightFormat::F32, thirteen, thirteen),
        (WeightFormat::Bf16, ten, 1.0),
        (WeightFormat::F16, ten, ten),
        (WeightFormat::F16, thirteen, 1.0),
    ] {
        let linear = packed([1, 1], &[stored], Some(&[stored]), format);
        let (x, mut y) = (tensor([1, 1], &[1.0]), undefined([1, 1]));
        stream().linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
        assert_eq!(values(&y), [weight + stored], "{stored} in {format}");
    }
}

#[test]
fn product_bias_activation_and_residual_are_rounded_once() {
    // 1 + 2⁻⁸ is the tie between the bf16 numbers 1 and 1 + 2⁻⁷. A bias of 2⁻⁴⁰ lifts the sum above it; it is
    // lost if anything on the way is rounded to f32.
    let (tie, above) = (1.0 / 256.0, 2f32.powi(-40));
    let linear = packed([1, 1], &[tie], Some(&[above]), WeightFormat::F32);
    let x = tensor([1, 1], &[1.0]);
    let mut y = typed([1, 1], DType::Bf16, &[1.0]);
    stream().linear((&x).into(), &linear, Epilogue::accumulate(), (&mut y).into()).unwrap();
    assert_eq!(values(&y), [1.0 + 1.0 / 128.0]);

    let linear = packed([1, 1], &[1.0 + tie], Some(&[above]), WeightFormat::F32);
    let mut y = typed([1, 1], DType::Bf16, &[0.0]);
    stream().linear((&x).into(), &linear, Epilogue::activation(Activation::Relu), (&mut y).into()).unwrap();
    assert_eq!(values(&y), [1.0 + 1.0 / 128.0]);
}

#[test]
fn ranges_of_rows_are_read_and_written_in_place() {
    // Of two samples of three rows, rows 1..3 are projected into rows 2..4 of four.
    let x = tensor([2, 3, 1], &[9.0, 1.0, 2.0, 9.0, 3.0, 4.0]);
    let linear = packed([1, 1], &[10.0], None, WeightFormat::F32);
    let mut y = zeros([2, 4, 1]);
    let (src, dst) = (Rows::range(&x, 1..3).unwrap(), RowsMut::range(&mut y, 2..4).unwrap());
    stream().linear(src, &linear, Epilogue::none(), dst).unwrap();
    assert_eq!(values(&y), [0.0, 0.0, 10.0, 20.0, 0.0, 0.0, 30.0, 40.0]);
}

#[test]
fn heads_are_read_back_in_canonical_order() {
    let (x, linear) =
        (tensor([1, 2, 1], &[1.0, -1.0]), packed([6, 1], &noise(1, 6), None, WeightFormat::F32));
    let mut rows = undefined([1, 2, 6]);
    let mut heads = storage::alloc([1, 2, 6].into(), DType::F32, Layout::Heads { num_heads: 2 }).unwrap();
    for y in [&mut rows, &mut heads] {
        stream().linear((&x).into(), &linear, Epilogue::none(), y.into()).unwrap();
    }
    assert_eq!(values(&rows), values(&heads));
}

#[test]
fn nan_and_infinity_spread_as_in_ieee_arithmetic() {
    let linear = packed([2, 2], &[1.0, 0.0, 1.0, 1.0], None, WeightFormat::F32);
    let x = tensor([3, 2], &[f32::NAN, 1.0, 2.0, f32::INFINITY, 1.0, 1.0]);
    let mut y = undefined([3, 2]);
    stream().linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
    let y = values(&y);
    assert!(y[0].is_nan() && y[1].is_nan(), "{y:?}");
    // 0·∞ is NaN: a zero weight hides nothing.
    assert!(y[2].is_nan() && y[3] == f32::INFINITY, "{y:?}");
    assert_eq!(y[4..], [1.0, 2.0]);
}

#[test]
fn repacking_equals_packing_anew() {
    let mut linear = packed([3, 2], &noise(1, 6), Some(&noise(2, 3)), WeightFormat::Bf16);
    let (weight, bias) = (tensor([3, 2], &noise(3, 6)), tensor([3], &noise(4, 3)));
    let x = tensor([1, 2], &[1.0, -2.0]);
    for bias in [Some(&bias), None] {
        ReferenceBackend.repack(&mut linear, &weight, bias).unwrap();
        let bias = bias.map(values);
        let fresh = packed([3, 2], &values(&weight), bias.as_deref(), WeightFormat::Bf16);
        let (mut found, mut expected) = (undefined([1, 3]), undefined([1, 3]));
        stream().linear((&x).into(), &linear, Epilogue::none(), (&mut found).into()).unwrap();
        stream().linear((&x).into(), &fresh, Epilogue::none(), (&mut expected).into()).unwrap();
        assert_eq!(values(&found), values(&expected));
    }
    let error = ReferenceBackend.repack(&mut linear, &tensor([2, 3], &[0.0; 6]), None).unwrap_err();
    assert_eq!(error.to_string(), "repack: expected weight of shape (3, 2), found (2, 3)");
}

#[test]
fn weights_of_another_backend_and_wrong_blocks_are_refused() {
    let (x, mut y) = (tensor([1, 1], &[1.0]), undefined([1, 1]));
    let block = |weight| LinearBlock { weight, bias: None };
    let weight = View::f32([1, 1], &[1.0]).unwrap();
    let mut foreign = Recording::default().pack_linear(&[block(weight)], WeightFormat::F32).unwrap();
    let error = stream().linear((&x).into(), &foreign, Epilogue::none(), (&mut y).into()).unwrap_err();
    assert_eq!(error, Error::Foreign { op: "linear", expected: "reference".into() });
    let error = ReferenceBackend.repack(&mut foreign, &x, None).unwrap_err();
    assert_eq!(error, Error::Foreign { op: "repack", expected: "reference".into() });

    let (mut dw, gradients_of) = (zeros([1, 1]), tensor([1, 1], &[1.0]));
    let gradients = LinearGradients { x: None, weight: &mut dw, bias: None };
    let error =
        stream().linear_backward((&x).into(), &foreign, (&gradients_of).into(), gradients).unwrap_err();
    assert_eq!(error, Error::Foreign { op: "linear_backward", expected: "reference".into() });

    let integers = View::i32([1, 1], &[1]).unwrap();
    let error = ReferenceBackend.pack_linear(&[block(integers)], WeightFormat::F32).unwrap_err();
    assert_eq!(error.to_string(), "pack_linear: expected weight of type f32, found i32");
    assert!(ReferenceBackend.pack_linear(&[], WeightFormat::F32).is_err());
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn gradients_agree_with_differences(
        rows in 0usize..4,
        in_features in 1usize..6,
        out_features in 1usize..6,
        seed: u64,
    ) {
        let shape = [out_features, in_features];
        let (x, w) = (noise(seed, rows * in_features), noise(!seed, out_features * in_features));
        let (b, dy) = (noise(seed ^ 1, out_features), noise(seed ^ 2, rows * out_features));
        let forward = |x: &[f32], w: &[f32], b: &[f32]| {
            let (x, mut y) = (tensor([rows, in_features], x), undefined([rows, out_features]));
            let linear = packed(shape, w, Some(b), WeightFormat::F32);
            stream().linear((&x).into(), &linear, Epilogue::none(), (&mut y).into()).unwrap();
            values(&y)
        };

        let (mut dx, mut dw, mut db) = (undefined([rows, in_features]), zeros(shape), zeros([out_features]));
        let linear = packed(shape, &w, Some(&b), WeightFormat::F32);
        let gradients = LinearGradients {
            x: Some(((&mut dx).into(), Write::Replace)),
            weight: &mut dw,
            bias: Some(&mut db),
        };
        let (xt, dyt) = (tensor([rows, in_features], &x), tensor([rows, out_features], &dy));
        stream().linear_backward((&xt).into(), &linear, (&dyt).into(), gradients).unwrap();

        let check = Differences::POLYNOMIAL;
        check.check("dx", &values(&dx), &x, &dy, |x| forward(x, &w, &b));
        check.check("dw", &values(&dw), &w, &dy, |w| forward(&x, w, &b));
        check.check("db", &values(&db), &b, &dy, |b| forward(&x, &w, b));
    }

    #[test]
    fn gradients_of_parameters_accumulate_and_that_of_x_does_if_asked(rows in 0usize..4, seed: u64) {
        let linear = packed([2, 3], &noise(seed, 6), None, WeightFormat::F32);
        let (x, dy) = (tensor([rows, 3], &noise(1, rows * 3)), tensor([rows, 2], &noise(2, rows * 2)));
        let run = |start: f32, write| {
            let mut dx = tensor([rows, 3], &vec![start; rows * 3]);
            let (mut dw, mut db) = (tensor([2, 3], &[start; 6]), tensor([2], &[start; 2]));
            let gradients = LinearGradients {
                x: Some(((&mut dx).into(), write)),
                weight: &mut dw,
                bias: Some(&mut db),
            };
            stream().linear_backward((&x).into(), &linear, (&dy).into(), gradients).unwrap();
            (values(&dx), values(&dw), values(&db))
        };
        // Sums of a few products of multiples of 2⁻⁷ and a small integer are exact, so equality is.
        let more = |v: Vec<f32>| -> Vec<f32> { v.into_iter().map(|x| x + 3.0).collect() };
        let (dx, dw, db) = run(0.0, Write::Replace);
        prop_assert_eq!(run(3.0, Write::Replace), (dx.clone(), more(dw.clone()), more(db.clone())));
        prop_assert_eq!(run(3.0, Write::Accumulate), (more(dx), more(dw), more(db)));
    }
}

#[test]
fn gradients_of_bf16_tensors_are_the_exact_ones_rounded() {
    let linear = packed([3, 2], &noise(1, 6), None, WeightFormat::Bf16);
    let run = |dtype| {
        let (x, dy) = (typed([4, 2], dtype, &noise(2, 8)), typed([4, 3], dtype, &noise(3, 12)));
        let (mut dx, mut dw) = (typed([4, 2], dtype, &[0.0; 8]), typed([3, 2], dtype, &[0.0; 6]));
        let gradients =
            LinearGradients { x: Some(((&mut dx).into(), Write::Replace)), weight: &mut dw, bias: None };
        stream().linear_backward((&x).into(), &linear, (&dy).into(), gradients).unwrap();
        [values(&dx), values(&dw)]
    };
    let round = |v: Vec<f32>| v.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect::<Vec<_>>();
    // Sums of a few products of multiples of 2⁻⁷ are exact in f32, so only bf16 rounds.
    assert_eq!(run(DType::Bf16), run(DType::F32).map(round));
}
