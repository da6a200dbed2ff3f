//! What `torch.save` writes: `pytorch_model.bin`, `.pth`, `.pt`.
//!
//! Such a file is a program for Python's pickle machine, which can be made to run anything. The machine here runs
//! nothing: it knows the few instructions that tensors, dictionaries and numbers need ([`pickle`]), and of the names
//! a program may refer to only those in one list ([`globals`]). The bytes of tensors stay where they lie in the
//! file, and every place and size is checked against the file before it is believed.

mod archive;
mod globals;
mod legacy;
mod mask;
mod pickle;
mod reader;
mod records;
mod strided;

pub(super) use archive::TorchArchive;
pub use mask::{StoredMask, read_mask};

/// Why a file was refused; the archive adds its name.
#[derive(Debug)]
struct Fault {
    expected: String,
    found: String,
}

impl Fault {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}
