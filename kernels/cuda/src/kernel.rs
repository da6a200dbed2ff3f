//! Kernels by name: the embedded PTX, loaded when first used, and launches.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CString, c_void},
    marker::PhantomData,
    sync::Arc,
};

use bytemuck::NoUninit;
use cudarc::driver::{DriverError, result, sys};
use kernels_backend::{Error, Result};

use crate::{device::Device, ptx::PTX, queue::Queue};

/// A kernel and the type of its parameters: one structure of integers, floats and addresses, declared in the same order in
/// its `.cu` file, without undefined bytes between them.
pub(crate) struct Kernel<P> {
    /// The `.cu` file it is in, without ending.
    pub(crate) file: &'static str,
    pub(crate) name: &'static str,
    /// Bytes of shared memory besides what the kernel declares.
    dynamic_shared: u32,
    parameters: PhantomData<fn(P)>,
}

impl<P: NoUninit> Kernel<P> {
    /// The kernel `name` of the file `<file>.cu`.
    pub(crate) const fn new(file: &'static str, name: &'static str) -> Self {
        Self { file, name, dynamic_shared: 0, parameters: PhantomData }
    }

    /// With so many bytes of shared memory besides what it declares, at most 99 KiB, which every GPU has.
    pub(crate) const fn with_shared(self, bytes: usize) -> Self {
        assert!(bytes <= 99 << 10, "the least that a GPU of compute capability 8 gives a block");
        Self { dynamic_shared: bytes as u32, ..self }
    }

    /// As [`Kernel::with_shared`] for a kernel of compute capability 9.0, which gives a block 227 KiB.
    pub(crate) const fn with_hopper_shared(self, bytes: usize) -> Self {
        assert!(
            bytes <= 226 << 10,
            "what a GPU of compute capability 9.0 gives a block, with room for barriers"
        );
        Self { dynamic_shared: bytes as u32, ..self }
    }
}

/// How many blocks of how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) blocks: [usize; 3],
    pub(crate) threads: u32,
}

impl Grid {
    /// Threads for `items` pieces of work, in blocks of 256: eight warps, of which a multiprocessor holds eight blocks.
    pub(crate) fn of_threads(items: usize) -> Self {
        Self::of_blocks([items.div_ceil(256), 1, 1], 256)
    }

    /// Warps for `items` pieces of work, eight in a block.
    pub(crate) fn of_warps(items: usize) -> Self {
        Self::of_blocks([items.div_ceil(8), 1, 1], 256)
    }

    /// Blocks of `threads` threads.
    pub(crate) const fn of_blocks(blocks: [usize; 3], threads: u32) -> Self {
        Self { blocks, threads }
    }
}

/// What was loaded so far. A module lives as long as the process, like the driver's own cache of it.
#[derive(Default)]
pub(crate) struct Loaded {
    /// By file: a module of the driver, and its PTX.
    modules: HashMap<&'static str, (sys::CUmodule, CString)>,
    /// By kernel.
    functions: HashMap<&'static str, Function>,
}

// SAFETY: handles that the driver lets any thread use.
unsafe impl Send for Loaded {}

/// A kernel that was loaded.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Function(pub(crate) sys::CUfunction);

// SAFETY: a handle that the driver lets any thread use.
unsafe impl Send for Function {}

/// A launch without its parameters.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Launch {
    /// The name of the kernel, for errors.
    pub(crate) op: &'static str,
    pub(crate) function: Function,
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: u32,
    pub(crate) dynamic_shared: u32,
}

impl Launch {
    /// Gives the launch to a stream.
    ///
    /// # Safety
    /// - The one parameter of the kernel lies at `parameters`, and addresses in it are as the kernel takes them.
    pub(crate) unsafe fn run(
        &self,
        stream: sys::CUstream,
        parameters: *const c_void,
    ) -> std::result::Result<(), DriverError> {
        let [x, y, z] = self.blocks;
        let threads = (self.threads, 1, 1);
        let mut arguments = [parameters.cast_mut()];
        // SAFETY: by this function's contract; the driver copies as many bytes as the kernel declares.
        unsafe {
            result::launch_kernel(
                self.function.0,
                (x, y, z),
                threads,
                self.dynamic_shared,
                stream,
                &mut arguments,
            )
        }
    }
}

/// Where an op runs.
pub(crate) struct Context<'a> {
    pub(crate) device: &'a Arc<Device>,
    pub(crate) queue: &'a RefCell<Queue>,
}

impl Context<'_> {
    /// Launches a kernel; does nothing for no blocks.
    ///
    /// # Safety
    /// - The addresses in `parameters` are those of tensors or packed weights of this device, as large as the kernel
    ///   takes them to be by the sizes given with them.
    pub(crate) unsafe fn launch<P: NoUninit>(
        &self,
        kernel: &Kernel<P>,
        grid: Grid,
        parameters: &P,
    ) -> Result<()> {
        if grid.blocks.contains(&0) {
            return Ok(());
        }
        let [x, y, z] = grid.blocks;
        let (Ok(x), Ok(y), Ok(z)) = (i32::try_from(x), u16::try_from(y), u16::try_from(z)) else {
            let largest = format!("at most {} × {} × {} blocks", i32::MAX, u16::MAX, u16::MAX);
            let found = format!("{x} × {y} × {z}");
            return Err(Error::Shape { op: kernel.name, expected: largest, found });
        };
        let launch = Launch {
            op: kernel.name,
            function: function(self.device, kernel)?,
            blocks: [x.unsigned_abs(), y.into(), z.into()],
            threads: grid.threads,
            dynamic_shared: kernel.dynamic_shared,
        };
        // SAFETY: the kernel takes one parameter of this size (checked when it was loaded); the caller vouches for the
        // addresses in it.
        unsafe { self.queue.borrow_mut().launch(launch, bytemuck::bytes_of(parameters)) }
    }

    /// The stream, to be given something else than a launch.
    pub(crate) fn stream(&self, op: &'static str) -> Result<sys::CUstream> {
        self.queue.borrow_mut().stream(op)
    }
}

/// The kernel, loaded before or now.
fn function<P>(device: &Device, kernel: &Kernel<P>) -> Result<Function> {
    let mut loaded = device.loaded();
    let Loaded { modules, functions } = &mut *loaded;
    if let Some(&function) = functions.get(kernel.name) {
        return Ok(function);
    }
    device.bind(kernel.name)?;
    let refuse = |reason: String| Error::Device { backend: device.name.clone(), op: kernel.name, reason };
    if !modules.contains_key(kernel.file) {
        let ptx = ptx(kernel.file).and_then(|ptx| CString::new(ptx).map_err(|error| error.to_string()));
        let ptx = ptx.map_err(refuse)?;
        // SAFETY: the image is PTX that ends in a zero.
        let module = device.driver(kernel.name, unsafe { result::module::load_data(ptx.as_ptr().cast()) })?;
        modules.insert(kernel.file, (module, ptx));
    }
    let (module, ptx) = &modules[kernel.file];
    check_parameters(&ptx.to_string_lossy(), kernel.name, size_of::<P>()).map_err(refuse)?;
    let name = CString::new(kernel.name).map_err(|error| refuse(error.to_string()))?;
    // SAFETY: the module was loaded, and is never unloaded.
    let function = device.driver(kernel.name, unsafe { result::module::get_function(*module, name) })?;
    if kernel.dynamic_shared > 0 {
        let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function was just loaded.
        let allowed =
            unsafe { result::function::set_function_attribute(function, most, kernel.dynamic_shared as i32) };
        device.driver(kernel.name, allowed)?;
    }
    let function = Function(function);
    functions.insert(kernel.name, function);
    Ok(function)
}

/// The text of an embedded file.
fn ptx(file: &str) -> std::result::Result<String, String> {
    let (_, packed) = PTX
        .iter()
        .find(|(name, _)| *name == file)
        .ok_or_else(|| format!("no PTX of {file}.cu is embedded"))?;
    let bytes = miniz_oxide::inflate::decompress_to_vec_zlib(packed).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Whether the kernel declares one structure of `size` bytes: then both sides at least agree on how much is copied.
fn check_parameters(ptx: &str, kernel: &str, size: usize) -> std::result::Result<(), String> {
    let declaration = format!(".b8 {kernel}_param_0[{size}]");
    let second = format!("{kernel}_param_1");
    if ptx.contains(&declaration) && !ptx.contains(&second) {
        return Ok(());
    }
    Err(format!("expected PTX of a kernel with one parameter of {size} bytes; run `cargo xtask cuda`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_is_ptx_that_old_drivers_take() {
        for (file, _) in PTX {
            let text = ptx(file).unwrap();
            let target = if file.ends_with("_90a") { "sm_90a" } else { "sm_80" };
            assert!(text.contains(&format!(".version 8.0\n.target {target}")), "{file}");
            assert!(text.contains(".entry "), "{file}");
        }
    }

    #[test]
    fn parameters_of_another_size_are_refused() {
        let text = ".entry cast(\n.param .align 8 .b8 cast_param_0[80]\n)";
        assert!(check_parameters(text, "cast", 80).is_ok());
        assert!(check_parameters(text, "cast", 88).unwrap_err().contains("88 bytes"));
        let two = format!("{text}.param .u64 cast_param_1");
        assert!(check_parameters(&two, "cast", 80).is_err());
    }

    #[test]
    fn a_file_that_is_not_embedded_is_named() {
        assert_eq!(ptx("nothing").unwrap_err(), "no PTX of nothing.cu is embedded");
    }
}
