use kernels_backend::{Error, PatchGeometry, PatchTargets};

use super::*;

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn patches_and_targets_agree_for_any_geometry(
        batch in 1..3usize, channels in 1..4usize, grid in (1..4usize, 1..4usize, 1..4usize),
        tubelet_size in 1..3usize, patch_height in 1..5usize, patch_width in 2..9usize,
        normalize in any::<bool>(), unnormalize in any::<bool>(), picked in any::<bool>(),
        types in (float_types(), float_types()), seed in any::<u64>(),
    ) {
        let geometry = PatchGeometry { tubelet_size, patch_height, patch_width };
        let shape = [batch, grid.0 * tubelet_size, channels, grid.1 * patch_height, grid.2 * patch_width];
        let patch = channels * tubelet_size * patch_height * patch_width;
        let tokens = grid.0 * grid.1 * grid.2;
        let count = tokens.div_ceil(2);
        let indices: Vec<_> =
            noise(seed, batch * count).iter().map(|x| ((x + 1.0) * 0.5 * tokens as f32) as i32).collect();
        let affine: Vec<_> = (0..channels).map(|c| (0.4 + c as f32 * 0.1, 0.2 + c as f32 * 0.05)).collect();
        // A patch of nearly equal pixels is brought to variance one, and its rounding errors with it.
        let size = if normalize { 40.0 } else { 1.0 };
        agree_in(types.1, "patches", patch, size, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let pixels = typed(s, shape, types.0, &noise(seed + 1, shape.iter().product()));
            let indices = integers(s, [batch, count], &indices);
            let rows = if picked { count } else { tokens };
            let mut patches = unset_in(s, [batch, rows, patch], types.1);
            s.patchify(&pixels, geometry, picked.then_some(&indices), (&mut patches).into()).unwrap();
            let mut labels = unset_in(s, [batch, count, patch], types.1);
            let unnormalize = if unnormalize { &affine[..] } else { &[] };
            let targets = PatchTargets { geometry, unnormalize, normalize };
            s.patch_targets(&pixels, &targets, &indices, &mut labels).unwrap();
            let mut result = values(s, &patches);
            result.extend(values(s, &labels));
            result
        });
    }
}

#[test]
fn more_channels_than_the_parameters_hold_are_refused() {
    let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
    let s = &mut *stream;
    let geometry = PatchGeometry { tubelet_size: 1, patch_height: 1, patch_width: 2 };
    let pixels = tensor(s, [1, 1, 9, 1, 2], &[0.0; 18]);
    let indices = integers(s, [1, 1], &[0]);
    let mut labels = unset(s, [1, 1, 18]);
    let targets = PatchTargets { geometry, unnormalize: &[], normalize: true };
    let error = s.patch_targets(&pixels, &targets, &indices, &mut labels).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
