//! A list of launches, and the CUDA graph of it.

use std::{ffi::c_void, ptr};

use cudarc::driver::{DriverError, result, sys};

use crate::kernel::Launch;

/// The largest alignment that parameters have, which is that of a tensor map, and the unit in which they are kept.
const WORD: usize = 64;

#[derive(Clone, Copy, PartialEq)]
#[repr(C, align(64))]
struct Word([u8; WORD]);

/// Launches in order, with all the bytes of their parameters.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct List {
    /// With the word at which the parameters of each begin.
    launches: Vec<(Launch, usize)>,
    words: Vec<Word>,
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.launches.len()
    }

    /// Forgets all launches and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.launches.clear();
        self.words.clear();
    }

    pub(crate) fn push(&mut self, launch: Launch, parameters: &[u8]) {
        self.launches.push((launch, self.words.len()));
        for piece in parameters.chunks(WORD) {
            let mut word = Word([0; WORD]);
            word.0[..piece.len()].copy_from_slice(piece);
            self.words.push(word);
        }
    }

    /// Every launch and where its parameters lie.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Launch, *const c_void)> {
        self.launches.iter().map(|(launch, word)| (launch, self.words[*word..].as_ptr().cast()))
    }
}

/// What the driver made of a list: all its launches in one call.
pub(crate) struct Graph(sys::CUgraphExec);

// SAFETY: a handle that any thread may use, one at a time.
unsafe impl Send for Graph {}

impl Graph {
    /// A graph in which each launch waits for the one before it, as in a stream. It is built from the list rather than
    /// captured from a stream: a capture forbids the whole process to wait for the device while it lasts.
    ///
    /// # Safety
    /// - The parameters are as the kernels take them.
    pub(crate) unsafe fn new(list: &List) -> Result<Self, DriverError> {
        let mut graph = ptr::null_mut();
        // SAFETY: the driver writes one handle.
        unsafe { sys::cuGraphCreate(&mut graph, 0) }.result()?;
        // SAFETY: the graph was just made; the rest is this function's contract.
        let executable = unsafe { add_launches(graph, list) }.and_then(|()| {
            // SAFETY: the graph was just made.
            unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) }
        });
        // SAFETY: as above; what was instantiated does not need it any more.
        unsafe { result::graph::destroy(graph) }?;
        executable.map(Self)
    }

    /// Makes all launches.
    ///
    /// # Safety
    /// - Addresses in the parameters are those of memory that the kernels may use as they do.
    pub(crate) unsafe fn launch(&self, stream: sys::CUstream) -> Result<(), DriverError> {
        // SAFETY: both handles are valid; the rest is this function's contract.
        unsafe { result::graph::launch(self.0, stream) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: nothing uses the handle any more, and whoever drops it has waited for its launches. An error would mean
        // that the device is gone, and the graph with it.
        let _ = unsafe { result::graph::exec_destroy(self.0) };
    }
}

/// # Safety
/// - The graph is valid, and parameters are as the kernels take them.
unsafe fn add_launches(graph: sys::CUgraph, list: &List) -> Result<(), DriverError> {
    let mut before: Option<sys::CUgraphNode> = None;
    for (launch, parameters) in list.iter() {
        let mut arguments = [parameters.cast_mut()];
        let [x, y, z] = launch.blocks;
        let node = sys::CUDA_KERNEL_NODE_PARAMS {
            func: launch.function.0,
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: launch.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: launch.dynamic_shared,
            kernelParams: arguments.as_mut_ptr(),
            extra: ptr::null_mut(),
            kern: ptr::null_mut(),
            // That of the thread.
            ctx: ptr::null_mut(),
        };
        let mut added = ptr::null_mut();
        let (first, count) =
            (before.as_ref().map_or(ptr::null(), ptr::from_ref), usize::from(before.is_some()));
        // SAFETY: the handles are valid; the driver copies the parameters before it returns.
        unsafe { sys::cuGraphAddKernelNode_v2(&mut added, graph, first, count, &node) }.result()?;
        before = Some(added);
    }
    Ok(())
}
