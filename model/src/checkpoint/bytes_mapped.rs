//! The bytes of a file, mapped into memory: nothing is read before it is used, and nothing is copied.

use std::{fs::File, ops::Deref, path::Path};

use memmap2::Mmap;

use super::archive::Content;
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

// The two unsafe calls of this crate follow.

fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read-only, and only bytes are read from it, of which every pattern is valid. Nothing
    // can stop another process from changing the file meanwhile; weights would then be wrong, or a truncated
    // file end the process with SIGBUS, as in every program that maps a file. Our own writers only ever rename a
    // new file over an old one, which leaves the mapped one as it is.
    unsafe { Mmap::map(file) }
}

impl Content for FileBytes {
    fn release(&self, part: &[u8]) {
        let start = part.as_ptr().addr().wrapping_sub(self.as_ptr().addr());
        if start < self.len() && part.len() <= self.len() - start {
            page_out(&self.0, start, part.len());
        }
    }
}

#[cfg(unix)]
fn page_out(map: &Mmap, start: usize, len: usize) {
    // SAFETY: the mapping is read-only and backed by the file, so a page that is read again has the same bytes.
    let result = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
    // A system that cannot page out merely keeps the pages until the file is closed.
    drop(result);
}

#[cfg(not(unix))]
fn page_out(_: &Mmap, _: usize, _: usize) {}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Bytes of the file that are in memory on behalf of this process.
    fn resident(path: &Path) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.ends_with(path.to_str().unwrap()));
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
    }

    #[test]
    fn a_part_that_is_released_takes_no_memory_and_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("weights");
        std::fs::write(&path, vec![7; 8 << 20]).unwrap();
        let bytes = FileBytes::open(&path).unwrap();
        let sum = |bytes: &[u8]| bytes.iter().map(|&b| u64::from(b)).sum::<u64>();
        let before = sum(&bytes);
        assert!(resident(&path) >= 8 << 20, "{}", resident(&path));

        bytes.release(&bytes[1 << 20..7 << 20]);
        // The system may map pages around one that is read, but only when one is.
        assert!(resident(&path) <= 3 << 20, "{}", resident(&path));
        bytes.release(b"of something else");
        assert_eq!(sum(&bytes), before);
    }
}
