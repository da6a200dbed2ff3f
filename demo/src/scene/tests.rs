use super::*;
use crate::Split;

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
        (Label::Left, 0xee9c_83e3_8b6e_577d),
        (Label::Right, 0xac1f_4a09_9990_3706),
        (Label::Up, 0xb984_7098_2ead_6f6b),
        (Label::Down, 0xc429_6928_5530_f401),
        (Label::Clockwise, 0xa64e_b85c_76d6_4be5),
        (Label::Anticlockwise, 0x2468_64d5_6cb6_cdef),
        (Label::Grow, 0x2344_74ee_f8f5_1e47),
        (Label::Shrink, 0xf924_d0df_e548_6035),
        (Label::Bounce, 0x4cf5_5f4f_2e19_0551),
        (Label::Still, 0x2056_cc17_f266_8dd8),
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
    let motion = Motion::draw(label, &mut Rng::new(seed, MOTION_STREAM));
    Scene { noise: 0.0, ..Scene::draw(seed) }.render(&motion, FrameSize::default())
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
        // 0.2 at full coverage; a pixel that is not fully covered may show a little less.
        assert!(contrast.fold(0.0, f64::max) > 0.19, "seed {seed}: {scene:?}");
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
