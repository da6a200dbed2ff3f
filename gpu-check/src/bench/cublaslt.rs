//! cuBLASLt as a comparator: `x·Wᵀ + b` in bf16, by the fastest of the algorithms that it proposes.
//!
//! The library is opened at run time, under any of its names or where PyTorch's wheels have it; the dozen declarations that
//! are needed are those of cublasLt.h, which has not changed them from version 11 on.

use std::{
    ffi::{c_int, c_void},
    path::{Path, PathBuf},
    process::Command,
    ptr::null_mut,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};
use libloading::Library as Dynamic;

use super::{task::Task, worker::Runner};
use crate::{arguments::Options, check::Noise};

/// Names under which it is found where libraries are.
const NAMES: [&str; 3] = ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"];

/// Prints every cuBLASLt among the packages of a Python.
const FIND: &str =
    "import glob, sys\nfor p in sys.path: print(*glob.glob(p + '/nvidia/*/lib/libcublasLt.so.*'), sep='\\n')";

// Of cublasLt.h and library_types.h.
const CUBLAS_COMPUTE_32F: c_int = 68;
const CUDA_R_32F: c_int = 0;
const CUDA_R_16BF: c_int = 14;
const CUBLAS_OP_T: c_int = 1;
const DESC_TRANSA: c_int = 3;
const DESC_EPILOGUE: c_int = 7;
const DESC_BIAS_POINTER: c_int = 8;
const EPILOGUE_BIAS: c_int = 4;
const PREF_MAX_WORKSPACE_BYTES: c_int = 1;

/// What NVIDIA recommends for Hopper.
const WORKSPACE: usize = 32 << 20;

/// Algorithms that are tried.
const ALGORITHMS: usize = 8;

/// Repetitions of each when they are compared.
const TRIES: u32 = 20;

/// `cublasLtMatmulHeuristicResult_t`
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Proposal {
    algorithm: [u64; 8],
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

type Pointer = *mut c_void;
type SetAttribute = unsafe extern "C" fn(Pointer, c_int, *const c_void, usize) -> c_int;
type Heuristic = unsafe extern "C" fn(
    Pointer,
    Pointer,
    Pointer,
    Pointer,
    Pointer,
    Pointer,
    Pointer,
    c_int,
    *mut Proposal,
    *mut c_int,
) -> c_int;
type Matmul = unsafe extern "C" fn(
    Pointer,
    Pointer,
    *const c_void,
    *const c_void,
    Pointer,
    *const c_void,
    Pointer,
    *const c_void,
    *const c_void,
    Pointer,
    *mut c_void,
    Pointer,
    *const [u64; 8],
    *mut c_void,
    usize,
    sys::CUstream,
) -> c_int;

/// The library, opened.
pub(super) struct Library {
    dynamic: Arc<Dynamic>,
    path: PathBuf,
}

impl Library {
    /// Opens the library that was named, or the first that is found.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn open(options: &Options) -> Result<Self> {
        let candidates = match &options.cublaslt {
            Some(path) => vec![path.clone()],
            None => NAMES.iter().map(PathBuf::from).chain(in_packages(&options.python)).collect(),
        };
        for path in &candidates {
            // SAFETY: opening NVIDIA's library runs its initialisers, which any program may do.
            if let Ok(dynamic) = unsafe { Dynamic::new(path) } {
                return Ok(Self { dynamic: Arc::new(dynamic), path: path.clone() });
            }
        }
        bail!(
            "not found (tried {})",
            candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        )
    }

    /// `cuBLASLt 12.9.1 (libcublasLt.so.12)`
    pub(super) fn version(&self) -> String {
        // SAFETY: the signature is that of cublasLt.h.
        let version = unsafe { self.dynamic.get::<unsafe extern "C" fn() -> usize>(b"cublasLtGetVersion\0") };
        // SAFETY: it takes nothing and returns a number.
        let number = version.map(|version| unsafe { version() });
        let text = match number {
            // 12.9.1 is 120901.
            Ok(number) => format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100),
            Err(_) => "of unknown version".to_owned(),
        };
        format!("cuBLASLt {text} ({})", self.path.display())
    }

    /// A function of the library.
    ///
    /// # Safety
    /// - `F` is the type of the function in cublasLt.h.
    unsafe fn function<F: Copy>(&self, name: &str) -> Result<F> {
        // SAFETY: the caller vouches for the type.
        let function = unsafe { self.dynamic.get::<F>(name.as_bytes()) };
        Ok(*function.with_context(|| format!("{}: no {name}", self.path.display()))?)
    }

    /// A descriptor, made by `create` and given back by the function of this name.
    fn made(&self, destroy: &'static str, create: impl FnOnce(*mut Pointer) -> c_int) -> Result<Descriptor> {
        // SAFETY: every function that gives something back takes the pointer to it.
        let destroy = unsafe { self.function(destroy)? };
        let mut pointer = null_mut();
        checked(create(&mut pointer))?;
        Ok(Descriptor { pointer, destroy, _library: Arc::clone(&self.dynamic) })
    }

    fn layout(&self, rows: usize, columns: usize) -> Result<Descriptor> {
        type Create = unsafe extern "C" fn(*mut Pointer, c_int, u64, u64, i64) -> c_int;
        // SAFETY: the type is that of cublasLt.h.
        let create: Create = unsafe { self.function("cublasLtMatrixLayoutCreate")? };
        // SAFETY: a pointer is written to a pointer.
        self.made("cublasLtMatrixLayoutDestroy", |made| unsafe {
            create(made, CUDA_R_16BF, rows as u64, columns as u64, rows as i64)
        })
    }

    /// `x·Wᵀ + b`; of the transposed matrices, since cuBLAS goes by columns: yᵀ = W·xᵀ + b.
    fn operation(&self, bias: u64) -> Result<Descriptor> {
        type Create = unsafe extern "C" fn(*mut Pointer, c_int, c_int) -> c_int;
        // SAFETY: the types are those of cublasLt.h.
        let (create, set): (Create, SetAttribute) = unsafe {
            (self.function("cublasLtMatmulDescCreate")?, self.function("cublasLtMatmulDescSetAttribute")?)
        };
        // SAFETY: a pointer is written to a pointer.
        let made = self.made("cublasLtMatmulDescDestroy", |made| unsafe {
            create(made, CUBLAS_COMPUTE_32F, CUDA_R_32F)
        })?;
        let size = size_of::<c_int>();
        // SAFETY: attributes are read here, and have the sizes that are given.
        unsafe {
            checked(set(made.pointer, DESC_TRANSA, (&raw const CUBLAS_OP_T_VALUE).cast(), size))?;
            checked(set(made.pointer, DESC_EPILOGUE, (&raw const EPILOGUE_VALUE).cast(), size))?;
            checked(set(made.pointer, DESC_BIAS_POINTER, (&raw const bias).cast(), size_of::<u64>()))?;
        }
        Ok(made)
    }

    fn preference(&self) -> Result<Descriptor> {
        type Create = unsafe extern "C" fn(*mut Pointer) -> c_int;
        // SAFETY: the types are those of cublasLt.h.
        let (create, set): (Create, SetAttribute) = unsafe {
            (
                self.function("cublasLtMatmulPreferenceCreate")?,
                self.function("cublasLtMatmulPreferenceSetAttribute")?,
            )
        };
        // SAFETY: a pointer is written to a pointer.
        let made = self.made("cublasLtMatmulPreferenceDestroy", |made| unsafe { create(made) })?;
        // SAFETY: a size is read.
        let set = unsafe {
            set(
                made.pointer,
                PREF_MAX_WORKSPACE_BYTES,
                (&raw const WORKSPACE_VALUE).cast(),
                size_of::<usize>(),
            )
        };
        checked(set)?;
        Ok(made)
    }
}

// Attributes are given by address.
static CUBLAS_OP_T_VALUE: c_int = CUBLAS_OP_T;
static EPILOGUE_VALUE: c_int = EPILOGUE_BIAS;
static WORKSPACE_VALUE: usize = WORKSPACE;

/// Where the packages of a Python have it; nowhere, where there is no Python.
fn in_packages(python: &Path) -> Vec<PathBuf> {
    let output = Command::new(python).args(["-c", FIND]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

/// Something of the library, given back when it is dropped.
struct Descriptor {
    pointer: Pointer,
    destroy: unsafe extern "C" fn(Pointer) -> c_int,
    _library: Arc<Dynamic>,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the pointer was made by the library, which is still open, and is given back once.
        let _status = unsafe { (self.destroy)(self.pointer) };
    }
}

fn checked(status: c_int) -> Result<()> {
    ensure!(status == 0, "cuBLASLt refuses with status {status}");
    Ok(())
}

fn driver<T>(result: std::result::Result<T, DriverError>) -> Result<T> {
    result.map_err(|error| anyhow!("{error:?}"))
}

/// Memory of the device.
struct Memory {
    address: sys::CUdeviceptr,
    /// Which must be there for the memory to be given back.
    _context: Arc<CudaContext>,
}

impl Memory {
    /// Undefined at first.
    fn new(context: &Arc<CudaContext>, bytes: usize) -> Result<Self> {
        // SAFETY: no size here is zero; inputs are written at once, and outputs before they are read.
        let address = driver(unsafe { result::malloc_sync(bytes) })?;
        Ok(Self { address, _context: Arc::clone(context) })
    }

    /// Random numbers of bf16.
    fn random(context: &Arc<CudaContext>, count: usize, noise: &mut Noise) -> Result<Self> {
        let memory = Self::new(context, 2 * count)?;
        // Cut off, not rounded: no result is compared.
        let numbers: Vec<u16> = noise.signed(count).iter().map(|x| (x.to_bits() >> 16) as u16).collect();
        // SAFETY: as many bytes as were asked for.
        driver(unsafe { result::memcpy_htod_sync(memory.address, &numbers) })?;
        Ok(memory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the address was given by the driver, and every run waits for its end.
        let _freed = unsafe { result::free_sync(self.address) };
    }
}

/// A product that is ready.
struct Product {
    handle: Descriptor,
    operation: Descriptor,
    /// Of W, xᵀ and yᵀ.
    layouts: [Descriptor; 3],
    proposal: Proposal,
    matmul: Matmul,
    weight: Memory,
    x: Memory,
    y: Memory,
    workspace: Memory,
    _bias: Memory,
    stream: Arc<CudaStream>,
}

/// Prepares a linear layer, the only task that takes part.
pub(super) fn prepare(
    library: &Library,
    device: usize,
    task: &Task,
    mut noise: Noise,
) -> Result<Box<dyn Runner>> {
    let Task::Linear { rows, inputs, outputs, .. } = *task else { bail!("expected a linear layer") };
    let context = driver(CudaContext::new(device))?;
    let stream = driver(context.new_stream())?;
    type Create = unsafe extern "C" fn(*mut Pointer) -> c_int;
    // SAFETY: the types are those of cublasLt.h.
    let (create, heuristic, matmul): (Create, Heuristic, Matmul) = unsafe {
        (
            library.function("cublasLtCreate")?,
            library.function("cublasLtMatmulAlgoGetHeuristic")?,
            library.function("cublasLtMatmul")?,
        )
    };
    // SAFETY: a pointer is written to a pointer.
    let handle = library.made("cublasLtDestroy", |made| unsafe { create(made) })?;
    let bias = Memory::random(&context, outputs, &mut noise)?;
    let operation = library.operation(bias.address)?;
    let layouts =
        [library.layout(inputs, outputs)?, library.layout(inputs, rows)?, library.layout(outputs, rows)?];
    let preference = library.preference()?;
    let mut proposals = [Proposal::default(); ALGORITHMS];
    let mut found = 0;
    let [w, x, y] = layouts.each_ref().map(|layout| layout.pointer);
    // SAFETY: all descriptors were just made, and as many proposals as asked for can be written.
    checked(unsafe {
        heuristic(
            handle.pointer,
            operation.pointer,
            w,
            x,
            y,
            y,
            preference.pointer,
            ALGORITHMS as c_int,
            proposals.as_mut_ptr(),
            &mut found,
        )
    })?;
    let mut product = Product {
        handle,
        operation,
        layouts,
        proposal: proposals[0],
        matmul,
        weight: Memory::random(&context, inputs * outputs, &mut noise)?,
        x: Memory::random(&context, rows * inputs, &mut noise)?,
        y: Memory::new(&context, 2 * rows * outputs)?,
        workspace: Memory::new(&context, WORKSPACE)?,
        _bias: bias,
        stream,
    };
    product.choose(&proposals[..found.unsigned_abs() as usize])?;
    Ok(Box::new(product))
}

impl Product {
    /// Keeps the fastest.
    fn choose(&mut self, proposals: &[Proposal]) -> Result<()> {
        let mut best = None;
        for &proposal in proposals.iter().filter(|proposal| proposal.state == 0) {
            self.proposal = proposal;
            // An algorithm that cannot run here after all is passed over.
            if self.run(2).is_err() {
                continue;
            }
            let start = Instant::now();
            self.run(TRIES)?;
            let elapsed = start.elapsed();
            if best.is_none_or(|(least, _)| elapsed < least) {
                best = Some((elapsed, proposal));
            }
        }
        let (_, proposal) = best.context("cuBLASLt has no algorithm for this")?;
        self.proposal = proposal;
        Ok(())
    }
}

impl Runner for Product {
    fn run(&mut self, times: u32) -> Result<()> {
        let (one, zero) = (1.0f32, 0.0f32);
        let [w, x, y] = self.layouts.each_ref().map(|layout| layout.pointer);
        for _ in 0..times {
            // SAFETY: matrices are as large as their layouts say, the workspace as large as was allowed, and all live until
            // the wait below.
            let status = unsafe {
                (self.matmul)(
                    self.handle.pointer,
                    self.operation.pointer,
                    (&raw const one).cast(),
                    self.weight.address as *const c_void,
                    w,
                    self.x.address as *const c_void,
                    x,
                    (&raw const zero).cast(),
                    self.y.address as *const c_void,
                    y,
                    self.y.address as *mut c_void,
                    y,
                    &raw const self.proposal.algorithm,
                    self.workspace.address as *mut c_void,
                    WORKSPACE,
                    self.stream.cu_stream(),
                )
            };
            checked(status)?;
        }
        driver(self.stream.synchronize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_has_the_size_of_the_library_s_structure() {
        // 64 bytes of algorithm, a size, a status, a float and four reserved words.
        assert_eq!(size_of::<Proposal>(), 96);
    }
}
