//! `cargo xtask cuda`: the kernels of `kernels/cuda/src/*.cu` to PTX, compressed and committed, so that a build needs no
//! CUDA toolkit and a user no compiler.
//!
//! A file `<name>_90a.cu` is compiled for compute capability 9.0 with its extensions, any other for 8.0. The same
//! compiler writes the same PTX byte for byte, which is what `--check` relies on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::files;
use crate::python::Environment;
use crate::workspace::Workspace;

/// What to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare with what is committed instead of writing it
    #[arg(long)]
    check: bool,
}

/// What the script says of a file.
#[derive(Deserialize)]
struct Compiled {
    /// Name of the PTX file
    file: String,
    architecture: String,
    kernels: BTreeMap<String, Resources>,
}

/// What ptxas says of a kernel.
#[derive(Deserialize)]
struct Resources {
    registers: u32,
    /// Bytes stored and loaded because registers ran out
    spilled: u32,
    /// Bytes of static shared memory
    shared: u32,
}

/// Compiles, reports, and writes or compares.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let folder = workspace.root.join("kernels/cuda");
    let fresh = tempfile::tempdir_in(workspace.scratch_folder()?)?;
    let compiled = compile(workspace, &folder, fresh.path())?;
    report(&compiled)?;

    let mut files = BTreeMap::new();
    for compiled in &compiled {
        let ptx = fs::read(fresh.path().join(&compiled.file))?;
        files.insert(format!("{}.z", compiled.file), ptx);
    }
    let list = list(&files);
    let committed = folder.join("ptx");
    if options.check { check(&committed, &files, &list) } else { write(&committed, &files, &list) }
}

/// Compiles every kernel file into `output`.
fn compile(workspace: &Workspace, folder: &Path, output: &Path) -> Result<Vec<Compiled>> {
    let mut command = Environment::cuda(workspace)?.script("compile_cuda.py");
    command.arg("--include").arg(folder.join("device")).arg("--output").arg(output);
    for source in kernel_files(&folder.join("src"))? {
        let architecture = if stem(&source).ends_with("_90a") { "compute_90a" } else { "compute_80" };
        command.arg(format!("{}:{architecture}", source.display()));
    }
    let done = command.stderr(Stdio::inherit()).output().context("running compile_cuda.py")?;
    ensure!(done.status.success(), "compile_cuda.py: {}", done.status);
    let text = String::from_utf8(done.stdout).context("reading the answer of compile_cuda.py")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// The kernel files, sorted by name.
fn kernel_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cu") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Prints a line for each kernel; a spill is an error, because every kernel is on the way of each forward.
fn report(compiled: &[Compiled]) -> Result<()> {
    println!("{:<28} {:<12} {:>9} {:>8} {:>8}", "kernel", "for", "registers", "spilled", "shared");
    let mut spilling = Vec::new();
    for Compiled { architecture, kernels, .. } in compiled {
        for (name, Resources { registers, spilled, shared }) in kernels {
            println!("{name:<28} {architecture:<12} {registers:>9} {spilled:>8} {shared:>8}");
            if *spilled > 0 {
                spilling.push(name.as_str());
            }
        }
    }
    ensure!(spilling.is_empty(), "registers spill to memory in {}", spilling.join(", "));
    Ok(())
}

/// The Rust file that embeds the PTX.
fn list(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut text = String::from(
        "// Made by `cargo xtask cuda`.\n\n/// The name of each kernel file, and its PTX as a zlib stream.\n\
         pub(crate) const PTX: &[(&str, &[u8])] = &[\n",
    );
    for file in files.keys() {
        let name = file.split('.').next().unwrap_or_default();
        let _ = writeln!(text, "    ({name:?}, include_bytes!({file:?})),");
    }
    text + "];\n"
}

const LIST: &str = "mod.rs";

/// The best that zlib offers: files are compressed once and read by every user.
const COMPRESSION: u8 = 10;

/// Writes what changed and removes what no kernel file makes any more.
fn write(folder: &Path, kernels: &BTreeMap<String, Vec<u8>>, list: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    for name in names(folder)? {
        if name != LIST && !kernels.contains_key(&name) {
            fs::remove_file(folder.join(&name))?;
        }
    }
    let mut total = 0;
    for (name, ptx) in kernels {
        let packed = miniz_oxide::deflate::compress_to_vec_zlib(ptx, COMPRESSION);
        total += packed.len();
        if unpacked(&folder.join(name)).ok().as_ref() != Some(ptx) {
            files::replace(&folder.join(name), &packed)?;
        }
    }
    files::replace(&folder.join(LIST), list)?;
    eprintln!("{} files, {total} bytes", kernels.len());
    Ok(())
}

/// Names every file that differs from what the sources make.
fn check(folder: &Path, files: &BTreeMap<String, Vec<u8>>, list: &str) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, ptx) in files {
        match unpacked(&folder.join(name)) {
            Ok(committed) if committed == *ptx => {}
            Ok(_) => wrong.push(format!("{name} differs from what the sources make")),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
    }
    for name in names(folder)? {
        if name != LIST && !files.contains_key(&name) {
            wrong.push(format!("{name} belongs to no kernel file"));
        }
    }
    if fs::read_to_string(folder.join(LIST)).ok().as_deref() != Some(list) {
        wrong.push(format!("{LIST} differs from what the sources make"));
    }
    if !wrong.is_empty() {
        bail!("{}; run `cargo xtask cuda` and commit\n{}", folder.display(), wrong.join("\n"));
    }
    eprintln!("{} files of PTX are what the sources make", files.len());
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let packed = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    miniz_oxide::inflate::decompress_to_vec_zlib(&packed)
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([("cast.compute_80.ptx.z".to_owned(), b".version 8.0".to_vec())])
    }

    #[test]
    fn what_is_written_passes_the_check_and_what_is_changed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let list = list(&files());
        write(folder.path(), &files(), &list).unwrap();
        check(folder.path(), &files(), &list).unwrap();

        let mut newer = files();
        newer.insert("cast.compute_80.ptx.z".to_owned(), b".version 8.1".to_vec());
        let message = check(folder.path(), &newer, &list).unwrap_err().to_string();
        assert!(message.contains("cast.compute_80.ptx.z differs"), "{message}");

        fs::write(folder.path().join("old.compute_80.ptx.z"), "").unwrap();
        let message = check(folder.path(), &files(), &list).unwrap_err().to_string();
        assert!(message.contains("old.compute_80.ptx.z belongs to no kernel file"), "{message}");
        write(folder.path(), &files(), &list).unwrap();
        check(folder.path(), &files(), &list).unwrap();
    }

    #[test]
    fn a_spill_is_an_error_that_names_the_kernel() {
        let resources = |spilled| Resources { registers: 255, spilled, shared: 0 };
        let kernels = BTreeMap::from([("good".to_owned(), resources(0)), ("bad".to_owned(), resources(8))]);
        let compiled = Compiled { file: String::new(), architecture: "compute_80".to_owned(), kernels };
        assert_eq!(report(&[compiled]).unwrap_err().to_string(), "registers spill to memory in bad");
    }
}
