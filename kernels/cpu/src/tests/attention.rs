use kernels_backend::{AttentionOptions, Dropout};

use super::*;

const HEAD_DIMS: &[usize] = if cfg!(miri) { &[1, 3, 9] } else { &[1, 3, 24, 64, 80, 88] };

/// Context, then stats, then probabilities.
fn run(
    backend: &Arc<dyn Backend>,
    [batch, tokens, head_dim]: [usize; 3],
    layout: Layout,
    options: AttentionOptions,
    qkv: &[f32],
) -> Vec<f32> {
    let num_heads = options.num_heads;
    let mut stream = Arc::clone(backend).stream().unwrap();
    let s = &mut *stream;
    let width = num_heads * head_dim;
    let qkv = laid_out(s, [batch, tokens, 3 * width], layout, qkv);
    let mut context = unset(s, [batch, tokens, width]);
    let mut stats = unset(s, [batch, num_heads, tokens]);
    s.attention(&qkv, &options, &mut context, Some(&mut stats)).unwrap();
    let mut result = values(s, &context);
    result.extend(values(s, &stats));
    let mut probabilities = unset(s, [batch, num_heads, tokens, tokens]);
    s.attention_probabilities(&qkv, &options, &mut probabilities).unwrap();
    result.extend(values(s, &probabilities));
    result
}

fn options(num_heads: usize, scale: f32) -> AttentionOptions {
    AttentionOptions { num_heads, scale, dropout: None, precision: DType::F32 }
}

fn layout(by_head: bool, num_heads: usize) -> Layout {
    if by_head { Layout::Heads { num_heads } } else { Layout::Rows }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn any_head_and_any_number_of_tokens_agree_with_the_reference(
        batch in 1..3usize, tokens in awkward(0), num_heads in 1..4usize,
        head_dim in proptest::sample::select(HEAD_DIMS),
        by_head in any::<bool>(), scale in -1.0f32..1.0, seed in any::<u64>(),
    ) {
        let qkv = noise(seed, batch * tokens * 3 * num_heads * head_dim);
        agree("attention", tokens + head_dim, 1.0, &|backend| {
            let layout = layout(by_head, num_heads);
            run(backend, [batch, tokens, head_dim], layout, options(num_heads, scale), &qkv)
        });
    }

    #[test]
    fn what_may_be_rounded_to_bf16_agrees_with_the_reference_within_that(
        batch in 1..3usize, tokens in awkward(1), num_heads in 1..4usize,
        head_dim in proptest::sample::select(HEAD_DIMS),
        by_head in any::<bool>(), scale in -1.0f32..1.0, seed in any::<u64>(),
    ) {
        // Numbers of bf16, so that scores are exact and what is left is the rounding of probabilities.
        let mut qkv = noise(seed, batch * tokens * 3 * num_heads * head_dim);
        qkv.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
        let options = AttentionOptions { precision: DType::Bf16, ..options(num_heads, scale) };
        agree_in(DType::Bf16, "attention", tokens + head_dim, 1.0, &|backend| {
            run(backend, [batch, tokens, head_dim], layout(by_head, num_heads), options, &qkv)
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large")]
fn large_scores_do_not_overflow() {
    let dims = [1, 400, 24];
    let mut qkv = noise(3, 400 * 3 * 48);
    // Scores up to 24·15·15, so that probabilities are nearly zero and one and maxima move between blocks.
    qkv.iter_mut().for_each(|x| *x *= 15.0);
    for backend in BACKENDS.iter() {
        let result = run(backend, dims, Layout::Rows, options(2, 1.0), &qkv);
        assert!(result.iter().all(|x| x.is_finite()), "{}", backend.name());
    }
    // The rounding of a score of some thousand is a relative error of its exponential.
    agree("attention", 400, 24.0 * 15.0 * 15.0, &|backend| {
        run(backend, dims, Layout::Rows, options(2, 1.0), &qkv)
    });
}

#[test]
#[cfg_attr(miri, ignore = "too large")]
fn nan_infinite_and_overflowing_scores_give_what_the_reference_gives() {
    let (tokens, head_dim) = (211, 8);
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        for (token, part) in [(0, 0), (5, 1), (200, 1), (7, 2), (210, 2)] {
            let mut qkv = noise(4, tokens * 3 * head_dim);
            qkv[(token * 3 + part) * head_dim + 2] = special;
            agree(&format!("{special} in part {part} of token {token}"), tokens, 1.0, &|backend| {
                let mut result = run(backend, [1, tokens, head_dim], Layout::Rows, options(1, 0.5), &qkv);
                // Sums that overflow differ in when they do, so only finite numbers and the rest are told apart.
                result.iter_mut().filter(|x| !x.is_finite() || x.abs() > 1e3).for_each(|x| *x = f32::NAN);
                result
            });
        }
    }
}

#[test]
fn dropout_is_refused_unless_it_does_nothing() {
    for backend in BACKENDS.iter() {
        let mut stream = Arc::clone(backend).stream().unwrap();
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
}
