//! One file, from the hub into the cache.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    HubEvent,
    client::{Client, Failure, Metadata},
};
use crate::{Error, Result};

/// Connections in a row that bring less than a [`PIECE`] before we give up: a hub that sends a few bytes and then
/// falls silent would otherwise keep us for days.
const FRUITLESS: u32 = 5;

/// What a body is copied through, a piece at a time.
const PIECE: usize = 1 << 16;

/// Puts files into the cache of one model.
pub(super) struct Downloads<'a> {
    pub(super) client: &'a Client,
    /// The folder of contents, each under the name of its hash.
    pub(super) blobs: PathBuf,
    /// After the first fruitless connection; it doubles with each.
    pub(super) pause: Duration,
}

impl Downloads<'_> {
    /// Makes `pointer` lead to the contents of a file. Contents that several revisions share come once.
    pub(super) fn file(
        &self,
        url: &str,
        name: &str,
        pointer: &Path,
        progress: &mut dyn FnMut(HubEvent<'_>),
    ) -> Result<()> {
        let metadata = self.metadata(url, progress)?;
        fs::create_dir_all(&self.blobs).map_err(Error::io("create", &self.blobs))?;
        let blob = self.blobs.join(&metadata.etag);
        // Another program may be at the same file; it is waited for, and its result taken.
        let lock_path = self.blobs.join(format!("{}.lock", metadata.etag));
        let lock = File::create(&lock_path).map_err(Error::io("create", &lock_path))?;
        lock.lock().map_err(Error::io("lock", &lock_path))?;
        if !blob.exists() {
            let part = self.blobs.join(format!("{}.incomplete", metadata.etag));
            self.fill(&part, url, name, &metadata, progress)?;
            verify(&part, url, &metadata)?;
            fs::rename(&part, &blob).map_err(Error::io("rename a finished download to", &blob))?;
        }
        // Whoever waits for the lock holds the file that is removed here, and finds the contents complete.
        fs::remove_file(&lock_path).map_err(Error::io("remove", &lock_path))?;
        link(&blob, pointer)
    }

    fn metadata(&self, url: &str, progress: &mut dyn FnMut(HubEvent<'_>)) -> Result<Metadata> {
        let mut patience = Patience::new(self.pause);
        loop {
            match self.client.metadata(url) {
                Ok(metadata) => return Ok(metadata),
                Err(failure) => patience.wait(failure, progress)?,
            }
        }
    }

    /// Connects as often as it takes to bring `part` to its size. What an earlier call left there is kept.
    fn fill(
        &self,
        part: &Path,
        url: &str,
        name: &str,
        metadata: &Metadata,
        progress: &mut dyn FnMut(HubEvent<'_>),
    ) -> Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(part)
            .map_err(Error::io("create", part))?;
        let mut done = file.seek(io::SeekFrom::End(0)).map_err(Error::io("read", part))?;
        let mut patience = Patience::new(self.pause);
        progress(HubEvent::File { name, done: done.min(metadata.bytes), bytes: metadata.bytes });
        while done != metadata.bytes {
            // More than there should be: nothing of it can be trusted.
            let start = if done > metadata.bytes { 0 } else { done };
            let (mut body, from) = match self.client.contents(url, start, metadata.bytes) {
                Ok(contents) => contents,
                Err(failure) => {
                    patience.wait(failure, progress)?;
                    continue;
                }
            };
            if from != done {
                file.set_len(from).and_then(|()| file.rewind()).map_err(Error::io("write", part))?;
                done = from;
                progress(HubEvent::File { name, done, bytes: metadata.bytes });
            }
            let before = done;
            let end = copy(&mut body, &mut file, &mut done, progress);
            let end = end.map_err(Error::io("write", part))?;
            if done <= metadata.bytes && done - before >= PIECE as u64 {
                patience = Patience::new(self.pause);
            }
            let problem = match end {
                None if done < metadata.bytes => "the connection was closed".to_owned(),
                None if done > metadata.bytes => "the hub sent more than it announced".to_owned(),
                None => continue,
                Some(failed) => failed.to_string(),
            };
            let problem = format!("expected {} bytes, found {done}: {problem}", metadata.bytes);
            patience.wait(Failure::transient(url, problem), progress)?;
        }
        file.sync_all().map_err(Error::io("write", part))
    }
}

/// Copies until the body ends or fails, and says how it failed; an error is the file's.
fn copy(
    body: &mut impl Read,
    file: &mut File,
    done: &mut u64,
    progress: &mut dyn FnMut(HubEvent<'_>),
) -> io::Result<Option<io::Error>> {
    let mut piece = vec![0; PIECE];
    loop {
        match body.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(count) => {
                file.write_all(&piece[..count])?;
                *done += count as u64;
                progress(HubEvent::Bytes(count as u64));
            }
            Err(failed) if failed.kind() == io::ErrorKind::Interrupted => {}
            Err(failed) => return Ok(Some(failed)),
        }
    }
}

/// A file with another hash than its name is thrown away, so that the next try begins anew.
fn verify(part: &Path, url: &str, metadata: &Metadata) -> Result<()> {
    let Some(expected) = metadata.sha256() else {
        return Ok(());
    };
    let mut file = File::open(part).map_err(Error::io("read", part))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(Error::io("read", part))? {
            0 => break,
            count => hash.update(&piece[..count]),
        }
    }
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    fs::remove_file(part).map_err(Error::io("remove", part))?;
    Err(Error::Hub {
        address: url.to_owned(),
        problem: format!("expected SHA-256 {expected}, found {found}; the copy was removed, so try again"),
    })
}

/// A relative link, so that the cache can be moved; a copy where the file system has no links.
fn link(blob: &Path, pointer: &Path) -> Result<()> {
    let folder = pointer.parent().unwrap_or(pointer);
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    #[cfg(unix)]
    let linked = {
        let target: PathBuf = ["..", "..", "blobs"].iter().collect();
        std::os::unix::fs::symlink(target.join(blob.file_name().unwrap_or_default()), pointer)
    };
    #[cfg(not(unix))]
    let linked = {
        let staged = pointer.with_extension("copying");
        fs::copy(blob, &staged).and_then(|_| fs::rename(&staged, pointer))
    };
    match linked {
        Err(failed) if failed.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("create", pointer)(failed))
        }
        _ => Ok(()),
    }
}

/// How often, and after how long, a failure is followed by another try.
struct Patience {
    left: u32,
    pause: Duration,
}

impl Patience {
    fn new(pause: Duration) -> Self {
        Self { left: FRUITLESS, pause }
    }

    fn wait(&mut self, failure: Failure, progress: &mut dyn FnMut(HubEvent<'_>)) -> Result<()> {
        self.left -= 1;
        if !failure.is_transient || self.left == 0 {
            return Err(failure.into_error());
        }
        progress(HubEvent::Retry { reason: &failure.problem });
        thread::sleep(self.pause);
        self.pause *= 2;
        Ok(())
    }
}
