//! Writes and reads of many pieces, and their two buffers.

use kernels_cuda_stand_in::{EVENT_WAIT, calls};

use super::*;
use crate::staging::PIECE;

/// Elements of f32 in a piece.
const LINE: usize = PIECE / 4;

/// Tensors of three pieces each, written while nothing of them has reached the device, and read: both as the options say.
fn copied(writes: &Options, reads: &Options) -> Vec<Vec<f32>> {
    let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
    let s = &mut *stream;
    let mut tensors: Vec<_> = (0..5).map(|_| unset(s, [3 * LINE])).collect();
    s.synchronize().unwrap();
    with_options(writes, || {
        for (i, tensor) in tensors.iter_mut().enumerate() {
            s.write(&View::f32([3 * LINE], &[i as f32; 3 * LINE]).unwrap(), tensor).unwrap();
        }
    });
    s.synchronize().unwrap();
    with_options(reads, || tensors.iter().map(|tensor| values(s, tensor)).collect())
}

#[test]
fn a_buffer_is_not_used_again_before_the_device_is_done_with_it() {
    let expected: Vec<_> = (0..5).map(|i| vec![i as f32; 3 * LINE]).collect();
    let (whole, planted) =
        (Options::default(), Options { drop: EVENT_WAIT.to_owned(), ..Options::default() });
    assert_eq!(copied(&whole, &whole), expected);
    if CUDA.0 == Driver::StandIn {
        assert_ne!(copied(&planted, &whole), expected, "writes without the wait");
        assert_ne!(copied(&whole, &planted), expected, "reads without the wait");
    }
}

#[test]
fn a_write_waits_only_when_both_buffers_are_on_their_way() {
    let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
    let s = &mut *stream;
    let mut tensors = [(); 3].map(|()| s.alloc([LINE].into(), DType::F32, Layout::Rows).unwrap());
    let ones = vec![1.0; LINE];
    for (tensor, expected) in tensors.iter_mut().zip([0, 0, 1]) {
        let waits = calls([EVENT_WAIT, "cuStreamSynchronize", "cuCtxSynchronize"], || {
            s.write(&View::f32([LINE], &ones).unwrap(), tensor).unwrap();
        });
        assert!(CUDA.0 == Driver::Real || waits == [expected, 0, 0], "{waits:?}");
    }
    assert_eq!(values(s, &tensors[2]), ones);
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn numbers_in_pieces_come_back_in_every_type_and_layout(
        tokens in 0..40usize,
        num_heads in 1..4usize,
        head_dim in 1..9usize,
        (from, to) in (float_types(), float_types()),
        by_head: bool,
        seed: u64,
    ) {
        let shape = Shape::from([2, tokens, 3 * num_heads * head_dim]);
        // These are exact in every type.
        let data: Vec<_> = noise(seed, shape.elements()).iter().map(|x| (x * 64.0).round()).collect();
        let bytes: Vec<u8> = match from {
            DType::F32 => bytemuck::cast_slice(&data).to_vec(),
            DType::Bf16 => data.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            _ => data.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
        };
        let mut stream = Arc::clone(&CUDA.1).stream().unwrap();
        let s = &mut *stream;
        let layout = if by_head { Layout::Heads { num_heads } } else { Layout::Rows };
        let mut tensor = s.alloc(shape, to, layout).unwrap();
        s.write(&View::new(shape, from, &bytes).unwrap(), &mut tensor).unwrap();
        prop_assert_eq!(values(s, &tensor), data);
    }
}
