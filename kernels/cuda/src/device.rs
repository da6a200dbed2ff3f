//! A GPU: found, checked, and its kernels loaded when they are first needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, DriverError, result, sys};
use kernels_backend::{Error, Result};

use crate::{Kernels, kernel::Loaded, memory::Pool};

/// The least compute capability that the kernels are compiled for: the first with `cp.async` and bf16.
const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// The one compute capability with `wgmma`.
const HOPPER: (i32, i32) = (9, 0);

/// A GPU that can run the kernels.
pub(crate) struct Device {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) ordinal: usize,
    /// `cuda:0`
    pub(crate) name: String,
    pub(crate) multiprocessors: usize,
    /// Whether kernels for compute capability 9.0 are used.
    pub(crate) hopper: bool,
    loaded: Mutex<Loaded>,
    pool: Mutex<Pool>,
}

impl Device {
    /// Opens device `ordinal`.
    pub(crate) fn open(ordinal: usize, kernels: Kernels) -> std::result::Result<Arc<Self>, String> {
        check(ordinal)?;
        let context = CudaContext::new(ordinal).map_err(|error| reason(&error))?;
        let capability = context.compute_capability().map_err(|error| reason(&error))?;
        let hopper = kernels == Kernels::Hopper;
        if hopper && capability != HOPPER {
            let (major, minor) = capability;
            return Err(format!("expected compute capability 9.0, found {major}.{minor}"));
        }
        let count = sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(count).map_err(|error| reason(&error))?;
        let multiprocessors = usize::try_from(multiprocessors).map_err(|error| error.to_string())?;
        // SAFETY: no slice of cudarc is ever made, so there is nothing to track between streams.
        unsafe { context.disable_event_tracking() };
        let name = kernels.backend_name(ordinal);
        let (loaded, pool) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { context, ordinal, name, multiprocessors, hopper, loaded, pool }))
    }

    /// What the driver says of `op`, as an error of this backend.
    pub(crate) fn error(&self, op: &'static str, error: &DriverError) -> Error {
        Error::Device { backend: self.name.clone(), op, reason: reason(error) }
    }

    /// The result of a call to the driver, as one of this backend.
    pub(crate) fn driver<T>(
        &self,
        op: &'static str,
        result: std::result::Result<T, DriverError>,
    ) -> Result<T> {
        result.map_err(|error| self.error(op, &error))
    }

    /// Makes this device the one that calls of this thread are about.
    pub(crate) fn bind(&self, op: &'static str) -> Result<()> {
        self.driver(op, self.context.bind_to_thread())
    }

    /// The kernels that were loaded so far.
    pub(crate) fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory of this device.
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Without the device its memory is gone too.
        if self.context.bind_to_thread().is_ok() {
            self.pool().close();
        }
    }
}

/// The names of the GPUs of this machine, or why there are none.
pub(crate) fn names() -> std::result::Result<Vec<String>, String> {
    start()?;
    let count = result::device::get_count().map_err(|error| reason(&error))?;
    (0..count)
        .map(|ordinal| {
            result::device::get(ordinal).and_then(result::device::get_name).map_err(|error| reason(&error))
        })
        .collect()
}

/// Whether GPU number `ordinal` is there and new enough; if not, why. Asks without starting to use it.
pub(crate) fn check(ordinal: usize) -> std::result::Result<(), String> {
    let count = names()?.len();
    if ordinal >= count {
        let gpus = if count == 1 { "1 GPU".to_owned() } else { format!("{count} GPUs") };
        return Err(format!(
            "expected one of the {gpus} of this machine, counted from 0, found number {ordinal}"
        ));
    }
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let attribute = |attribute| {
        let device = result::device::get(ordinal as i32)?;
        // SAFETY: the device was just asked for.
        unsafe { result::device::get_attribute(device, attribute) }
    };
    let (major, minor) =
        attribute(MAJOR).and_then(|major| Ok((major, attribute(MINOR)?))).map_err(|error| reason(&error))?;
    if (major, minor) < LEAST_CAPABILITY {
        let (least_major, least_minor) = LEAST_CAPABILITY;
        return Err(format!(
            "expected compute capability {least_major}.{least_minor} or higher, found {major}.{minor}"
        ));
    }
    Ok(())
}

/// Opens the driver. cudarc panics where its library is missing, so it is asked for first.
fn start() -> std::result::Result<(), String> {
    // SAFETY: opening the driver's library runs its initialisers, which any program may do at any time.
    if !unsafe { sys::is_culib_present() } {
        return Err("no NVIDIA driver (libcuda.so.1 is not there)".to_owned());
    }
    result::init().map_err(|error| reason(&error))
}

/// `CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected`
fn reason(error: &DriverError) -> String {
    let name = error.error_name().map(|name| name.to_string_lossy().into_owned());
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    match (name, text) {
        (Ok(name), Ok(text)) => format!("{name}: {text}"),
        _ => format!("driver error {}", error.0 as u32),
    }
}
