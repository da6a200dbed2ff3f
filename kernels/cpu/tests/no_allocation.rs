//! A steady-state forward allocates nothing. Alone in its program, because it counts every allocation.

use std::{
    alloc::{GlobalAlloc, Layout as Memory, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use kernels_backend::{
    Activation, AttentionOptions, DType, Epilogue, LayerNorm, Layout, LinearBlock, PatchGeometry, Result,
    Stream, Tensor, View, WeightFormat, Write, enter,
};
use kernels_cpu::{Isa, open};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Memory) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: by the contract of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Memory) {
        // SAFETY: by the contract of this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TOKENS: usize = 100;
const WIDTH: usize = 48;
const NUM_HEADS: usize = 2;
const GEOMETRY: PatchGeometry = PatchGeometry { tubelet_size: 1, patch_height: 4, patch_width: 4 };

fn alloc(s: &mut dyn Stream, shape: [usize; 3]) -> Result<Tensor> {
    let mut tensor = s.alloc(shape.into(), DType::F32, Layout::Rows)?;
    s.write(&View::f32(shape, &vec![0.5; shape.iter().product()])?, &mut tensor)?;
    Ok(tensor)
}

/// Counts the allocations of a third forward pass over all ops a model uses.
fn allocations_of_a_forward(isa: Isa, threads: usize, format: WeightFormat) -> Result<usize> {
    let backend = open(isa, Some(threads))?;
    let weights = vec![0.01; 3 * WIDTH * WIDTH];
    let pack = |outputs: usize| {
        let weight = View::f32([outputs, WIDTH], &weights[..outputs * WIDTH])?;
        backend.pack_linear(&[LinearBlock { weight, bias: None }], format)
    };
    let (embed, qkv_layer, head) = (pack(WIDTH)?, pack(3 * WIDTH)?, pack(7)?);
    let upload = |data: &[f32]| backend.upload(&View::f32([data.len()], data)?);
    let norm = LayerNorm { weight: upload(&[1.0; WIDTH])?, bias: upload(&[0.0; WIDTH])?, eps: 1e-6 };
    let positions = backend.upload(&View::f32([TOKENS, WIDTH], &vec![0.1; TOKENS * WIDTH])?)?;
    let indices: Vec<_> = (0..TOKENS as i32).collect();
    let indices = backend.upload(&View::i32([1, TOKENS], &indices)?)?;
    let pixels = backend.upload(&View::f32([1, 1, 3, 40, 40], &vec![0.2; 4800])?)?;

    let mut stream = std::sync::Arc::clone(&backend).stream()?;
    let s = &mut *stream;
    let rows = [1, TOKENS, WIDTH];
    let (mut patches, mut x, mut normed) = (alloc(s, rows)?, alloc(s, rows)?, alloc(s, rows)?);
    let heads = Layout::Heads { num_heads: NUM_HEADS };
    let mut qkv = s.alloc([1, TOKENS, 3 * WIDTH].into(), backend.attention_inputs(format), heads)?;
    let mut mean = s.alloc([1, WIDTH].into(), DType::F32, Layout::Rows)?;
    let mut logits = s.alloc([1, 7].into(), DType::F32, Layout::Rows)?;
    let mut result = [0.0; 7];
    let options = AttentionOptions { num_heads: NUM_HEADS, scale: 0.2, dropout: None, precision: format };

    let mut counted = 0;
    for _ in 0..3 {
        let before = ALLOCATIONS.load(Relaxed);
        enter(s, |s| -> Result<()> {
            s.patchify(&pixels, GEOMETRY, Some(&indices), (&mut patches).into())?;
            s.linear((&patches).into(), &embed, Epilogue::none(), (&mut x).into())?;
            s.gather_rows(&positions, &indices, Write::Accumulate, (&mut x).into())?;
            s.layer_norm((&x).into(), &norm, (&mut normed).into(), None)?;
            s.linear((&normed).into(), &qkv_layer, Epilogue::none(), (&mut qkv).into())?;
            s.attention(&qkv, &options, &mut normed, None)?;
            s.linear((&normed).into(), &embed, Epilogue::accumulate(), (&mut x).into())?;
            s.linear((&x).into(), &embed, Epilogue::activation(Activation::Gelu), (&mut normed).into())?;
            s.resize(&mut normed, [2, TOKENS / 2, WIDTH].into())?;
            s.resize(&mut normed, rows.into())?;
            s.cast((&x).into(), (&mut normed).into())?;
            s.mean_tokens((&normed).into(), &mut mean)?;
            s.linear((&mean).into(), &head, Epilogue::none(), (&mut logits).into())?;
            s.read(&logits, &mut result)
        })?;
        counted = ALLOCATIONS.load(Relaxed) - before;
    }
    assert!(result.iter().all(|x| x.is_finite() && *x != 0.0), "{result:?}");
    Ok(counted)
}

#[test]
fn a_steady_state_forward_allocates_nothing() -> Result<()> {
    let runs =
        [(1, WeightFormat::F32), (2, WeightFormat::F32), (2, WeightFormat::Bf16), (2, WeightFormat::Int8)];
    for &isa in Isa::all().iter().filter(|isa| isa.check().is_ok()) {
        for (threads, format) in runs {
            // The pool's queue of entries grows by a block now and then, whoever enters it: so one of several
            // forwards may see an allocation, but not all.
            let least =
                (0..3).map(|_| allocations_of_a_forward(isa, threads, format)).collect::<Result<Vec<_>>>()?;
            assert_eq!(least.iter().min(), Some(&0), "{isa} in {format} on {threads} threads: {least:?}");
        }
    }
    Ok(())
}
