//! What holds for every op alike, from one table of all of them.

use kernels_backend::{
    Activation, AttentionOptions, Backend as _, BackwardStream, DType, Dropout, Epilogue, Error, LayerNorm,
    LayerNormGradients, Layout, LinearGradients, PatchGeometry, PatchTargets, Result, Rows, RowsMut, Shape,
    Tensor, WeightFormat, Write, enter, recording::Recording,
};

use crate::{
    ReferenceBackend,
    testing::{integers, levels, packed, stream, undefined, values, zeros},
};

/// What is wrong with one operand of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Made by another backend.
    Foreign,
    /// Integers for floats and the other way round.
    Type,
    /// The last size is too large by one.
    Shape,
}

/// Makes the operands of one call, one of them with a fault.
struct Operands {
    fault: Option<(usize, Fault)>,
    made: usize,
}

impl Operands {
    fn make<const R: usize>(&mut self, shape: [usize; R], dtype: DType) -> Tensor {
        let fault = self.fault.filter(|(at, _)| *at == self.made).map(|(_, fault)| fault);
        self.made += 1;
        let mut shape = Shape::from(shape).to_vec();
        let mut dtype = dtype;
        match fault {
            Some(Fault::Type) => dtype = if dtype == DType::I32 { DType::F32 } else { DType::I32 },
            Some(Fault::Shape) => shape[R - 1] += 1,
            Some(Fault::Foreign) => {
                let mut other = std::sync::Arc::new(Recording::default()).stream().unwrap();
                return other.alloc(Shape::new(&shape), dtype, Layout::Rows).unwrap();
            }
            None => {}
        }
        let shape = Shape::new(&shape);
        match dtype {
            DType::I32 => integers(shape, &vec![0; shape.elements()]),
            DType::U8 => levels(shape, &vec![0; shape.elements()]),
            _ => zeros(shape),
        }
    }

    fn floats<const R: usize>(&mut self, shape: [usize; R]) -> Tensor {
        self.make(shape, DType::F32)
    }

    fn indices<const R: usize>(&mut self, shape: [usize; R]) -> Tensor {
        self.make(shape, DType::I32)
    }
}

type Call = fn(&mut dyn BackwardStream, &mut Operands) -> Result<()>;

const GEOMETRY: PatchGeometry = PatchGeometry { tubelet_size: 2, patch_height: 2, patch_width: 2 };
const VIDEO: [usize; 5] = [2, 2, 3, 2, 4];
const ATTENTION: AttentionOptions =
    AttentionOptions { num_heads: 2, scale: 0.5, dropout: None, precision: WeightFormat::F32 };

/// Every op that takes tensors, with every operand it can take.
const OPS: &[(&str, Call)] = &[
    ("cast", |s, o| s.cast((&o.floats([2, 3])).into(), (&mut o.floats([2, 3])).into())),
    ("normalize_levels", |s, o| {
        let levels = o.make(VIDEO, DType::U8);
        s.normalize_levels(&levels, &o.floats([3, 256]), &mut o.floats(VIDEO))
    }),
    ("patchify", |s, o| {
        let (pixels, indices) = (o.floats(VIDEO), o.indices([2, 1]));
        s.patchify(&pixels, GEOMETRY, Some(&indices), (&mut o.floats([2, 1, 24])).into())
    }),
    ("gather_rows", |s, o| {
        let (table, indices) = (o.floats([3, 2]), o.indices([2, 4]));
        s.gather_rows(&table, &indices, Write::Replace, (&mut o.floats([2, 4, 2])).into())
    }),
    ("broadcast_rows", |s, o| {
        s.broadcast_rows(&o.floats([2, 3]), Write::Replace, (&mut o.floats([2, 4, 3])).into())
    }),
    ("linear", |s, o| {
        let (x, mut pre, mut y) = (o.floats([4, 2]), o.floats([4, 3]), o.floats([4, 3]));
        let epilogue = Epilogue { pre_activation: Some(&mut pre), ..Epilogue::none() };
        s.linear((&x).into(), &packed([3, 2], &[0.0; 6], None, WeightFormat::F32), epilogue, (&mut y).into())
    }),
    ("layer_norm", |s, o| {
        let norm = LayerNorm { weight: o.floats([3]), bias: o.floats([3]), eps: 1.0 };
        let (x, mut y, mut stats) = (o.floats([2, 3]), o.floats([2, 3]), o.floats([2, 2]));
        s.layer_norm((&x).into(), &norm, (&mut y).into(), Some(&mut stats))
    }),
    ("attention", |s, o| {
        let (qkv, mut context, mut stats) = (o.floats([2, 3, 12]), o.floats([2, 3, 4]), o.floats([2, 2, 3]));
        s.attention(&qkv, &ATTENTION, &mut context, Some(&mut stats))
    }),
    ("attention_probabilities", |s, o| {
        s.attention_probabilities(&o.floats([2, 3, 12]), &ATTENTION, &mut o.floats([2, 2, 3, 3]))
    }),
    ("mean_tokens", |s, o| s.mean_tokens((&o.floats([2, 3, 4])).into(), &mut o.floats([2, 4]))),
    ("patch_targets", |s, o| {
        let targets = PatchTargets { geometry: GEOMETRY, unnormalize: &[], normalize: true };
        s.patch_targets(&o.floats(VIDEO), &targets, &o.indices([2, 1]), &mut o.floats([2, 1, 24]))
    }),
    ("mse_loss", |s, o| {
        let (x, target, mut loss) = (o.floats([2, 3]), o.floats([2, 3]), o.floats([1]));
        s.mse_loss(&x, &target, &mut loss, Some(&mut o.floats([2, 3])))
    }),
    ("cross_entropy_loss", |s, o| {
        let (logits, labels, mut loss) = (o.floats([2, 3]), o.indices([2]), o.floats([1]));
        s.cross_entropy_loss(&logits, &labels, None, &mut loss, Some(&mut o.floats([2, 3])))
    }),
    ("bce_with_logits_loss", |s, o| {
        let (logits, targets, mut loss) = (o.floats([2, 3]), o.floats([2, 3]), o.floats([1]));
        s.bce_with_logits_loss(&logits, &targets, &mut loss, Some(&mut o.floats([2, 3])))
    }),
    ("add", |s, o| s.add((&o.floats([2, 3])).into(), (&mut o.floats([2, 3])).into())),
    ("linear_backward", |s, o| {
        let linear = packed([3, 2], &[0.0; 6], None, WeightFormat::F32);
        let (x, dy, mut dx) = (o.floats([4, 2]), o.floats([4, 3]), o.floats([4, 2]));
        let gradients = LinearGradients {
            x: Some(((&mut dx).into(), Write::Replace)),
            weight: &mut o.floats([3, 2]),
            bias: Some(&mut o.floats([3])),
        };
        s.linear_backward((&x).into(), &linear, (&dy).into(), gradients)
    }),
    ("activation_backward", |s, o| {
        s.activation_backward(Activation::Gelu, &o.floats([2, 3]), &mut o.floats([2, 3]))
    }),
    ("layer_norm_backward", |s, o| {
        let norm = LayerNorm { weight: o.floats([3]), bias: zeros([3]), eps: 1.0 };
        let (x, stats, dy, mut dx) = (o.floats([2, 3]), o.floats([2, 2]), o.floats([2, 3]), o.floats([2, 3]));
        let gradients = LayerNormGradients {
            x: (&mut dx).into(),
            write: Write::Replace,
            weight: &mut o.floats([3]),
            bias: &mut o.floats([3]),
        };
        s.layer_norm_backward((&x).into(), &norm, &stats, (&dy).into(), gradients)
    }),
    ("attention_backward", |s, o| {
        let (qkv, stats, mut dqkv) = (o.floats([2, 3, 12]), o.floats([2, 2, 3]), o.floats([2, 3, 12]));
        let (context, dcontext) = (o.floats([2, 3, 4]), o.floats([2, 3, 4]));
        s.attention_backward(&qkv, &ATTENTION, &stats, &context, &dcontext, &mut dqkv)
    }),
    ("mean_tokens_backward", |s, o| {
        s.mean_tokens_backward(&o.floats([2, 4]), (&mut o.floats([2, 3, 4])).into())
    }),
    ("sum_rows", |s, o| s.sum_rows((&o.floats([2, 3, 4])).into(), &mut o.floats([4]))),
    ("patchify_backward", |s, o| {
        let (dpatches, indices) = (o.floats([2, 1, 24]), o.indices([2, 1]));
        s.patchify_backward((&dpatches).into(), GEOMETRY, Some(&indices), &mut o.floats(VIDEO))
    }),
    // These take a tensor of any shape.
    ("dropout", |s, o| s.dropout(&mut o.floats([2, 3]), Dropout { probability: 0.5, seed: 1 })),
    ("zero", |s, o| s.zero(&mut o.floats([2, 3]))),
];

/// Ops to which no shape is wrong.
const ANY_SHAPE: &[&str] = &["dropout", "zero"];

/// Runs `call` with `fault` in each operand in turn.
fn with_each_operand(call: Call, fault: Fault) -> Vec<Result<()>> {
    let mut faultless = Operands { fault: None, made: 0 };
    call(&mut *stream(), &mut faultless).unwrap();
    (0..faultless.made)
        .map(|at| call(&mut *stream(), &mut Operands { fault: Some((at, fault)), made: 0 }))
        .collect()
}

/// The op that an error names. A backward op may share a check with its forward.
fn names(error: &Error, op: &str) -> bool {
    match error {
        Error::Shape { op: found, .. }
        | Error::DType { op: found, .. }
        | Error::Foreign { op: found, .. } => op.starts_with(found),
        _ => false,
    }
}

#[test]
fn every_operand_of_every_op_may_only_be_a_tensor_of_this_backend() {
    for &(op, call) in OPS {
        for (at, result) in with_each_operand(call, Fault::Foreign).into_iter().enumerate() {
            let error = result.expect_err(op);
            assert!(
                matches!(error, Error::Foreign { .. }) && names(&error, op),
                "{op} operand {at}: {error}"
            );
        }
    }
}

#[test]
fn every_operand_of_every_op_has_one_kind_of_element() {
    for &(op, call) in OPS.iter().filter(|(op, _)| *op != "zero") {
        for (at, result) in with_each_operand(call, Fault::Type).into_iter().enumerate() {
            let error = result.expect_err(op);
            assert!(matches!(error, Error::DType { .. }) && names(&error, op), "{op} operand {at}: {error}");
        }
    }
}

#[test]
fn every_operand_of_every_op_has_one_shape() {
    for &(op, call) in OPS.iter().filter(|(op, _)| !ANY_SHAPE.contains(op)) {
        for (at, result) in with_each_operand(call, Fault::Shape).into_iter().enumerate() {
            let error = result.expect_err(op);
            assert!(matches!(error, Error::Shape { .. }) && names(&error, op), "{op} operand {at}: {error}");
        }
    }
}

#[test]
fn rows_that_do_not_lie_in_their_tensor_are_refused() {
    let src = undefined([2, 2]);
    let mut rows = Rows::from(&src);
    rows.dims.offset = 1;
    let error = stream().cast(rows, (&mut undefined([2, 2])).into()).unwrap_err();
    assert!(
        error.to_string().starts_with("cast: expected rows of source that lie in its 4 elements"),
        "{error}"
    );
    let mut dst = undefined([2, 2]);
    let mut rows = RowsMut::from(&mut dst);
    rows.dims.rows_per_sample = usize::MAX;
    assert!(matches!(stream().cast((&src).into(), rows), Err(Error::Shape { op: "cast", .. })));
    let error = Rows::range(&src, 1..3).unwrap_err();
    assert_eq!(error.to_string(), "rows: expected a range within the 2 rows of a sample, found 1..3");
}

#[test]
fn a_shape_set_beyond_the_memory_is_refused() {
    let mut t = undefined([2]);
    t.set_shape([3].into());
    let error = stream().zero(&mut t).unwrap_err();
    assert_eq!(error.to_string(), "zero: expected at most 2 elements, found (3)");
    let error = stream().read(&t, &mut [0.0; 3]).unwrap_err();
    assert_eq!(error.to_string(), "read: expected at most 2 elements, found (3)");
}

#[test]
fn streams_enter_upcast_and_synchronize() {
    let mut stream = stream();
    let name = enter(stream.forward(), |s| s.backend_name().to_owned());
    assert_eq!((name.as_str(), ReferenceBackend.name()), ("reference", "reference"));
    stream.synchronize().unwrap();
    // A tensor of one stream is understood by another.
    let t = stream.alloc([1].into(), DType::F32, Layout::Rows).unwrap();
    assert!(values(&t)[0].is_nan());
}
