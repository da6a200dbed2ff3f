use kernels_backend::{AttentionOptions, Dropout};

use super::*;

/// Context, then stats, then probabilities.
fn run(
    backend: &Arc<dyn Backend>,
    [batch, tokens, num_heads, head_dim]: [usize; 4],
    dtype: DType,
    by_head: bool,
    scale: f32,
    qkv: &[f32],
) -> Vec<f32> {
    let mut stream = Arc::clone(backend).stream().unwrap();
    let s = &mut *stream;
    let width = num_heads * head_dim;
    let layout = if by_head { Layout::Heads { num_heads } } else { Layout::Rows };
    let qkv = laid_out(s, [batch, tokens, 3 * width], dtype, layout, qkv);
    let options = AttentionOptions { num_heads, scale, dropout: None, precision: DType::F32 };
    let mut context = unset_in(s, [batch, tokens, width], dtype);
    let mut stats = unset(s, [batch, num_heads, tokens]);
    s.attention(&qkv, &options, &mut context, Some(&mut stats)).unwrap();
    let mut result = values(s, &context);
    result.extend(values(s, &stats));
    let mut probabilities = unset_in(s, [batch, num_heads, tokens, tokens], dtype);
    s.attention_probabilities(&qkv, &options, &mut probabilities).unwrap();
    result.extend(values(s, &probabilities));
    result
}

/// The backends whose kernels differ for 16 bits.
fn backends() -> Vec<&'static Arc<dyn Backend>> {
    [&CUDA.1].into_iter().chain(HOPPER.as_ref()).collect()
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn any_head_and_any_number_of_tokens_agree_with_the_reference(
        batch in 1..3usize, tokens in awkward(0), num_heads in 1..3usize,
        head_dim in proptest::sample::select(vec![1usize, 3, 24, 64, 80, 88]), dtype in float_types(),
        by_head in any::<bool>(), scale in -1.0f32..1.0, seed in any::<u64>(),
    ) {
        let qkv = noise(seed, batch * tokens * 3 * num_heads * head_dim);
        agree_on(&backends(), dtype, "attention", tokens + head_dim, 1.0, &|backend| {
            run(backend, [batch, tokens, num_heads, head_dim], dtype, by_head, scale, &qkv)
        });
    }
}

proptest! {
    #![proptest_config(cases(16))]

    /// Around the queries of a warpgroup and a tile and the keys of a step; the larger the numbers, the more maxima move.
    #[test]
    fn on_hopper_tiles_and_steps_that_are_not_full_agree_with_the_reference(
        batch in 1..3usize, tokens in proptest::sample::select(vec![1usize, 64, 65, 111, 112, 113, 192, 193, 225, 340]),
        num_heads in 1..4usize, head_dim in proptest::sample::select(vec![8usize, 24, 40, 64, 72, 80, 96, 104, 128]),
        dtype in proptest::sample::select(vec![DType::Bf16, DType::F16]), by_head in any::<bool>(),
        scale in 0.01f32..0.3, size in 0.5f32..4.0, seed in any::<u64>(),
    ) {
        let mut qkv = noise(seed, batch * tokens * 3 * num_heads * head_dim);
        qkv.iter_mut().for_each(|x| *x *= size);
        let backends: Vec<_> = HOPPER.iter().collect();
        agree_on(&backends, dtype, "attention", tokens + head_dim, size, &|backend| {
            run(backend, [batch, tokens, num_heads, head_dim], dtype, by_head, scale, &qkv)
        });
    }
}

#[test]
fn a_head_wider_than_a_block_of_columns_agrees() {
    let dims = [1, 35, 1, 300];
    let qkv = noise(5, 35 * 900);
    agree("attention", 335, 1.0, &|backend| run(backend, dims, DType::F32, true, 0.05, &qkv));
}

#[test]
fn large_scores_do_not_overflow() {
    let dims = [1, 150, 1, 24];
    let mut qkv = noise(3, 150 * 3 * 24);
    // Scores up to 24·15·15, so that probabilities are nearly zero and one and maxima move between steps.
    qkv.iter_mut().for_each(|x| *x *= 15.0);
    let result = run(&CUDA.1, dims, DType::F32, false, 1.0, &qkv);
    assert!(result.iter().all(|x| x.is_finite()));
    // The rounding of a score of some thousand is a relative error of its exponential.
    agree("attention", 150, 24.0 * 15.0 * 15.0, &|backend| run(backend, dims, DType::F32, false, 1.0, &qkv));
}

#[test]
fn nan_infinite_and_overflowing_scores_give_what_the_reference_gives() {
    let head_dim = 8;
    for (dtype, tokens) in [(DType::F32, 67), (DType::Bf16, 130)] {
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            for (token, part) in [(0, 0), (5, 1), (64, 1), (7, 2), (66, 2)] {
                let mut qkv = noise(4, tokens * 3 * head_dim);
                qkv[(token * 3 + part) * head_dim + 2] = special;
                let what = format!("{special} in part {part} of token {token}");
                agree_on(&backends(), dtype, &what, tokens, 1.0, &|backend| {
                    let mut result = run(backend, [1, tokens, 1, head_dim], dtype, false, 0.5, &qkv);
                    // Sums that overflow differ in when they do, so only finite numbers and the rest are told apart.
                    result.iter_mut().filter(|x| !x.is_finite() || x.abs() > 1e3).for_each(|x| *x = f32::NAN);
                    result
                });
            }
        }
    }
}

#[test]
fn dropout_is_refused_unless_it_does_nothing() {
    let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
    let s = &mut *stream;
    let qkv = tensor(s, [1, 1, 3], &[1.0; 3]);
    let mut context = unset(s, [1, 1, 1]);
    let mut try_with = |probability| {
        let dropout = Some(Dropout { probability, seed: 1 });
        let options = AttentionOptions { num_heads: 1, scale: 1.0, dropout, precision: DType::F32 };
        s.attention(&qkv, &options, &mut context, None)
    };
    assert!(try_with(0.0).is_ok());
    let message = try_with(0.1).unwrap_err().to_string();
    assert!(message.contains("attention dropout"), "{message}");
}
