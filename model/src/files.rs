//! Reading files that may be anything, and writing files that are whole or absent.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// The size of a regular file. Anything else, such as a pipe, could block for ever when it is opened.
pub(crate) fn regular_file_size(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(Error::io("open", path))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    let found = if metadata.is_dir() { "a directory" } else { "a device or pipe" };
    Err(Error::Malformed {
        file: path.display().to_string(),
        expected: "a regular file".to_owned(),
        found: found.to_owned(),
    })
}

/// The text of a file of at most `largest` bytes.
pub(crate) fn read_text(path: &Path, largest: u64) -> Result<String> {
    let bytes = regular_file_size(path)?;
    if bytes > largest {
        return Err(Error::Malformed {
            file: path.display().to_string(),
            expected: format!("at most {largest} bytes of text"),
            found: format!("{bytes} bytes"),
        });
    }
    fs::read_to_string(path).map_err(Error::io("read", path))
}

/// Files under temporary names beside their destinations. [`Staged::commit`] gives them their names once all
/// are complete; dropped before, they vanish.
#[derive(Default)]
pub(crate) struct Staged {
    files: Vec<(NamedTempFile, PathBuf)>,
}

impl Staged {
    /// Writes one more file. The closure may seek nothing and must write everything.
    pub(crate) fn write(
        &mut self,
        path: &Path,
        content: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut builder = tempfile::Builder::new();
        builder.prefix(".videomae-").suffix(".tmp");
        shared_permissions(&mut builder);
        let file = builder
            .tempfile_in(directory.unwrap_or(Path::new(".")))
            .map_err(Error::io("create a file beside", path))?;
        // A mebibyte a call keeps system calls rare beside the copying.
        let mut writer = BufWriter::with_capacity(1 << 20, file.as_file());
        content(&mut writer)?;
        writer.flush().map_err(Error::io("write", path))?;
        drop(writer);
        // Without this a power cut could leave the new name on an empty file.
        file.as_file().sync_all().map_err(Error::io("write", path))?;
        self.files.push((file, path.to_owned()));
        Ok(())
    }

    /// Renames every file, in the order they were written.
    pub(crate) fn commit(self) -> Result<()> {
        for (file, path) in self.files {
            let renamed: std::result::Result<File, _> = file.persist(&path);
            renamed.map_err(|failed| Error::io("rename a finished file to", path)(failed.error))?;
        }
        Ok(())
    }
}

/// Temporary files are private by default, but these outlive their names: whoever may read the directory's
/// other files should read these.
#[cfg(unix)]
fn shared_permissions(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    // The process's umask takes away what the user does not want given.
    builder.permissions(fs::Permissions::from_mode(0o666));
}

/// Elsewhere the directory decides.
#[cfg(not(unix))]
fn shared_permissions(_: &mut tempfile::Builder<'_, '_>) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn staged_files_appear_together_and_only_when_all_are_complete() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        fs::write(&paths[0], "earlier").unwrap();
        let mut staged = Staged::default();
        for path in &paths {
            staged.write(path, |w| w.write_all(b"new").map_err(Error::io("write", path))).unwrap();
        }
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "earlier");
        assert!(!paths[1].exists());
        staged.commit().unwrap();
        assert!(paths.iter().all(|path| fs::read_to_string(path).unwrap() == "new"));
        assert_eq!(count(directory.path()), 2);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut staged = Staged::default();
        staged.write(&directory.path().join("b"), |_| Ok(())).unwrap();
        let failed = staged.write(&path, |w| {
            w.write_all(b"half").map_err(Error::io("write", &path))?;
            Err(Error::io("write", &path)(std::io::Error::other("the disk is full")))
        });
        let message = failed.unwrap_err().to_string();
        assert!(message.contains("cannot write") && message.contains("the disk is full"), "{message}");
        drop(staged);
        assert_eq!(count(directory.path()), 0);
        // A directory that is not there is named by the file that was to be in it.
        let absent = directory.path().join("absent").join("c");
        let message = Staged::default().write(&absent, |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains(absent.to_str().unwrap()), "{message}");
    }
}
