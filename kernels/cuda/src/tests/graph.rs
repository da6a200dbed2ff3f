//! What a session does: forwards inside `enter`, with writes before and reads after them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels_backend::{
    AttentionOptions, Epilogue, LayerNorm, PatchGeometry, Result, Rows, RowsMut, Write, enter,
};
use kernels_cuda_stand_in::{NO_GRAPH, calls};

use super::*;
use crate::{backend::CudaBackend, device::Device, stream::OpStream};

/// A layer of a model, its input and its activations.
struct Forward {
    tokens: usize,
    pixel_values: Tensor,
    indices: Tensor,
    positions: Tensor,
    embed: Linear,
    qkv_projection: Linear,
    norm: LayerNorm,
    patches: Tensor,
    x: Tensor,
    normed: Tensor,
    qkv: Tensor,
    context: Tensor,
    mean: Tensor,
}

const WIDTH: usize = 12;
const NUM_HEADS: usize = 2;
const VIDEO: [usize; 5] = [1, 2, 1, 4, 8];
const GEOMETRY: PatchGeometry = PatchGeometry { tubelet_size: 1, patch_height: 2, patch_width: 2 };

impl Forward {
    fn new(backend: &Arc<dyn Backend>, s: &mut dyn Stream, tokens: usize) -> Self {
        let linear = |shape: [usize; 2]| {
            packed(backend, WeightFormat::F32, shape, &noise(1, shape[0] * shape[1]), None)
        };
        Self {
            tokens,
            pixel_values: unset(s, VIDEO),
            indices: integers(s, [1, tokens], &vec![0; tokens]),
            positions: tensor(s, [16, WIDTH], &noise(2, 16 * WIDTH)),
            embed: linear([WIDTH, 4]),
            qkv_projection: linear([3 * WIDTH, WIDTH]),
            norm: LayerNorm {
                weight: tensor(s, [WIDTH], &noise(3, WIDTH)),
                bias: tensor(s, [WIDTH], &noise(4, WIDTH)),
                eps: 1e-6,
            },
            patches: unset(s, [1, tokens, 4]),
            x: unset(s, [1, tokens, WIDTH]),
            normed: unset(s, [1, tokens, WIDTH]),
            qkv: s
                .alloc([1, tokens, 3 * WIDTH].into(), DType::F32, Layout::Heads { num_heads: NUM_HEADS })
                .unwrap(),
            context: unset(s, [1, tokens, WIDTH]),
            mean: unset(s, [1, WIDTH]),
        }
    }

    /// Pixels and a mask that `seed` chooses.
    fn write(&mut self, s: &mut dyn Stream, seed: u64) {
        let pixels = noise(seed, VIDEO.iter().product());
        s.write(&View::f32(VIDEO, &pixels).unwrap(), &mut self.pixel_values).unwrap();
        let index = |x: &f32| ((x + 1.0) * 7.99) as i32;
        let indices: Vec<_> = noise(seed + 100, self.tokens).iter().map(index).collect();
        s.write(&View::i32([1, self.tokens], &indices).unwrap(), &mut self.indices).unwrap();
    }

    fn run(&mut self, s: &mut dyn Stream) -> Result<()> {
        s.patchify(&self.pixel_values, GEOMETRY, Some(&self.indices), (&mut self.patches).into())?;
        s.linear((&self.patches).into(), &self.embed, Epilogue::none(), (&mut self.x).into())?;
        s.gather_rows(&self.positions, &self.indices, Write::Accumulate, (&mut self.x).into())?;
        s.layer_norm((&self.x).into(), &self.norm, (&mut self.normed).into(), None)?;
        s.linear((&self.normed).into(), &self.qkv_projection, Epilogue::none(), (&mut self.qkv).into())?;
        let options = AttentionOptions {
            num_heads: NUM_HEADS,
            scale: 0.4,
            dropout: None,
            precision: WeightFormat::F32,
        };
        s.attention(&self.qkv, &options, &mut self.context, None)?;
        s.mean_tokens((&self.context).into(), &mut self.mean)
    }

    fn forward(&mut self, s: &mut dyn Stream, seed: u64) -> Vec<f32> {
        self.write(s, seed);
        enter(s, |s| {
            self.run(s).unwrap();
            values(s, &self.mean)
        })
    }
}

/// What the reference makes of the pixels and the mask of a seed.
#[track_caller]
fn assert_right(found: &[f32], tokens: usize, seed: u64) {
    let reference: Arc<dyn Backend> = ReferenceBackend::open();
    let mut s = Arc::clone(&reference).stream().unwrap();
    let expected = Forward::new(&reference, &mut *s, tokens).forward(&mut *s, seed);
    Comparison::of(found, &expected).assert_within(&format!("seed {seed}"), DType::F32, 100);
}

/// A stream whose queue can be looked at.
fn stream() -> (Arc<dyn Backend>, OpStream) {
    LazyLock::force(&CUDA);
    let backend = CudaBackend::new(Device::open(0, Kernels::default()).unwrap()).unwrap();
    let stream = OpStream::new(Arc::clone(&backend)).unwrap();
    (backend, stream)
}

/// Calls that launch, allocate, free, or wait for everything.
const COSTLY: [&str; 7] = [
    "cuLaunchKernel",
    "cuGraphLaunch",
    "cuGraphInstantiateWithFlags",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuCtxSynchronize",
    "cuStreamSynchronize",
];

#[test]
fn from_the_third_forward_on_all_launches_are_one_whatever_the_pixels_and_the_mask() {
    let (backend, mut s) = stream();
    let mut forward = Forward::new(&backend, &mut s, 5);
    let expected = [[7, 0, 0], [0, 1, 1], [0, 1, 0], [0, 1, 0]];
    for (seed, expected) in (0..).zip(expected) {
        let mut found = Vec::new();
        let counts = calls(COSTLY, || found = forward.forward(&mut s, seed));
        assert_right(&found, 5, seed);
        if CUDA.0 == Driver::StandIn {
            assert_eq!((&counts[..3], &counts[3..]), (&expected[..], &[0; 4][..]), "forward {seed}");
        }
    }
    assert_eq!(s.queue.get_mut().known(), (1, 1));
}

#[test]
fn shapes_that_take_turns_have_a_graph_each() {
    let (backend, mut s) = stream();
    let mut forwards = [5, 3, 9].map(|tokens| Forward::new(&backend, &mut s, tokens));
    for seed in 0..4 {
        for forward in &mut forwards {
            let found = forward.forward(&mut s, seed);
            assert_right(&found, forward.tokens, seed);
        }
    }
    assert_eq!(s.queue.get_mut().known(), (3, 3));
}

#[test]
fn a_tensor_in_the_place_of_another_is_not_taken_for_it() {
    let (backend, mut s) = stream();
    let mut forward = Forward::new(&backend, &mut s, 5);
    for seed in 0..3 {
        forward.forward(&mut s, seed);
    }
    for seed in 3..12 {
        // These change places, and after the first round they get places of each other.
        let (context, normed) = (unset(&mut s, [1, 5, WIDTH]), unset(&mut s, [1, 5, WIDTH]));
        (forward.context, forward.normed) = (context, normed);
        forward.positions = tensor(&mut s, [16, WIDTH], &noise(2, 16 * WIDTH));
        let found = forward.forward(&mut s, seed);
        assert_right(&found, 5, seed);
    }
}

#[test]
fn more_lists_than_are_kept_make_the_oldest_give_way() {
    let (_, mut s) = stream();
    let data = noise(1, 200 * 4);
    let x = tensor(&mut s, [1, 200, 4], &data);
    let mut y = unset(&mut s, [1, 200, 4]);
    for turn in 0..300 {
        let row = turn % 150;
        enter(&mut s, |s| -> Result<()> {
            for _ in 0..4 {
                s.cast(Rows::range(&x, row..row + 1)?, RowsMut::range(&mut y, row..row + 1)?)?;
            }
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(s.queue.get_mut().known(), (128, 0), "none came again soon enough");
    let found = values(&mut s, &y);
    assert_eq!(&found[..150 * 4], &data[..150 * 4]);
}

#[test]
fn inside_of_enter_reads_writes_and_waits_keep_their_order() {
    let (_, mut s) = stream();
    let x = tensor(&mut s, [1, 4], &[1.0, 2.0, 3.0, 4.0]);
    let (mut y, mut z) = (unset(&mut s, [1, 4]), unset(&mut s, [1, 4]));
    for _ in 0..3 {
        enter(&mut s, |s| {
            for _ in 0..5 {
                s.cast((&x).into(), (&mut y).into()).unwrap();
            }
            // Nested, and a write to what was noted to be read.
            enter(s, |s| s.cast((&y).into(), (&mut z).into())).unwrap();
            s.write(&View::f32([1, 4], &[9.0; 4]).unwrap(), &mut y).unwrap();
            assert_eq!(values(s, &z), [1.0, 2.0, 3.0, 4.0]);
            assert_eq!(values(s, &y), [9.0; 4]);
            s.cast((&y).into(), (&mut z).into()).unwrap();
            s.synchronize().unwrap();
        });
        assert_eq!(values(&mut s, &z), [9.0; 4]);
    }
}

#[test]
fn memory_that_is_freed_inside_of_enter_is_not_used_again_before_its_launches_ran() {
    let (backend, mut s) = stream();
    let mut y = unset(&mut s, [1, 64]);
    for round in 0..3 {
        let x = tensor(&mut s, [1, 64], &[1.0; 64]);
        enter(&mut s, |s| {
            s.cast((&x).into(), (&mut y).into()).unwrap();
            drop(x);
            // Would get the place of x, by another stream that knows nothing of the launch.
            let other = backend.upload(&View::f32([1, 64], &[2.0; 64]).unwrap()).unwrap();
            assert_eq!(other.shape().elements(), 64);
        });
        assert_eq!(values(&mut s, &y), [1.0; 64], "round {round}");
    }
}

#[test]
fn what_goes_wrong_at_the_end_of_enter_is_said_by_the_next_op_and_the_stream_stays_of_use() {
    let (backend, mut s) = stream();
    let mut forward = Forward::new(&backend, &mut s, 5);
    forward.forward(&mut s, 1);
    if CUDA.0 == Driver::StandIn {
        forward.write(&mut s, 2);
        let planted = Options { drop: NO_GRAPH.to_owned(), ..Options::default() };
        with_options(&planted, || enter(&mut s, |s| forward.run(s))).unwrap();
        let error = s.synchronize().unwrap_err().to_string();
        assert!(error.starts_with("cuda:0: enter: CUDA_ERROR_OUT_OF_MEMORY"), "{error}");
    }
    for seed in 3..6 {
        let found = forward.forward(&mut s, seed);
        assert_right(&found, 5, seed);
    }
}

#[test]
fn a_body_that_panics_leaves_the_stream_as_it_was() {
    let (backend, mut s) = stream();
    let mut forward = Forward::new(&backend, &mut s, 5);
    forward.write(&mut s, 1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        enter(&mut s, |s| {
            forward.run(s).unwrap();
            panic!("planted");
        })
    }));
    assert!(panicked.is_err());
    let counts = calls(COSTLY, || forward.run(&mut s).unwrap());
    assert!(
        CUDA.0 == Driver::Real || counts[0] == 7,
        "launches outside of enter are made at once: {counts:?}"
    );
    assert_right(&values(&mut s, &forward.mean), 5, 1);
}
