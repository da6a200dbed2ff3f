//! What the program may use of the machine, whatever a file asks of it.

use std::io;
use std::process::Child;

use crate::decode::Limits;

/// Bounds memory, time, files and dumps of a program that has just been started.
///
/// # Errors
/// When the operating system refuses. A program that has ended already is none.
#[cfg(target_os = "linux")]
pub(super) fn apply(child: &Child, limits: &Limits) -> io::Result<()> {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

    let pid = Pid::from_child(child);
    for (resource, most) in [
        (Resource::As, address_space(limits)),
        // It runs on one thread, so that time on the processor cannot pass sooner than time on the clock.
        (Resource::Cpu, limits.per_read.as_secs() + 1),
        // It writes to pipes.
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ] {
        // A bound that this process has itself cannot be raised.
        let most = getrlimit(resource).maximum.map_or(most, |own| own.min(most));
        match prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) }) {
            Ok(_) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Other systems have no call that bounds another process: there the program's own options and the timer remain.
#[cfg(not(target_os = "linux"))]
pub(super) fn apply(_child: &Child, _limits: &Limits) -> io::Result<()> {
    Ok(())
}

/// Bytes: a gigabyte for the program and its libraries, and twenty of the largest pictures (a decoder keeps up to 17)
/// with three channels of 16 bits.
#[cfg(target_os = "linux")]
fn address_space(limits: &Limits) -> u64 {
    const PROGRAM: u64 = 1 << 30;
    const PICTURES: u64 = 20;
    const BYTES_PER_PIXEL: u64 = 6;
    PROGRAM + PICTURES * BYTES_PER_PIXEL * limits.pixels as u64
}
