use kernels_backend::{Error, PatchGeometry, PatchTargets};

use super::*;

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
