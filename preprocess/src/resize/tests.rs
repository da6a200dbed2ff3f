//! The passes against each other and against properties that hold for any filter.

use super::*;
use proptest::prelude::*;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|i| (crate::random::hash(seed, i) >> 56) as u8).collect()
}

/// torchvision's bilinear passes without SIMD.
fn direct_resize(image: &[u8], [h, w, c]: [usize; 3], [new_h, new_w]: [usize; 2]) -> Vec<u8> {
    let taps = |from, to| Taps::new(from, to, Resample::Bilinear, Precision::SixteenBits);
    let mut wide = image.to_vec();
    if new_w != w {
        wide = vec![0; h * new_w * c];
        taps(w, new_w).horizontal(image, w, c, &mut wide);
    }
    if new_h == h {
        return wide;
    }
    let mut out = vec![0; new_h * new_w * c];
    taps(h, new_h).vertical(&wide, new_w * c, c, 0..new_w, &mut out);
    out
}

proptest! {
    #[test]
    fn simd_passes_equal_the_direct_form(
        h in 1usize..90, w in 1usize..90, new_h in 1usize..90, new_w in 1usize..90,
        c in prop::sample::select(vec![1usize, 3, 4]), seed: u64,
    ) {
        let image = noise(h * w * c, seed);
        let fast = Resizer::new().resize(&image, [h, w, c], [new_h, new_w]).unwrap();
        prop_assert_eq!(fast, direct_resize(&image, [h, w, c], [new_h, new_w]));
    }

    #[test]
    fn columns_equal_those_of_the_whole_image(
        h in 1usize..40, w in 1usize..40, new_h in 1usize..40, new_w in 1usize..40, cut in 0.0f64..1.0, seed: u64,
    ) {
        let image = noise(h * w * 3, seed);
        let whole = Resizer::new().resize(&image, [h, w, 3], [new_h, new_w]).unwrap();
        let first = (cut * new_w as f64) as usize;
        let mut resizer = Resizer::new();
        let part = resizer.resize_columns(&image, [h, w, 3], [new_h, new_w], first..new_w).unwrap();
        for y in 0..new_h {
            let kept = (y * part.stride + first - part.first_column) * 3;
            let len = (new_w - first) * 3;
            prop_assert_eq!(&part.data[kept..kept + len], &whole[(y * new_w + first) * 3..][..len]);
        }
    }
}

#[test]
fn reductions_around_the_switch_to_the_direct_form_agree() {
    for (from, to) in [(99, 1), (100, 1), (101, 1), (199, 2), (200, 2), (2_300, 19)] {
        let image = noise(from * 3, 7);
        let fast = Resizer::new().resize(&image, [1, from, 3], [1, to]).unwrap();
        assert_eq!(fast, direct_resize(&image, [1, from, 3], [1, to]), "{from} to {to}");
    }
}

#[test]
fn equal_sizes_change_nothing() {
    let image = noise(5 * 7 * 3, 1);
    assert_eq!(Resizer::new().resize(&image, [5, 7, 3], [5, 7]).unwrap(), image);
}

#[test]
fn absurd_sizes_are_errors() {
    let mut resizer = Resizer::new();
    for to in [[0, 4], [4, 0], [usize::MAX, 4], [4, usize::MAX], [1 << 20, 1 << 20]] {
        assert!(resizer.resize(&[0; 12], [2, 2, 3], to).is_err(), "{to:?}");
    }
    assert!(resizer.resize(&[0; 11], [2, 2, 3], [4, 4]).is_err());
}
