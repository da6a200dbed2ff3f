//! Page-locked memory of the host, through which everything goes to the device and comes back.
//!
//! The device copies from and to such memory by itself; for ordinary memory the driver has to copy once more, and may wait
//! for the device first. There are two buffers that take turns, each with an event behind its last copy: the host fills
//! one while the device empties the other, and waits only when both are on their way.

use std::{slice, sync::Arc};

use cudarc::driver::{result, sys};
use kernels_backend::Result;

use crate::{
    device::Device,
    kernel::Context,
    memory::{Address, Memory},
};

/// Bytes of a buffer: a few hundred microseconds of PCIe, beside which the start of a copy and the wait for an event are
/// nothing; a clip in f32 is three of them. A multiple of any element times the four that kernels move at once. Tests
/// have small tensors, and want many pieces.
pub(crate) const PIECE: usize = if cfg!(test) { 1 << 10 } else { 4 << 20 };

/// Two buffers, made when the first is needed.
pub(crate) struct Staging {
    device: Arc<Device>,
    buffers: Option<[Buffer; 2]>,
    next: usize,
    /// A piece on the device, for numbers whose type changes there.
    unconverted: Option<Memory>,
}

struct Buffer {
    device: Arc<Device>,
    /// `PIECE` bytes, and zeros once they are new.
    memory: *mut u8,
    /// Behind the last copy; none while the buffer is being made.
    event: sys::CUevent,
    /// Whether that copy may not have been made.
    on_its_way: bool,
}

// SAFETY: memory and an event that belong to the buffer alone, and that any thread may use.
unsafe impl Send for Buffer {}

/// A copy to the host that was begun.
pub(crate) struct Begun {
    buffer: usize,
    bytes: usize,
}

impl Staging {
    /// No buffers yet.
    pub(crate) fn new(device: &Arc<Device>) -> Self {
        Self { device: Arc::clone(device), buffers: None, next: 0, unconverted: None }
    }

    /// A piece on the device.
    pub(crate) fn unconverted(&mut self) -> Result<Address> {
        let memory = match &self.unconverted {
            Some(memory) => memory,
            None => self.unconverted.insert(Memory::new(&self.device, Some(PIECE), &[PIECE].into())?),
        };
        Ok(memory.address)
    }

    /// Gives the stream a copy of a piece to the device.
    ///
    /// # Safety
    /// - As many bytes of the device lie at `to`.
    pub(crate) unsafe fn send(
        &mut self,
        ctx: &Context<'_>,
        op: &'static str,
        piece: &[u8],
        to: Address,
    ) -> Result<()> {
        let stream = ctx.stream(op)?;
        let (_, buffer) = self.turn(op)?;
        buffer.bytes_mut(piece.len()).copy_from_slice(piece);
        // SAFETY: by this function's contract; the buffer is not written again before the event has passed.
        let copied = unsafe { result::memcpy_htod_async(to, buffer.bytes(piece.len()), stream) };
        ctx.device.driver(op, copied)?;
        buffer.record(op, stream)
    }

    /// Gives the stream a copy of `bytes` bytes to the host, at most a piece. At most two are begun at a time.
    ///
    /// # Safety
    /// - As many bytes of the device lie at `from`.
    pub(crate) unsafe fn begin(
        &mut self,
        ctx: &Context<'_>,
        op: &'static str,
        from: Address,
        bytes: usize,
    ) -> Result<Begun> {
        let stream = ctx.stream(op)?;
        let (turn, buffer) = self.turn(op)?;
        // SAFETY: by this function's contract; the buffer is not looked at before the event has passed.
        let copied = unsafe { result::memcpy_dtoh_async(buffer.bytes_mut(bytes), from, stream) };
        ctx.device.driver(op, copied)?;
        buffer.record(op, stream)?;
        Ok(Begun { buffer: turn, bytes })
    }

    /// Waits for a copy to the host.
    pub(crate) fn finish(&mut self, op: &'static str, begun: Begun) -> Result<&[u8]> {
        let buffer = &mut self.buffers.as_mut().expect("a copy was begun")[begun.buffer];
        buffer.wait(op)?;
        Ok(buffer.bytes(begun.bytes))
    }

    /// The buffer whose turn it is, when the device is done with it, and its number.
    fn turn(&mut self, op: &'static str) -> Result<(usize, &mut Buffer)> {
        let buffers = match &mut self.buffers {
            Some(buffers) => buffers,
            none => none.insert([Buffer::new(&self.device, op)?, Buffer::new(&self.device, op)?]),
        };
        let turn = self.next;
        self.next = 1 - turn;
        buffers[turn].wait(op)?;
        Ok((turn, &mut buffers[turn]))
    }
}

impl Buffer {
    fn new(device: &Arc<Device>, op: &'static str) -> Result<Self> {
        device.bind(op)?;
        // No flag: memory that the processor reads through its caches.
        // SAFETY: the size is not zero.
        let memory = unsafe { result::malloc_host(PIECE, 0) };
        let memory: *mut u8 = device.driver(op, memory)?.cast();
        // SAFETY: so many bytes were allocated.
        unsafe { memory.write_bytes(0, PIECE) };
        let mut buffer =
            Self { device: Arc::clone(device), memory, event: std::ptr::null_mut(), on_its_way: false };
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        buffer.event = device.driver(op, event)?;
        Ok(buffer)
    }

    fn bytes(&self, count: usize) -> &[u8] {
        assert!(count <= PIECE, "a piece is no larger than its buffer");
        // SAFETY: there are as many bytes, and they were written when they were new.
        unsafe { slice::from_raw_parts(self.memory, count) }
    }

    fn bytes_mut(&mut self, count: usize) -> &mut [u8] {
        assert!(count <= PIECE, "a piece is no larger than its buffer");
        // SAFETY: as above, and the buffer is borrowed for it.
        unsafe { slice::from_raw_parts_mut(self.memory, count) }
    }

    /// Puts the event behind the copy that the stream was just given.
    fn record(&mut self, op: &'static str, stream: sys::CUstream) -> Result<()> {
        self.on_its_way = true;
        // SAFETY: both handles are valid.
        self.device.driver(op, unsafe { result::event::record(self.event, stream) })
    }

    /// Waits until the device is done with the buffer.
    fn wait(&mut self, op: &'static str) -> Result<()> {
        if self.on_its_way {
            self.device.bind(op)?;
            // SAFETY: the event was made with the buffer.
            self.device.driver(op, unsafe { result::event::synchronize(self.event) })?;
            self.on_its_way = false;
        }
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // After an error nothing is on its way any more: the driver gives up what it was given.
        let _ = self.wait("staging");
        if !self.event.is_null() {
            // SAFETY: nothing uses the event any more.
            let _ = unsafe { result::event::destroy(self.event) };
        }
        // SAFETY: nothing uses the memory any more.
        let _ = unsafe { result::free_host(self.memory.cast()) };
    }
}
