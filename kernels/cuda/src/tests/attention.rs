use kernels_backend::AttentionOptions;

use super::*;

/// Context, then stats.
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
    let options = AttentionOptions { num_heads, scale, dropout: None, precision: WeightFormat::F32 };
    let mut context = unset_in(s, [batch, tokens, width], dtype);
    let mut stats = unset(s, [batch, num_heads, tokens]);
    s.attention(&qkv, &options, &mut context, Some(&mut stats)).unwrap();
    let mut result = values(s, &context);
    result.extend(values(s, &stats));
    result
}

#[test]
fn on_hopper_what_every_backend_passes() {
    kernels_testing::attention::any_head_and_any_number_of_tokens_agree_with_the_reference(&Hopper);
    kernels_testing::attention::nan_infinite_and_overflowing_scores_give_what_the_reference_gives(&Hopper);
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
        agree_in(&Hopper, dtype, "attention", tokens + head_dim, size, &|backend| {
            run(backend, [batch, tokens, num_heads, head_dim], dtype, by_head, scale, &qkv)
        });
    }
}

#[test]
fn a_head_wider_than_a_block_of_columns_agrees() {
    let dims = [1, 35, 1, 300];
    let qkv = noise(5, 35 * 900);
    agree(&Cuda, "attention", 335, 1.0, &|backend| run(backend, dims, DType::F32, true, 0.05, &qkv));
}
