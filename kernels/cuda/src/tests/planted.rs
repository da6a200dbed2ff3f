//! Bugs on purpose: each barrier and each wait of each kernel is taken away in turn, and must be missed.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use kernels_backend::{AttentionOptions, Epilogue, WeightFormat};

use super::*;

/// A small run of a kernel that synchronises, on several warps and several rounds of its loops.
struct Planted {
    /// The files whose synchronisation it needs.
    files: &'static [&'static str],
    /// Whether it runs on the backend of the kernels for compute capability 9.0.
    hopper: bool,
    run: fn(&mut dyn Stream) -> kernels_backend::Result<Vec<f32>>,
}

const PLANTED: &[Planted] = &[
    Planted { files: &["attention.cu"], hopper: false, run: attention },
    Planted { files: &["attention_90a.h"], hopper: true, run: attention_90a },
    Planted { files: &["attention_mma.h"], hopper: false, run: attention_mma },
    Planted { files: &["linear.cu"], hopper: false, run: linear },
    Planted { files: &["linear_90a.cu"], hopper: true, run: linear_90a },
    Planted { files: &["linear_mma.cu"], hopper: false, run: linear_mma },
    Planted { files: &["mean_tokens.cu"], hopper: false, run: mean_tokens },
    Planted { files: &["reduce.h"], hopper: false, run: cross_entropy_loss },
    Planted {
        files: &["primitives.cu"],
        hopper: false,
        run: |_| super::primitives::product(DType::Bf16, 16),
    },
];

fn attention(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    let qkv = tensor(s, [1, 70, 3 * 40], &noise(4, 70 * 120));
    let mut context = unset(s, [1, 70, 40]);
    let options = AttentionOptions { num_heads: 1, scale: 0.3, dropout: None, precision: WeightFormat::F32 };
    s.attention(&qkv, &options, &mut context, None)?;
    read(s, &context)
}

fn attention_mma(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    let qkv = typed(s, [1, 200, 3 * 40], DType::Bf16, &noise(4, 200 * 120));
    let mut context = unset_in(s, [1, 200, 40], DType::Bf16);
    let options = AttentionOptions { num_heads: 1, scale: 0.3, dropout: None, precision: WeightFormat::F32 };
    s.attention(&qkv, &options, &mut context, None)?;
    read(s, &context)
}

/// More tiles than multiprocessors: first with more keys and values than places for them; then, with one step a tile, so
/// that the thread that brings gets far ahead, and so that warpgroups without queries do.
fn attention_90a(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    let mut result = Vec::new();
    for [tokens, num_heads, head_dim] in [[250, 3, 128], [70, 13, 16], [10, 40, 128]] {
        let width = num_heads * head_dim;
        let qkv = typed(s, [1, tokens, 3 * width], DType::Bf16, &noise(4, tokens * 3 * width));
        let mut context = unset_in(s, [1, tokens, width], DType::Bf16);
        let options = AttentionOptions { num_heads, scale: 0.3, dropout: None, precision: WeightFormat::F32 };
        s.attention(&qkv, &options, &mut context, None)?;
        result.extend(read(s, &context)?);
    }
    Ok(result)
}

fn cross_entropy_loss(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    let data: Vec<_> = noise(6, 1200).iter().map(|x| x * 9.0).collect();
    let logits = tensor(s, [3, 400], &data);
    let labels = integers(s, [3], &[1, 399, 200]);
    let (mut loss, mut gradient) = (unset(s, [1]), unset(s, [3, 400]));
    s.cross_entropy_loss(&logits, &labels, None, &mut loss, Some(&mut gradient))?;
    read(s, &gradient)
}

fn linear(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    let linear = packed(&CUDA.1, WeightFormat::F32, [130, 50], &noise(1, 6500), Some(&noise(2, 130)));
    let x = tensor(s, [140, 50], &noise(3, 7000));
    let mut y = unset(s, [140, 130]);
    s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into())?;
    read(s, &y)
}

fn linear_mma(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    narrow_linear(s, &CUDA.1, [140, 296, 136])
}

/// More tiles than multiprocessors, and more steps than stages.
fn linear_90a(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    narrow_linear(s, HOPPER.as_ref().unwrap(), [400, 520, 264])
}

fn narrow_linear(
    s: &mut dyn Stream,
    backend: &Arc<dyn Backend>,
    [rows, inputs, outputs]: [usize; 3],
) -> kernels_backend::Result<Vec<f32>> {
    let linear = packed(backend, WeightFormat::Bf16, [outputs, inputs], &noise(1, inputs * outputs), None);
    let x = typed(s, [rows, inputs], DType::Bf16, &noise(3, rows * inputs));
    let mut y = unset(s, [rows, outputs]);
    s.linear((&x).into(), &linear, Epilogue::none(), (&mut y).into())?;
    read(s, &y)
}

fn mean_tokens(s: &mut dyn Stream) -> kernels_backend::Result<Vec<f32>> {
    let x = tensor(s, [2, 19, 33], &noise(5, 2 * 19 * 33));
    let mut y = unset(s, [2, 33]);
    s.mean_tokens((&x).into(), &mut y)?;
    read(s, &y)
}

/// As [`values`], with its error: a launch that failed shows here.
fn read(s: &mut dyn Stream, tensor: &Tensor) -> kernels_backend::Result<Vec<f32>> {
    let mut values = vec![0.0; tensor.shape().elements()];
    s.read(tensor, &mut values)?;
    Ok(values)
}

impl Planted {
    /// Runs with a site left out. An error ends the stream, so each run has its own.
    fn run(&self, seed: u64, drop: &str) -> Option<Vec<f32>> {
        let options = Options { seed, drop: drop.to_owned() };
        let backend = if self.hopper { HOPPER.as_ref().unwrap() } else { &CUDA.1 };
        with_options(&options, || {
            let run = || (self.run)(&mut *Arc::clone(backend).stream().unwrap());
            catch_unwind(AssertUnwindSafe(run)).ok()?.ok()
        })
    }

    /// Whether some order of threads shows that a site is missing: by an error, or by another result.
    fn misses(&self, drop: &str, expected: &[f32]) -> bool {
        (0..4).any(|seed| self.run(seed, drop).as_deref() != Some(expected))
    }
}

#[test]
fn every_barrier_and_every_wait_is_missed_when_it_is_taken_away() {
    if CUDA.0 == Driver::Real {
        // A device cannot leave one out; there, races are for compute-sanitizer to find.
        return;
    }
    let mut unmissed = Vec::new();
    for planted in PLANTED {
        let expected = planted.run(0, "").unwrap();
        for file in planted.files {
            let prefix = format!("{file}:");
            let sites = kernels_cuda_stand_in::sites();
            let own: Vec<_> = sites.iter().filter(|site| site.starts_with(&prefix)).collect();
            assert!(!own.is_empty(), "{file} ran through no synchronisation: {sites:?}");
            unmissed.extend(own.into_iter().filter(|site| !planted.misses(site, &expected)).cloned());
        }
    }
    assert!(unmissed.is_empty(), "nothing misses {unmissed:?}");
}

#[test]
fn every_file_that_synchronises_has_a_bug_planted() {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "device"] {
        for entry in fs::read_dir(kernels.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // These only define the waits.
            let defines = ["ptx.h", "tma.h", "wgmma.h"].contains(&name.as_str());
            if !(name.ends_with(".cu") || name.ends_with(".h")) || defines {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let synchronises = ["__syncthreads(", "__syncwarp(", "_wait<", "_wait(", "_arrive("];
            if synchronises.iter().any(|word| text.contains(word)) {
                assert!(PLANTED.iter().any(|planted| planted.files.contains(&name.as_str())), "{name}");
            }
        }
    }
}
