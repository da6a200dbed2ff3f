//! Compiles the stand-in driver with every kernel of `kernels/cuda/src/*.cu` in it, by the C++ compiler of the machine
//! (`CXX`, else `c++`). Where there is none, or where it cannot run, on anything but x86-64 Linux, nothing is compiled.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let library = out.join("libcuda.so.1");
    println!("cargo::rustc-env=STAND_IN={}", library.display());
    println!("cargo::rerun-if-env-changed=CXX");
    let kernels = here.parent().expect("the stand-in lies within kernels/cuda");
    let sources = kernel_files(&kernels.join("src"));
    // The list of PTX changes when a kernel file is added.
    let others =
        [here.join("shim.h"), here.join("driver.cpp"), kernels.join("device"), kernels.join("ptx/mod.rs")];
    for changed in others.iter().chain(&sources) {
        println!("cargo::rerun-if-changed={}", changed.display());
    }
    let target = env::var("TARGET").expect("set by cargo");
    if !target.starts_with("x86_64-") || !target.contains("linux") {
        return;
    }

    if let Err(error) = Command::new(compiler()).arg("--version").output() {
        // Everything else builds without one; what wants the stand-in is told by `install`.
        println!("cargo::warning=no stand-in for the CUDA driver: {}: {error}", compiler());
        // One of an earlier build would be of earlier kernels; that there is none is no error.
        let _ = fs::remove_file(&library);
        return;
    }

    let wrapped = sources.iter().map(|kernel| wrap(kernel, &out));
    let sources: Vec<_> = wrapped.chain([here.join("driver.cpp")]).collect();
    let objects = compile(&sources, &here, kernels, &out);
    let mut link = Command::new(compiler());
    link.args(["-shared", "-Wl,-soname,libcuda.so.1", "-o"]).arg(&library).args(objects);
    run(&mut link);
}

fn compiler() -> String {
    env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

/// The kernels that a processor can run. `_90a` ones are among them: their primitives have bodies for it.
fn kernel_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of the kernels");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    files.sort();
    files
}

/// A source that holds the kernel file in a namespace of its own. On a GPU each file is a program by itself; here all are
/// linked together, and two templates of one name would silently become one.
fn wrap(kernel: &Path, out: &Path) -> PathBuf {
    let wrapped = out.join(kernel.file_name().expect("a file")).with_extension("cpp");
    let text = format!("namespace {{\n#include {kernel:?}\n}}\n");
    fs::write(&wrapped, text).expect("the folder of the build can be written");
    wrapped
}

/// Compiles on as many processors as cargo allows.
fn compile(sources: &[PathBuf], here: &Path, kernels: &Path, out: &Path) -> Vec<PathBuf> {
    let jobs = env::var("NUM_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let next = Mutex::new(sources.iter());
    let objects = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(source) = next.lock().expect("no thread panics with the lock").next() else {
                        break;
                    };
                    let object = out.join(source.file_name().expect("a file")).with_extension("o");
                    let mut command = Command::new(compiler());
                    command
                        .args([
                            "-std=c++17",
                            "-O2",
                            "-fPIC",
                            "-Wall",
                            "-Wno-unknown-pragmas",
                            "-Wno-unused-function",
                            "-x",
                            "c++",
                            "-c",
                        ])
                        .arg("-include")
                        .arg(here.join("shim.h"))
                        .arg("-I")
                        .arg(kernels.join("device"))
                        .arg(source)
                        .arg("-o")
                        .arg(&object);
                    run(&mut command);
                    objects.lock().expect("no thread panics with the lock").push(object);
                }
            });
        }
    });
    objects.into_inner().expect("no thread panics with the lock")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| {
        panic!("the stand-in for the CUDA driver needs a C++ compiler (CXX, else c++): {command:?}: {error}")
    });
    assert!(status.success(), "{command:?}: {status}");
}
