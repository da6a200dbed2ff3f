use kernels_backend::{Epilogue, Write};
use kernels_testing::linear::activations;

use super::*;

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn on_tensor_cores_any_epilogue_agrees_with_the_reference(
        rows in proptest::sample::select(vec![1usize, 7, 16, 17, 63, 64, 65, 128, 129]), inputs in eighths(), outputs in eighths(), seed in any::<u64>(),
        activation in activations(), accumulate in any::<bool>(), keep in any::<bool>(), by_head in any::<bool>(),
        format in proptest::sample::select(vec![WeightFormat::Bf16, WeightFormat::F16]), y_type in float_types(),
    ) {
        let write = if accumulate { Write::Accumulate } else { Write::Replace };
        let (weight, bias) = (noise(seed, 3 * inputs * outputs), noise(seed + 1, 3 * outputs));
        let (types, size) = ((format.dtype().unwrap(), y_type), 1.0 + (inputs as f32).sqrt());
        let layout = if by_head { Layout::Heads { num_heads: outputs / 8 } } else { Layout::Rows };
        let run: Run<'_> = &|backend| {
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
        };
        for subject in [&Cuda as &dyn Subject, &Hopper] {
            agree_in(subject, types.1, "linear", inputs, size, run);
        }
    }
}

/// Multiples of eight around the steps and tiles of tensor cores.
fn eighths() -> impl Strategy<Value = usize> {
    proptest::sample::select(vec![8, 24, 32, 40, 64, 72, 96, 104, 128, 136, 200])
}
