//! The comparison of `--check`.
//!
//! Integers, masks, inputs and every other byte must be identical. The floats of expected results may differ by a
//! tenth of what the tests allow, because the last bits of PyTorch depend on the CPU.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use half::{bf16, f16};
use kernels_backend::DType;
use kernels_backend::tolerance::{Comparison, bound};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::manifest::hex;

/// Which part of the tests' tolerance two runs of PyTorch may differ by.
const FRACTION: f32 = 0.1;

/// Files whose floats are results of arithmetic.
const RESULTS: [&str; 2] = ["expected.safetensors", "gradients.safetensors"];

/// One thing that is not as committed.
pub(crate) struct Difference {
    file: String,
    tensor: String,
    what: String,
}

/// What `case.json` says of the rounding errors to expect.
#[derive(Deserialize)]
struct Arithmetic {
    /// Terms of the longest sum.
    longest_sum: usize,
    /// Sums that follow one another.
    chained_sums: usize,
}

/// Compares a set just made with the committed one.
pub(crate) fn sets(
    committed: &Path,
    recorded: &BTreeMap<String, String>,
    made: &Path,
    made_files: &BTreeSet<String>,
) -> Result<Vec<Difference>> {
    let mut differences = Vec::new();
    let mut differ = |file: &str, tensor: &str, what: String| {
        differences.push(Difference { file: file.to_owned(), tensor: tensor.to_owned(), what });
    };
    let committed_files: BTreeSet<String> = recorded.keys().cloned().collect();
    for file in committed_files.symmetric_difference(made_files) {
        let what = if made_files.contains(file) { "not in the manifest" } else { "no longer made" };
        differ(file, "", what.to_owned());
    }
    for file in committed_files.intersection(made_files) {
        let old = match fs::read(committed.join(file)) {
            Ok(bytes) => bytes,
            Err(error) => {
                differ(file, "", format!("not readable: {error}"));
                continue;
            }
        };
        if hex(&Sha256::digest(&old)) != recorded[file] {
            differ(file, "", "not the file of the manifest".to_owned());
        }
        let new = fs::read(made.join(file)).with_context(|| format!("reading {file}"))?;
        if old == new {
            continue;
        }
        let is_result = RESULTS.iter().any(|name| file.ends_with(name));
        if !is_result {
            differ(file, "", format!("bytes differ ({} committed, {} made)", old.len(), new.len()));
            continue;
        }
        let arithmetic = arithmetic(made, file)?;
        for (tensor, what) in tensors(&old, &new, arithmetic).with_context(|| format!("comparing {file}"))? {
            differ(file, &tensor, what);
        }
    }
    Ok(differences)
}

/// Prints the differences as a table; any is an error.
pub(crate) fn report(differences: &[Difference]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let width = |header: &str, of: fn(&Difference) -> &str| {
        differences.iter().map(|difference| of(difference).len()).max().unwrap_or(0).max(header.len())
    };
    let (file, tensor) = (width("file", |d| &d.file), width("tensor", |d| &d.tensor));
    println!("{:file$}  {:tensor$}  difference", "file", "tensor");
    for difference in differences {
        println!("{:file$}  {:tensor$}  {}", difference.file, difference.tensor, difference.what);
    }
    bail!("{} differences between the committed fixtures and those just made", differences.len())
}

/// The case beside a file; for a single op the longest axis stands for the longest sum.
fn arithmetic(made: &Path, file: &str) -> Result<Option<Arithmetic>> {
    let path = made.join(file).with_file_name("case.json");
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?))
}

/// Compares two safetensors files; a line per tensor that differs too much.
fn tensors(old: &[u8], new: &[u8], arithmetic: Option<Arithmetic>) -> Result<Vec<(String, String)>> {
    let (old, new) = (SafeTensors::deserialize(old)?, SafeTensors::deserialize(new)?);
    let names = |file: &SafeTensors<'_>| file.names().into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let (old_names, new_names) = (names(&old), names(&new));
    let mut lines = Vec::new();
    for name in old_names.symmetric_difference(&new_names) {
        let what = if new_names.contains(name) { "not committed" } else { "no longer made" };
        lines.push((name.clone(), what.to_owned()));
    }
    let longest_axis = old.iter().flat_map(|(_, view)| view.shape().to_vec()).max().unwrap_or(1);
    let arithmetic = arithmetic.unwrap_or(Arithmetic { longest_sum: longest_axis, chained_sums: 1 });
    for name in old_names.intersection(&new_names) {
        let (old, new) = (old.tensor(name)?, new.tensor(name)?);
        if let Some(what) = tensor(&old, &new, &arithmetic) {
            lines.push((name.clone(), what));
        }
    }
    Ok(lines)
}

/// How two tensors differ, unless they agree well enough.
fn tensor(old: &TensorView<'_>, new: &TensorView<'_>, arithmetic: &Arithmetic) -> Option<String> {
    if (old.dtype(), old.shape()) != (new.dtype(), new.shape()) {
        return Some(format!(
            "{:?} {:?} committed, {:?} {:?} made",
            old.dtype(),
            old.shape(),
            new.dtype(),
            new.shape()
        ));
    }
    if old.data() == new.data() {
        return None;
    }
    let Some((dtype, expected)) = floats(old) else {
        return Some("integers or bytes differ".to_owned());
    };
    let (_, found) = floats(new)?;
    let comparison = Comparison::of(&found, &expected);
    // The errors of sums that follow one another add up like the steps of a random walk.
    let chain = (arithmetic.chained_sums as f32).sqrt();
    let allowed = FRACTION * chain * bound(dtype, arithmetic.longest_sum, comparison.scale);
    (comparison.error > allowed).then(|| format!("{comparison}, allowed {allowed:.3e}"))
}

/// The elements of a tensor of a float type that models compute in.
fn floats(view: &TensorView<'_>) -> Option<(DType, Vec<f32>)> {
    let halves = || view.data().chunks_exact(2).map(|bytes| [bytes[0], bytes[1]]);
    match view.dtype() {
        Dtype::F32 => {
            let words = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            Some((DType::F32, words.collect()))
        }
        Dtype::BF16 => Some((DType::Bf16, halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect())),
        Dtype::F16 => Some((DType::F16, halves().map(|b| f16::from_le_bytes(b).to_f32()).collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
