use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use kernels_backend::{AttentionOptions, Epilogue, LayerNorm, PatchGeometry, Result, Write};

use super::*;
use crate::{backend::CudaBackend, device::Device, stream::OpStream};

/// A layer of a model, its input and its activations.
struct Forward {
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

const TOKENS: usize = 5;
const WIDTH: usize = 12;
const NUM_HEADS: usize = 2;
const VIDEO: [usize; 5] = [1, 2, 1, 4, 8];
const GEOMETRY: PatchGeometry = PatchGeometry { tubelet_size: 1, patch_height: 2, patch_width: 2 };

impl Forward {
    fn new(s: &mut dyn Stream) -> Self {
        let linear = |shape: [usize; 2]| {
            packed(&CUDA.1, WeightFormat::F32, shape, &noise(1, shape[0] * shape[1]), None)
        };
        Self {
            pixel_values: unset(s, VIDEO),
            indices: integers(s, [1, TOKENS], &[0; TOKENS]),
            positions: tensor(s, [16, WIDTH], &noise(2, 16 * WIDTH)),
            embed: linear([WIDTH, 4]),
            qkv_projection: linear([3 * WIDTH, WIDTH]),
            norm: LayerNorm {
                weight: tensor(s, [WIDTH], &noise(3, WIDTH)),
                bias: tensor(s, [WIDTH], &noise(4, WIDTH)),
                eps: 1e-6,
            },
            patches: unset(s, [1, TOKENS, 4]),
            x: unset(s, [1, TOKENS, WIDTH]),
            normed: unset(s, [1, TOKENS, WIDTH]),
            qkv: s
                .alloc([1, TOKENS, 3 * WIDTH].into(), DType::F32, Layout::Heads { num_heads: NUM_HEADS })
                .unwrap(),
            context: unset(s, [1, TOKENS, WIDTH]),
            mean: unset(s, [1, WIDTH]),
        }
    }

    fn write(&mut self, s: &mut dyn Stream, seed: u64, indices: [i32; TOKENS]) {
        let pixels = noise(seed, VIDEO.iter().product());
        s.write(&View::f32(VIDEO, &pixels).unwrap(), &mut self.pixel_values).unwrap();
        s.write(&View::i32([1, TOKENS], &indices).unwrap(), &mut self.indices).unwrap();
    }

    fn run(&mut self, s: &mut dyn Stream) -> Result<()> {
        s.patchify(&self.pixel_values, GEOMETRY, Some(&self.indices), (&mut self.patches).into())?;
        s.linear((&self.patches).into(), &self.embed, Epilogue::none(), (&mut self.x).into())?;
        s.gather_rows(&self.positions, &self.indices, Write::Accumulate, (&mut self.x).into())?;
        s.layer_norm((&self.x).into(), &self.norm, (&mut self.normed).into(), None)?;
        s.linear((&self.normed).into(), &self.qkv_projection, Epilogue::none(), (&mut self.qkv).into())?;
        let options =
            AttentionOptions { num_heads: NUM_HEADS, scale: 0.4, dropout: None, precision: DType::F32 };
        s.attention(&self.qkv, &options, &mut self.context, None)?;
        s.mean_tokens((&self.context).into(), &mut self.mean)
    }
}

/// What a model's session will do: a forward is captured once and replayed with other pixels and another mask. That it can
/// be captured at all proves that no op allocates or waits.
#[test]
fn a_captured_forward_replays_with_other_pixels_and_other_indices() {
    LazyLock::force(&CUDA);
    let mut s = OpStream::new(CudaBackend::new(Device::open(0, crate::Kernels::default()).unwrap()).unwrap())
        .unwrap();
    let mut forward = Forward::new(&mut s);
    // The first run loads the kernels.
    forward.write(&mut s, 7, [0, 3, 5, 9, 15]);
    forward.run(&mut s).unwrap();

    s.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    let ran = forward.run(&mut s);
    let graph = s.stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
    ran.unwrap();

    for (seed, indices) in [(8, [1, 2, 4, 8, 14]), (9, [15, 0, 7, 7, 2])] {
        forward.write(&mut s, seed, indices);
        forward.run(&mut s).unwrap();
        let expected = values(&mut s, &forward.mean);
        let blank = vec![0.0; WIDTH];
        s.write(&View::f32([1, WIDTH], &blank).unwrap(), &mut forward.mean).unwrap();
        graph.launch().unwrap();
        assert_eq!(values(&mut s, &forward.mean), expected);
    }
}
