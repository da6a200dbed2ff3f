use kernels_backend::{AttentionOptions, DType, Dropout, Error, Tensor, WeightFormat, tolerance::Comparison};
use proptest::prelude::*;

use crate::testing::{Differences, cases, noise, stream, tensor, typed, undefined, values};

fn options(num_heads: usize, scale: f32) -> AttentionOptions {
    AttentionOptions { num_heads, scale, dropout: None, precision: WeightFormat::F32 }
}

/// Context, stats and probabilities of `qkv (B, N, 3·D)`.
fn run(qkv: &Tensor, options: &AttentionOptions) -> [Vec<f32>; 3] {
    let [batch, tokens, width] = **qkv.shape() else { panic!("qkv has three dimensions") };
    let mut context = undefined([batch, tokens, width / 3]);
    let mut stats = undefined([batch, options.num_heads, tokens]);
    let mut probabilities = undefined([batch, options.num_heads, tokens, tokens]);
    stream().attention(qkv, options, &mut context, Some(&mut stats)).unwrap();
    stream().attention_probabilities(qkv, options, &mut probabilities).unwrap();
    [values(&context), values(&stats), values(&probabilities)]
}

#[test]
fn queries_and_keys_of_int8_are_integers_of_their_largest_and_the_mean_key_does_not_matter() {
    let (tokens, head_dim) = (9, 8);
    let int8 = AttentionOptions { precision: WeightFormat::Int8, ..options(1, 0.5) };
    let mut numbers = noise(7, tokens * 3 * head_dim);
    let [exact, ..] = run(&tensor([1, tokens, 3 * head_dim], &numbers), &options(1, 0.5));
    let [rounded, _, probabilities] = run(&tensor([1, tokens, 3 * head_dim], &numbers), &int8);
    let error = rounded.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Half a step is 1/254 of the largest number, in 8 products of numbers below 1.
    assert!(error > 0.0 && error < 0.5 * 8.0 * 2.0 / 254.0, "{error}");
    // Keys that all lie somewhere else: their rounding would be coarser, but for the mean that is taken away.
    for row in numbers.chunks_exact_mut(3 * head_dim) {
        row[head_dim..2 * head_dim].iter_mut().for_each(|k| *k += 64.0);
    }
    let [_, _, shifted] = run(&tensor([1, tokens, 3 * head_dim], &numbers), &int8);
    let error = shifted.iter().zip(&probabilities).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // A number beside 64 is rounded to 2⁻¹⁷, and an integer may then be its neighbour.
    assert!(error < 1e-3, "{error}");
}

#[test]
fn two_tokens_by_hand() {
    // q = 1, 0; k = ln 3, 0; v = 4, 8. The first query has probabilities ¾ and ¼, the second ½ and ½.
    let ln3 = 3f32.ln();
    let qkv = tensor([1, 2, 3], &[1.0, ln3, 4.0, 0.0, 0.0, 8.0]);
    let [context, stats, probabilities] = run(&qkv, &options(1, 1.0));
    let close = |found: &[f32], expected: &[f32]| {
        // ln 3 is rounded to f32, and so is the result.
        Comparison::of(found, expected).assert_within("attention", DType::F32, 1);
    };
    close(&probabilities, &[0.75, 0.25, 0.5, 0.5]);
    close(&context, &[5.0, 6.0]);
    close(&stats, &[4f32.ln(), 2f32.ln()]);
}

#[test]
fn equal_scores_average_the_values_of_their_own_head_and_sample() {
    // Queries are zero; v of sample b, token t, head h, element e is 1000b + 100t + 10h + e.
    let (batch, tokens, heads, head_dim) = (2, 3, 2, 2);
    let width = heads * head_dim;
    let mut qkv = vec![0.0; batch * tokens * 3 * width];
    for (i, x) in qkv.iter_mut().enumerate() {
        let (row, column) = (i / (3 * width), i % (3 * width));
        let (b, t) = (row / tokens, row % tokens);
        if column >= 2 * width {
            let (h, e) = ((column - 2 * width) / head_dim, column % head_dim);
            *x = (1000 * b + 100 * t + 10 * h + e) as f32;
        } else if column >= width {
            *x = column as f32; // keys do not matter
        }
    }
    let [context, stats, probabilities] =
        run(&tensor([batch, tokens, 3 * width], &qkv), &options(heads, 0.5));
    let sample = [100.0, 101.0, 110.0, 111.0];
    let expected: Vec<f32> =
        (0..batch * tokens).flat_map(|row| sample.map(|v| v + (1000 * (row / tokens)) as f32)).collect();
    Comparison::of(&context, &expected).assert_within("context", DType::F32, 1);
    assert!(stats.iter().all(|&s| s == 3f64.ln() as f32), "{stats:?}");
    assert!(probabilities.iter().all(|&p| p == (1.0f64 / 3.0) as f32), "{probabilities:?}");
}

#[test]
fn huge_scores_do_not_overflow_and_one_token_attends_to_itself() {
    let qkv = tensor([1, 2, 3], &[1e18, 1e18, 3.0, 1e18, -1e18, 5.0]);
    let [context, _, probabilities] = run(&qkv, &options(1, 1.0));
    assert_eq!((context, probabilities), (vec![3.0, 3.0], vec![1.0, 0.0, 1.0, 0.0]));
    let [context, stats, _] = run(&tensor([1, 1, 3], &[2.0, 3.0, 7.0]), &options(1, 0.5));
    assert_eq!((context, stats), (vec![7.0], vec![3.0]));
}

#[test]
fn a_nan_key_spoils_its_head_and_sample_only() {
    let mut qkv = noise(1, 2 * 2 * 6);
    qkv[2] = f32::NAN; // sample 0, token 0, key of head 0
    let [context, ..] = run(&tensor([2, 2, 6], &qkv), &options(2, 1.0));
    let spoiled: Vec<bool> = context.iter().map(|x| x.is_nan()).collect();
    assert_eq!(spoiled, [true, false, true, false, false, false, false, false]);
}

#[test]
fn no_tokens_and_no_samples_give_nothing() {
    for shape in [[0, 2, 3], [2, 0, 3]] {
        assert_eq!(run(&tensor(shape, &[]), &options(1, 1.0)), [vec![], vec![], vec![]]);
    }
}

#[test]
fn bf16_context_is_the_exact_one_rounded_once() {
    let qkv = tensor([1, 3, 6], &noise(5, 18));
    let [exact, ..] = run(&qkv, &options(2, 0.7));
    let mut context = typed([1, 3, 2], DType::Bf16, &[0.0; 6]);
    stream().attention(&qkv, &options(2, 0.7), &mut context, None).unwrap();
    let rounded: Vec<f32> = exact.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect();
    assert_eq!(values(&context), rounded);
}

#[test]
fn dropout_zeroes_and_scales_probabilities_by_their_flat_index() {
    let qkv = tensor([2, 5, 6], &noise(3, 60));
    let plain = options(2, 0.5);
    let dropout = Dropout { probability: 0.4, seed: 11 };
    let dropped = AttentionOptions { dropout: Some(dropout), ..plain };
    let [_, stats, probabilities] = run(&qkv, &plain);
    let [context, dropped_stats, dropped_probabilities] = run(&qkv, &dropped);
    assert_eq!(stats, dropped_stats, "stats are of the scores, before dropout");
    let expected: Vec<f32> =
        probabilities.iter().enumerate().map(|(i, p)| p * dropout.factor(i as u64)).collect();
    Comparison::of(&dropped_probabilities, &expected).assert_within("probabilities", DType::F32, 1);
    assert!(dropped_probabilities.contains(&0.0) && dropped_probabilities.iter().any(|&p| p > 0.0));
    // The context is the sum over the probabilities that are left. v of head h is column 4 + h.
    let qkv = values(&qkv);
    for (i, &found) in context.iter().enumerate() {
        let (row, head) = (i / 2, i % 2);
        let (sample, token) = (row / 5, row % 5);
        let p = &dropped_probabilities[((sample * 2 + head) * 5 + token) * 5..][..5];
        let v = |key: usize| qkv[(sample * 5 + key) * 6 + 4 + head];
        let expected: f32 = (0..5).map(|key| p[key] * v(key)).sum();
        Comparison::of(&[found], &[expected]).assert_within("context", DType::F32, 5);
    }
}

#[test]
fn shapes_and_probabilities_that_do_not_fit_are_refused() {
    let (mut context, qkv) = (undefined([1, 2, 2]), tensor([1, 2, 6], &[0.0; 12]));
    let error = stream().attention(&qkv, &options(4, 1.0), &mut context, None).unwrap_err();
    assert_eq!(error.to_string(), "attention: expected a width of 3·D with D a multiple of 4 heads, found 6");
    let dropout = Some(Dropout { probability: 1.0, seed: 0 });
    let options = AttentionOptions { dropout, ..options(1, 1.0) };
    let error = stream().attention(&qkv, &options, &mut context, None).unwrap_err();
    assert!(matches!(error, Error::Shape { op: "attention", .. }), "{error}");
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn gradient_agrees_with_differences(
        batch in 0usize..3,
        tokens in 0usize..4,
        num_heads in 1usize..3,
        head_dim in 1usize..4,
        probability in prop_oneof![Just(None), Just(Some(0.3f32))],
        seed: u64,
    ) {
        let width = num_heads * head_dim;
        let shape = [batch, tokens, 3 * width];
        let dropout = probability.map(|probability| Dropout { probability, seed });
        let options = AttentionOptions { num_heads, scale: 0.5, dropout, precision: WeightFormat::F32 };
        let qkv = noise(seed, batch * tokens * 3 * width);
        let dy = noise(!seed, batch * tokens * width);
        let forward = |qkv: &[f32]| {
            let [context, ..] = run(&tensor(shape, qkv), &options);
            context
        };

        let [context, stats, _] = run(&tensor(shape, &qkv), &options);
        let mut dqkv = undefined(shape);
        stream().attention_backward(
            &tensor(shape, &qkv),
            &options,
            &tensor([batch, num_heads, tokens], &stats),
            &tensor([batch, tokens, width], &context),
            &tensor([batch, tokens, width], &dy),
            &mut dqkv,
        ).unwrap();
        // Scores move by at most ½ for a unit of q or k; the fifth derivative of a softmax is below 10, times
        // ½⁵, times at most nine outputs that one element reaches.
        Differences::smooth(3.0).check("dqkv", &values(&dqkv), &qkv, &dy, forward);
    }

    #[test]
    fn rows_of_probabilities_add_up_to_one(tokens in 1usize..6, num_heads in 1usize..3, seed: u64) {
        let qkv = tensor([1, tokens, 6 * num_heads], &noise(seed, tokens * 6 * num_heads));
        let [_, _, probabilities] = run(&qkv, &options(num_heads, 3.0));
        for row in probabilities.chunks_exact(tokens) {
            let sum: f32 = row.iter().sum();
            Comparison::of(&[sum], &[1.0]).assert_within("sum", DType::F32, tokens);
        }
    }
}
