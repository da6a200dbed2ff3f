//! The bytes of a file, mapped into memory: nothing is read before it is used, and nothing is copied.

use std::{fs::File, ops::Deref, path::Path};

use memmap2::Mmap;

use crate::{Error, Result, files};

/// A whole file, read-only.
pub(super) struct FileBytes(Mmap);

impl FileBytes {
    pub(super) fn open(path: &Path) -> Result<Self> {
        files::regular_file_size(path)?;
        let file = File::open(path).map_err(Error::io("open", path))?;
        map(&file).map(Self).map_err(Error::io("map", path))
    }
}

/// The one unsafe function of this crate.
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read-only, and only bytes are read from it, of which every pattern is valid. Nothing
    // can stop another process from changing the file meanwhile; weights would then be wrong, or a truncated
    // file end the process with SIGBUS, as in every program that maps a file. Our own writers only ever rename a
    // new file over an old one, which leaves the mapped one as it is.
    unsafe { Mmap::map(file) }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
