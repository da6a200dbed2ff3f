use super::*;
use crate::{NUM_FRAMES, Split};

/// FNV-1a, 64 bits: enough to notice one changed byte.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[test]
fn bytes_are_the_same_on_every_machine() {
    // One seed per label.
    let expected: [(Label, u64); 10] = [
        (Label::Left, 0x00f9_2f41_2d97_ff8c),
        (Label::Right, 0x3f74_2918_da27_a190),
        (Label::Up, 0xf40e_072a_382e_632e),
        (Label::Down, 0xb3f7_a4cb_aa78_705e),
        (Label::Clockwise, 0x886b_7ff8_264e_c339),
        (Label::Anticlockwise, 0x16e6_07c9_57d3_7adb),
        (Label::Grow, 0x1d05_0ac9_e410_2274),
        (Label::Shrink, 0x2004_4ae6_c005_3fb5),
        (Label::Bounce, 0xd935_33c6_dec5_1274),
        (Label::Still, 0x5770_064a_0c0b_6bea),
    ];
    let found = expected.map(|(label, _)| (label, fingerprint(render(label, label.index() as u64).bytes())));
    assert_eq!(found, expected, "the renderer changed: the demo checkpoint and clips must be made again");
}

#[test]
fn every_label_renders_for_many_seeds_and_sizes() {
    let sizes = [(128, 96), (96, 128), (64, 64), (161, 121), (1, 1), (2, 37)];
    for label in Label::ALL {
        for (index, (width, height)) in sizes.into_iter().enumerate() {
            for round in 0..3 {
                let seed = mix(round * 100 + index as u64);
                let clip = render_sized(label, seed, FrameSize { width, height });
                assert_eq!(clip.shape(), [NUM_FRAMES, height, width, 3]);
                assert_eq!(clip.frames().len(), NUM_FRAMES);
            }
        }
    }
}

fn render_noiseless(label: Label, seed: u64) -> Clip {
    Scene { noise: 0.0, ..Scene::draw(seed) }.render(&track(label, seed), FrameSize::default())
}

#[test]
fn reversed_clip_is_the_clip_of_the_opposite_label_but_for_noise() {
    for label in [Label::Left, Label::Up, Label::Clockwise, Label::Grow, Label::Still] {
        for seed in 0..5 {
            let forwards = render_noiseless(label, seed);
            assert_eq!(forwards.reversed(), render_noiseless(label.reversed(), seed), "{label} {seed}");
        }
    }
}

#[test]
fn background_does_not_depend_on_the_label() {
    // The corners lie outside the middle square, where no shape can reach.
    let corner = |label| render(label, 11).frames().map(|frame| frame[..8 * 3].to_vec()).collect::<Vec<_>>();
    for label in Label::ALL {
        assert_eq!(corner(label), corner(Label::Still), "{label}");
    }
}

#[test]
fn shape_stands_out_in_the_middle_frame() {
    for index in 0..200 {
        let seed = Split::Train.seed(index);
        let scene = Scene { noise: 0.0, ..Scene::draw(seed) };
        let size = FrameSize::default();
        let mut picture = scene.backdrop(size);
        let backdrop = picture.clone();
        scene.paint(&mut picture, size, Pose { x: 0.0, y: 0.0, radius: 0.1 });
        let contrast = picture.iter().zip(&backdrop).map(|(a, b)| (luma(*a) - luma(*b)).abs());
        // 0.25 where the shape covers a pixel fully, and every shape does.
        assert!(contrast.fold(0.0, f64::max) >= 0.25, "seed {seed}: {scene:?}");
    }
}

#[test]
fn only_noise_moves_in_a_still_clip() {
    let clip = render_noiseless(Label::Still, 3);
    let mut frames = clip.frames();
    let first = frames.next().unwrap();
    assert!(frames.all(|frame| frame == first));
}

#[test]
#[should_panic(expected = "cannot render 0×96 frames")]
fn zero_width_is_refused() {
    render_sized(Label::Left, 0, FrameSize { width: 0, height: 96 });
}
