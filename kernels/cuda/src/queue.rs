//! The launches of a forward pass, kept until its end and then made as one CUDA graph.
//!
//! A forward is about a hundred launches, each of which costs the host some microseconds: more than the device needs for
//! some of them. So inside [`kernels_backend::Stream::enter`] launches are only noted. At the end the list is compared
//! with those of earlier forwards: it is launched one by one the first time, a graph is made of it the second time, and
//! from then on that graph is launched, in one call. A list holds the kernels, their grids and all of their parameters,
//! addresses included, so a graph stands for exactly these launches, whatever became of the tensors in between; what
//! changes from forward to forward, such as pixels and masks, lies in memory.

use std::sync::Arc;

use cudarc::driver::{CudaStream, DriverError, sys};
use kernels_backend::{Error, Result};

use crate::{
    device::Device,
    graph::{Graph, List},
    kernel::Launch,
};

/// Lists that are kept. A forward that shows its hidden states is cut where they are read, into one list a layer; the
/// largest published model has 32 layers, and a few shapes may take turns.
const KNOWN: usize = 128;

/// Launches that are worth a graph; fewer, such as those that convert what is written, are made one by one.
const SHORTEST: usize = 4;

/// A list that was launched before, and its graph once it was launched twice.
struct Known {
    list: List,
    graph: Option<Graph>,
    /// When it was last launched, counted in lists.
    used: u64,
}

/// A stream of the device, and what it is to be given next.
pub(crate) struct Queue {
    device: Arc<Device>,
    stream: Arc<CudaStream>,
    /// How many times it was opened; launches are noted while it is open, and made at once otherwise.
    depth: usize,
    noted: List,
    known: Vec<Known>,
    count: u64,
    /// What went wrong where nobody could be told.
    failed: Option<Error>,
}

impl Queue {
    /// A new stream.
    pub(crate) fn new(device: &Arc<Device>) -> Result<Self> {
        let stream = device.driver("stream", device.context.new_stream())?;
        let (noted, known) = (List::default(), Vec::new());
        Ok(Self { device: Arc::clone(device), stream, depth: 0, noted, known, count: 0, failed: None })
    }

    /// Notes launches from here on.
    pub(crate) fn open(&mut self) {
        self.depth += 1;
    }

    /// The other end of [`Queue::open`]: when nobody has it open any more, makes the launches that were noted. The next
    /// call reports what goes wrong.
    pub(crate) fn close(&mut self) {
        self.depth -= 1;
        if self.depth == 0
            && let Err(error) = self.flush()
        {
            self.failed.get_or_insert(error);
        }
    }

    /// Makes or notes a launch.
    ///
    /// # Safety
    /// - `parameters` are what the kernel takes, and addresses in them are those of memory that it may use as it does.
    pub(crate) unsafe fn launch(&mut self, launch: Launch, parameters: &[u8]) -> Result<()> {
        self.report()?;
        if self.depth == 0 {
            self.device.bind(launch.op)?;
            // SAFETY: by this function's contract. Memory is not used again before the device has come to rest.
            let launched = unsafe { launch.run(self.stream.cu_stream(), parameters.as_ptr().cast()) };
            return self.device.driver(launch.op, launched);
        }
        if self.noted.len() == 0 {
            self.device.pool().begin_noting();
        }
        self.noted.push(launch, parameters);
        Ok(())
    }

    /// The stream, to be given something else than a launch; what was noted comes first.
    pub(crate) fn stream(&mut self, op: &'static str) -> Result<sys::CUstream> {
        self.flush()?;
        self.device.bind(op)?;
        Ok(self.stream.cu_stream())
    }

    /// Makes the launches that were noted and waits for all.
    pub(crate) fn synchronize(&mut self, op: &'static str) -> Result<()> {
        self.flush()?;
        self.device.driver(op, self.stream.synchronize())
    }

    /// Makes the launches that were noted.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.noted.len() > 0 {
            self.count += 1;
            let done = self.device.bind("enter").and_then(|()| self.run());
            self.noted.clear();
            self.device.pool().end_noting();
            done?;
        }
        self.report()
    }

    fn report(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn run(&mut self) -> Result<()> {
        let Some(known) = self.known.iter_mut().find(|known| known.list == self.noted) else {
            for (launch, parameters) in self.noted.iter() {
                // SAFETY: by the contract of `launch`; memory that was freed since then is not used again before `flush`
                // has ended.
                let launched = unsafe { launch.run(self.stream.cu_stream(), parameters) };
                self.device.driver(launch.op, launched)?;
            }
            return self.remember();
        };
        known.used = self.count;
        let graph = match &known.graph {
            Some(graph) => graph,
            None => {
                // SAFETY: by the contract of `launch`.
                let graph = unsafe { Graph::new(&known.list) };
                known.graph.insert(self.device.driver("enter", graph)?)
            }
        };
        // SAFETY: as above, since the list that was noted is that of the graph.
        self.device.driver("enter", unsafe { graph.launch(self.stream.cu_stream()) })
    }

    /// Keeps the list that was launched, in the place of the one that was not used for longest.
    fn remember(&mut self) -> Result<()> {
        if self.noted.len() < SHORTEST {
            return Ok(());
        }
        if self.known.len() == KNOWN
            && let Some(oldest) = (0..KNOWN).min_by_key(|&i| self.known[i].used)
        {
            // Its graph may still be running.
            self.device.driver("enter", self.stream.synchronize())?;
            self.known.swap_remove(oldest);
        }
        self.known.push(Known { list: self.noted.clone(), graph: None, used: self.count });
        Ok(())
    }

    /// How many lists are known, and how many graphs there are.
    #[cfg(test)]
    pub(crate) fn known(&self) -> (usize, usize) {
        (self.known.len(), self.known.iter().filter(|known| known.graph.is_some()).count())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Graphs may still be running. An error is that of a launch whose result nobody has asked for.
        let _: std::result::Result<(), DriverError> = self.stream.synchronize();
    }
}
