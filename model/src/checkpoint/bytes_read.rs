//! The bytes of a file, read into memory, for targets that cannot map one.

use std::{fs, ops::Deref, path::Path};

use super::archive::Content;
use crate::{Error, Result, files};

/// A whole file.
pub(super) struct FileBytes(Vec<u8>);

impl FileBytes {
    pub(super) fn open(path: &Path) -> Result<Self> {
        files::regular_file_size(path)?;
        fs::read(path).map(Self).map_err(Error::io("read", path))
    }
}

impl Content for FileBytes {}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
