//! The ops, on the shapes they have in VideoMAE-base (16 frames of 224 × 224, 1568 tokens), and some small ones.

use std::sync::Arc;

use kernels_backend::{
    Activation, AttentionOptions, Backend, DType, Epilogue, LayerNorm, Layout, Linear, LinearBlock,
    PatchGeometry, PatchTargets, Shape, Stream, Tensor, View, WeightFormat, Write, enter,
};

use crate::meter::Case;

/// Every op.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for format in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
        cases.extend(LINEAR.iter().map(|layer| linear(layer, format)));
    }
    // Encoder; pre-training encoder (90 % masked); decoder; one sixth of a clip with the heads of the huge model.
    for (tokens, num_heads, head_dim) in [(1568, 12, 64), (160, 12, 64), (1568, 6, 64), (256, 16, 80)] {
        cases.push(attention(tokens, num_heads, head_dim, WeightFormat::F32));
    }
    cases.extend([WeightFormat::Bf16, WeightFormat::Int8].map(|format| attention(1568, 12, 64, format)));
    cases.push(attention_probabilities(160, 12, 64));
    cases.extend([layer_norm(1568, 768), layer_norm(160, 768), layer_norm(1568, 384)]);
    cases.extend([pack_linear(768, 3072), write(), read(1568, 768), cast(1568, 768)]);
    cases.extend([normalize_levels(), patchify(None), patchify(Some(160)), patch_targets(1408)]);
    cases.extend([gather_rows(160, 768), broadcast_rows(1568, 768), mean_tokens(1568, 768)]);
    cases.extend([mse_loss(1408, 1536), cross_entropy_loss(8, 400), bce_with_logits_loss(8, 400)]);
    cases
}

/// A linear layer of the model.
pub(crate) struct Layer {
    /// Tokens.
    pub(crate) rows: usize,
    /// Width of x.
    pub(crate) inputs: usize,
    /// Width of y.
    pub(crate) outputs: usize,
    kind: Kind,
}

enum Kind {
    Plain,
    Qkv,
    Gelu,
    Residual,
}

const fn layer(rows: usize, inputs: usize, outputs: usize, kind: Kind) -> Layer {
    Layer { rows, inputs, outputs, kind }
}

/// Patch embedding, the four layers of the encoder, two of them on the visible tokens of pre-training, one of
/// the decoder, and the classifier.
pub(crate) const LINEAR: [Layer; 9] = [
    layer(1568, 1536, 768, Kind::Plain),
    layer(1568, 768, 2304, Kind::Qkv),
    layer(1568, 768, 768, Kind::Residual),
    layer(1568, 768, 3072, Kind::Gelu),
    layer(1568, 3072, 768, Kind::Residual),
    layer(160, 768, 3072, Kind::Gelu),
    layer(160, 3072, 768, Kind::Residual),
    layer(1568, 384, 1536, Kind::Gelu),
    layer(1, 768, 400, Kind::Plain),
];

/// Reproducible numbers in [−1, 1).
pub(crate) fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        // Numerical Recipes' quick generator; its upper bits do for bench data.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn tensor(stream: &mut dyn Stream, shape: impl Into<Shape>, layout: Layout) -> Tensor {
    typed(stream, shape, layout, DType::F32)
}

fn typed(stream: &mut dyn Stream, shape: impl Into<Shape>, layout: Layout, dtype: DType) -> Tensor {
    let shape = shape.into();
    let mut tensor = stream.alloc(shape, dtype, layout).expect("memory for a bench");
    let data = noise(shape.elements());
    stream.write(&View::f32(shape, &data).expect("as many numbers"), &mut tensor).expect("equal shapes");
    tensor
}

fn rows(stream: &mut dyn Stream, shape: impl Into<Shape>) -> Tensor {
    tensor(stream, shape, Layout::Rows)
}

fn integers(backend: &Arc<dyn Backend>, shape: impl Into<Shape>, data: &[i32]) -> Tensor {
    backend.upload(&View::i32(shape, data).expect("as many numbers")).expect("memory for a bench")
}

/// `count` indices below `bound`, spread evenly.
fn spread(backend: &Arc<dyn Backend>, count: usize, bound: usize) -> Tensor {
    let indices: Vec<_> = (0..count).map(|i| (i * bound / count) as i32).collect();
    integers(backend, [1, count], &indices)
}

fn packed(backend: &Arc<dyn Backend>, inputs: usize, outputs: usize, format: WeightFormat) -> Linear {
    let (weight, bias) = (noise(inputs * outputs), noise(outputs));
    let weight = View::f32([outputs, inputs], &weight).expect("as many numbers");
    let bias = View::f32([outputs], &bias).ok();
    backend.pack_linear(&[LinearBlock { weight, bias }], format).expect("memory for a bench")
}

/// A case whose op runs inside the thread pool, as in a model.
fn case<P, O>(op: &'static str, shape: String, operations: Option<f64>, prepare: P) -> Case
where
    P: Fn(&Arc<dyn Backend>, &mut dyn Stream) -> O + 'static,
    O: FnMut(&mut dyn Stream) -> kernels_backend::Result<()> + Send + 'static,
{
    Case {
        op,
        format: WeightFormat::F32,
        shape,
        operations,
        prepare: Box::new(move |backend| {
            let mut stream = Arc::clone(backend).stream().expect("a stream");
            let mut run = prepare(backend, &mut *stream);
            Box::new(move || {
                let ran = enter(&mut *stream, |stream| run(stream).and_then(|()| stream.synchronize()));
                ran.expect("a bench gives correct operands");
            })
        }),
    }
}

fn linear(&Layer { rows: count, inputs, outputs, ref kind }: &Layer, format: WeightFormat) -> Case {
    let layout = match kind {
        Kind::Qkv => Layout::Heads { num_heads: outputs / 3 / 64 },
        _ => Layout::Rows,
    };
    let write = if matches!(kind, Kind::Residual) { Write::Accumulate } else { Write::Replace };
    let activation = if matches!(kind, Kind::Gelu) { Activation::Gelu } else { Activation::Identity };
    let operations = Some(2.0 * (count * inputs * outputs) as f64);
    let shape = format!("{count}x{inputs}x{outputs}");
    let case = case("linear", shape, operations, move |backend, s| {
        let (linear, dtype) = (packed(backend, inputs, outputs, format), backend.activations(format));
        let x = typed(s, [1, count, inputs], Layout::Rows, dtype);
        let mut y = typed(s, [1, count, outputs], layout, dtype);
        move |s| {
            let epilogue = Epilogue { activation, write, pre_activation: None };
            s.linear((&x).into(), &linear, epilogue, (&mut y).into())
        }
    });
    Case { format, ..case }
}

fn attention(tokens: usize, num_heads: usize, head_dim: usize, format: WeightFormat) -> Case {
    let operations = Some(4.0 * (num_heads * tokens * tokens * head_dim) as f64);
    let shape = format!("{tokens}x{num_heads}x{head_dim}");
    let case = case("attention", shape, operations, move |backend, s| {
        let width = num_heads * head_dim;
        let layout = Layout::Heads { num_heads };
        let qkv = typed(s, [1, tokens, 3 * width], layout, backend.attention_inputs(format));
        let mut context = typed(s, [1, tokens, width], Layout::Rows, backend.linear_inputs(format));
        let options = AttentionOptions {
            num_heads,
            scale: (head_dim as f32).powf(-0.5),
            dropout: None,
            precision: format,
        };
        move |s| s.attention(&qkv, &options, &mut context, None)
    });
    Case { format, ..case }
}

fn attention_probabilities(tokens: usize, num_heads: usize, head_dim: usize) -> Case {
    let shape = format!("{tokens}x{num_heads}x{head_dim}");
    case("attention_probabilities", shape, None, move |_, s| {
        let qkv = tensor(s, [1, tokens, 3 * num_heads * head_dim], Layout::Heads { num_heads });
        let mut probabilities = rows(s, [1, num_heads, tokens, tokens]);
        let options =
            AttentionOptions { num_heads, scale: 0.125, dropout: None, precision: WeightFormat::F32 };
        move |s| s.attention_probabilities(&qkv, &options, &mut probabilities)
    })
}

fn layer_norm(count: usize, width: usize) -> Case {
    case("layer_norm", format!("{count}x{width}"), None, move |_, s| {
        let norm = LayerNorm { weight: rows(s, [width]), bias: rows(s, [width]), eps: 1e-12 };
        let (x, mut y) = (rows(s, [1, count, width]), rows(s, [1, count, width]));
        move |s| s.layer_norm((&x).into(), &norm, (&mut y).into(), None)
    })
}

fn pack_linear(inputs: usize, outputs: usize) -> Case {
    case("pack_linear", format!("{inputs}x{outputs}"), None, move |backend, _| {
        let (backend, data) = (Arc::clone(backend), noise(inputs * outputs));
        move |_| {
            let weight = View::f32([outputs, inputs], &data)?;
            backend.pack_linear(&[LinearBlock { weight, bias: None }], WeightFormat::F32).map(drop)
        }
    })
}

/// The shape of a clip's pixels.
const PIXELS: [usize; 5] = [1, 16, 3, 224, 224];

/// How a clip is cut.
const GEOMETRY: PatchGeometry = PatchGeometry { tubelet_size: 2, patch_height: 16, patch_width: 16 };

/// Patches of a clip, and the elements of one.
const TOKENS: usize = 1568;
const PATCH: usize = 1536;

fn write() -> Case {
    case("write", "16x3x224x224".to_owned(), None, |_, s| {
        let (data, mut pixels) = (noise(PIXELS.iter().product()), rows(s, PIXELS));
        move |s| s.write(&View::f32(PIXELS, &data)?, &mut pixels)
    })
}

fn read(count: usize, width: usize) -> Case {
    case("read", format!("{count}x{width}"), None, move |_, s| {
        let (x, mut out) = (rows(s, [1, count, width]), vec![0.0; count * width]);
        move |s| s.read(&x, &mut out)
    })
}

fn cast(count: usize, width: usize) -> Case {
    case("cast", format!("{count}x{width}"), None, move |_, s| {
        let (x, mut y) = (rows(s, [1, count, width]), rows(s, [1, count, width]));
        move |s| s.cast((&x).into(), (&mut y).into())
    })
}

fn normalize_levels() -> Case {
    case("normalize_levels", format!("{}", PIXELS.iter().product::<usize>()), None, move |_, s| {
        let levels: Vec<u8> = (0..PIXELS.iter().product::<usize>()).map(|i| (i * 31 % 251) as u8).collect();
        let mut bytes = s.alloc(PIXELS.into(), DType::U8, Layout::Rows).expect("memory");
        s.write(&View::u8(PIXELS, &levels).expect("levels of this shape"), &mut bytes)
            .expect("the same shape");
        let (table, mut pixels) = (rows(s, [PIXELS[2], 256]), rows(s, PIXELS));
        move |s| s.normalize_levels(&bytes, &table, &mut pixels)
    })
}

fn patchify(visible: Option<usize>) -> Case {
    let count = visible.unwrap_or(TOKENS);
    case("patchify", format!("{count}x{PATCH}"), None, move |backend, s| {
        let (pixels, mut patches) = (rows(s, PIXELS), rows(s, [1, count, PATCH]));
        let indices = visible.map(|count| spread(backend, count, TOKENS));
        move |s| s.patchify(&pixels, GEOMETRY, indices.as_ref(), (&mut patches).into())
    })
}

fn patch_targets(count: usize) -> Case {
    case("patch_targets", format!("{count}x{PATCH}"), None, move |backend, s| {
        let (pixels, mut labels) = (rows(s, PIXELS), rows(s, [1, count, PATCH]));
        let indices = spread(backend, count, TOKENS);
        // The mean and standard deviation of ImageNet.
        let unnormalize = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];
        move |s| {
            let targets = PatchTargets { geometry: GEOMETRY, unnormalize: &unnormalize, normalize: true };
            s.patch_targets(&pixels, &targets, &indices, &mut labels)
        }
    })
}

fn gather_rows(count: usize, width: usize) -> Case {
    case("gather_rows", format!("{count}x{width}"), None, move |backend, s| {
        let (table, mut dst) = (rows(s, [TOKENS, width]), rows(s, [1, count, width]));
        let indices = spread(backend, count, TOKENS);
        move |s| s.gather_rows(&table, &indices, Write::Accumulate, (&mut dst).into())
    })
}

fn broadcast_rows(count: usize, width: usize) -> Case {
    case("broadcast_rows", format!("{count}x{width}"), None, move |_, s| {
        let (table, mut dst) = (rows(s, [count, width]), rows(s, [1, count, width]));
        move |s| s.broadcast_rows(&table, Write::Accumulate, (&mut dst).into())
    })
}

fn mean_tokens(count: usize, width: usize) -> Case {
    case("mean_tokens", format!("{count}x{width}"), None, move |_, s| {
        let (x, mut y) = (rows(s, [1, count, width]), rows(s, [1, width]));
        move |s| s.mean_tokens((&x).into(), &mut y)
    })
}

fn mse_loss(count: usize, width: usize) -> Case {
    case("mse_loss", format!("{count}x{width}"), None, move |_, s| {
        let (x, target) = (rows(s, [1, count, width]), rows(s, [1, count, width]));
        let (mut loss, mut gradient) = (rows(s, [1]), rows(s, [1, count, width]));
        move |s| s.mse_loss(&x, &target, &mut loss, Some(&mut gradient))
    })
}

fn cross_entropy_loss(batch: usize, classes: usize) -> Case {
    case("cross_entropy_loss", format!("{batch}x{classes}"), None, move |backend, s| {
        let (logits, mut loss, mut gradient) =
            (rows(s, [batch, classes]), rows(s, [1]), rows(s, [batch, classes]));
        let labels = integers(backend, [batch], &vec![1; batch]);
        move |s| s.cross_entropy_loss(&logits, &labels, None, &mut loss, Some(&mut gradient))
    })
}

fn bce_with_logits_loss(batch: usize, classes: usize) -> Case {
    case("bce_with_logits_loss", format!("{batch}x{classes}"), None, move |_, s| {
        let (logits, targets) = (rows(s, [batch, classes]), rows(s, [batch, classes]));
        let (mut loss, mut gradient) = (rows(s, [1]), rows(s, [batch, classes]));
        move |s| s.bce_with_logits_loss(&logits, &targets, &mut loss, Some(&mut gradient))
    })
}
