//! `normalize_levels`, `patchify` and `patch_targets`.

use std::sync::Arc;

use kernels_backend::{DType, Layout, PatchGeometry, PatchTargets, View};
use proptest::prelude::*;

use crate::{
    Operand, Subject, agree_in, cases, integers, noise,
    subject::{awkward, types},
    tensor, typed, unset_in, values,
};

/// All tokens or some, targets normalised or not.
pub fn patches_and_targets_agree_for_any_geometry(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..3usize, channels in 1..4usize, grid in (1..4usize, 1..4usize, 1..4usize),
        tubelet_size in 1..3usize, patch_height in 1..5usize, patch_width in 2..9usize,
        normalize in any::<bool>(), unnormalize in any::<bool>(), picked in any::<bool>(),
        pixel_type in types(subject, Operand::Other), patch_type in types(subject, Operand::Other),
        seed in any::<u64>(),
    )| {
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
        agree_in(subject, patch_type, "patches", patch, size, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let pixels = typed(s, shape, pixel_type, &noise(seed + 1, shape.iter().product()));
            let indices = integers(s, [batch, count], &indices);
            let rows = if picked { count } else { tokens };
            let mut patches = unset_in(s, [batch, rows, patch], patch_type);
            s.patchify(&pixels, geometry, picked.then_some(&indices), (&mut patches).into()).unwrap();
            let mut labels = unset_in(s, [batch, count, patch], patch_type);
            let unnormalize = if unnormalize { &affine[..] } else { &[] };
            let targets = PatchTargets { geometry, unnormalize, normalize };
            s.patch_targets(&pixels, &targets, &indices, &mut labels).unwrap();
            let mut result = values(s, &patches);
            result.extend(values(s, &labels));
            result
        });
    });
}

/// In every type of pixels, planes of any size.
pub fn levels_are_looked_up_by_channel(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..3usize, frames in 1..4usize, channels in 1..5usize, height in 1..6usize,
        width in awkward(subject, 1), dtype in types(subject, Operand::Other), seed in any::<u64>(),
    )| {
        let shape = [batch, frames, channels, height, width];
        let numbers = noise(seed, shape.iter().product());
        let levels: Vec<u8> = numbers.iter().map(|x| (128.0 * (x + 1.0)) as u8).collect();
        let table = noise(seed + 1, channels * 256);
        // No number is computed with, so that every bit is the same.
        agree_in(subject, DType::U8, "normalize_levels", 1, 0.0, &|backend| {
            let mut stream = Arc::clone(backend).stream().unwrap();
            let s = &mut *stream;
            let mut bytes = s.alloc(shape.into(), DType::U8, Layout::Rows).unwrap();
            s.write(&View::u8(shape, &levels).unwrap(), &mut bytes).unwrap();
            let table = tensor(s, [channels, 256], &table);
            let mut pixel_values = unset_in(s, shape, dtype);
            s.normalize_levels(&bytes, &table, &mut pixel_values).unwrap();
            let mut result = values(s, &pixel_values);
            result.extend(values(s, &bytes));
            result
        });
    });
}
