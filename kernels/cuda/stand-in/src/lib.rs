//! A CUDA driver that runs kernels on the processor, for tests on machines without a GPU.
//!
//! [`install`] opens it under the name of the real driver's library, before anybody looks for that; where a real GPU is
//! there, it leaves that in place. `shim.h` and `driver.cpp`, beside this crate's manifest, say how it runs kernels and
//! what it can and cannot find.
//!
//! ```
//! match kernels_cuda_stand_in::install() {
//!     Ok(driver) => println!("kernels run on {driver:?}"),
//!     Err(reason) => println!("no kernels run: {reason}"),
//! }
//! ```
//!
//! Pitfall: how a launch is run ([`with_options`]) is a choice of the thread that launches, not of the one that waits.

use std::{ffi::CString, path::Path, sync::OnceLock};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// What runs the kernels of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The real one, and a GPU.
    Real,
    /// This crate.
    StandIn,
}

/// How launches of a thread are run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Chooses the order of blocks and warps; 0 takes them in turn.
    pub seed: u64,
    /// A synchronisation to leave out, one of [`sites`] or [`EVENT_WAIT`], or [`NO_GRAPH`]; none if empty.
    pub drop: String,
}

/// The host's wait for a point of a stream, to leave out by [`Options::drop`].
pub const EVENT_WAIT: &str = "cuEventSynchronize";

/// By [`Options::drop`]: no graph can be made.
pub const NO_GRAPH: &str = "cuGraphInstantiateWithFlags";

/// The library that [`install`] opened; never closed, because the driver's functions are kept for the whole process.
static STAND_IN: OnceLock<Result<Option<Library>, String>> = OnceLock::new();

/// Makes sure that this process has a driver with a device: the real one where there is a GPU, else the stand-in.
///
/// # Errors
/// Where neither can be had.
pub fn install() -> Result<Driver, String> {
    match STAND_IN.get_or_init(open) {
        Ok(Some(_)) => Ok(Driver::StandIn),
        Ok(None) => Ok(Driver::Real),
        Err(reason) => Err(reason.clone()),
    }
}

/// The folder of a `libcuda.so.1` for a program that is started with it in `LD_LIBRARY_PATH`; none where there is a GPU, whose
/// driver that program will find.
///
/// # Errors
/// Where neither can be had.
pub fn folder() -> Result<Option<&'static Path>, String> {
    if real_gpus() > 0 { Ok(None) } else { built().map(Path::parent) }
}

fn open() -> Result<Option<Library>, String> {
    if real_gpus() > 0 {
        return Ok(None);
    }
    // SAFETY: its initialisers only fill a list of kernels.
    let library = unsafe { Library::open(Some(built()?), RTLD_NOW | RTLD_GLOBAL) };
    library.map(Some).map_err(|error| error.to_string())
}

/// The library that this crate's build made.
fn built() -> Result<&'static Path, String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err("the stand-in for the CUDA driver runs on x86-64 Linux only".to_owned());
    }
    let library = Path::new(env!("STAND_IN"));
    if !library.exists() {
        return Err(
            "the stand-in for the CUDA driver was built without a C++ compiler (CXX, else c++)".to_owned()
        );
    }
    Ok(library)
}

/// The GPUs that the real driver finds; none where there is no driver.
fn real_gpus() -> i32 {
    // SAFETY: opening the driver's library runs its initialisers, which any program may do.
    let Ok(library) = (unsafe { Library::open(Some("libcuda.so.1"), RTLD_NOW) }) else { return 0 };
    let mut count = 0;
    // SAFETY: the signature is that of cuda.h.
    let init = unsafe { library.get::<unsafe extern "C" fn(u32) -> i32>(b"cuInit\0") };
    // SAFETY: as above.
    let get_count = unsafe { library.get::<unsafe extern "C" fn(*mut i32) -> i32>(b"cuDeviceGetCount\0") };
    if let (Ok(init), Ok(get_count)) = (init, get_count) {
        // SAFETY: `cuInit` takes flags, of which there are none; the count is written to a number of ours.
        let failed = unsafe { init(0) != 0 || get_count(&mut count) != 0 };
        if failed {
            count = 0;
        }
    }
    if count > 0 {
        // Closing it would run its finalisers under the feet of whoever opens it next.
        std::mem::forget(library);
    }
    count
}

/// Runs `body` with the launches of this thread run as `options` say. Without effect on a real device.
///
/// # Panics
/// When the name to drop holds a zero byte.
pub fn with_options<R>(options: &Options, body: impl FnOnce() -> R) -> R {
    set(options);
    let result = body();
    set(&Options::default());
    result
}

fn set(options: &Options) {
    let Some(Ok(Some(library))) = STAND_IN.get() else { return };
    // SAFETY: the signature is that of driver.cpp.
    let set =
        unsafe { library.get::<unsafe extern "C" fn(u64, *const std::ffi::c_char)>(b"stand_in_options\0") };
    let set = set.expect("the stand-in has this function");
    let drop = CString::new(options.drop.as_str()).expect("a name of a site has no zero byte");
    // SAFETY: the text ends in a zero and outlives the call, which copies it.
    unsafe { set(options.seed, drop.as_ptr()) };
}

/// Gives the device of this process as much memory as this from here on. Without effect on a real device.
pub fn set_memory(bytes: usize) {
    let Some(Ok(Some(library))) = STAND_IN.get() else { return };
    // SAFETY: the signature is that of driver.cpp.
    let set = unsafe { library.get::<unsafe extern "C" fn(usize)>(b"stand_in_memory\0") };
    let set = set.expect("the stand-in has this function");
    // SAFETY: it takes any number.
    unsafe { set(bytes) };
}

/// How often `body` called each of these functions of the driver on this thread, among those that allocate, free, launch,
/// copy or wait, such as `cuMemAlloc_v2`. Never, on a real device.
///
/// # Panics
/// When a name holds a zero byte.
pub fn calls<const N: usize>(functions: [&str; N], body: impl FnOnce()) -> [u64; N] {
    let functions = functions.map(|name| CString::new(name).expect("a name of a function has no zero byte"));
    let count = || {
        let Some(Ok(Some(library))) = STAND_IN.get() else { return [0; N] };
        // SAFETY: the signature is that of driver.cpp.
        let calls = unsafe {
            library.get::<unsafe extern "C" fn(*const std::ffi::c_char) -> u64>(b"stand_in_calls\0")
        };
        let calls = calls.expect("the stand-in has this function");
        // SAFETY: each text ends in a zero and outlives the call.
        std::array::from_fn(|i| unsafe { calls(functions[i].as_ptr()) })
    };
    let before = count();
    body();
    let after = count();
    std::array::from_fn(|i| after[i] - before[i])
}

/// Every synchronisation that a kernel ran through so far in this process, by file, line and kind; none on a real device.
pub fn sites() -> Vec<String> {
    let Some(Ok(Some(library))) = STAND_IN.get() else { return Vec::new() };
    // SAFETY: the signature is that of driver.cpp.
    let list = unsafe { library.get::<unsafe extern "C" fn(*mut u8, usize) -> usize>(b"stand_in_sites\0") };
    let list = list.expect("the stand-in has this function");
    // Another thread may add a site between the calls.
    let mut text = Vec::new();
    loop {
        // SAFETY: as many bytes as given are there to be written.
        let length = unsafe { list(text.as_mut_ptr(), text.len()) };
        if length <= text.len() {
            text.truncate(length);
            return String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        }
        text.resize(length, 0);
    }
}
