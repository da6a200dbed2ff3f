//! The box tree: sizes and names only, tolerant of what it does not know.
//!
//! Known leaf boxes are read by `mp4-atom`. Its whole-tree readers refuse a file for one odd box somewhere in the
//! metadata, which FFmpeg plays; so the tree is walked here and only the boxes that matter are given to it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use mp4_atom::Atom;

/// What is wrong with a container, to be joined with the path by the caller.
pub(crate) type Checked<T> = std::result::Result<T, String>;

/// A file whose every read is checked against its length.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    len: u64,
}

impl Source {
    /// Takes an open file.
    pub(crate) fn new(file: File) -> std::io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// Bytes in the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// A second handle on the same file, for a decoding thread.
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, len: self.len })
    }

    /// Reads `size` bytes at `offset`. Nothing is allocated unless the file is that long.
    pub(crate) fn read(&mut self, offset: u64, size: u64) -> Checked<Vec<u8>> {
        let end = offset.checked_add(size).filter(|&end| end <= self.len);
        let (Some(_), Ok(size)) = (end, usize::try_from(size)) else {
            return Err(format!("{size} bytes at {offset} are needed, the file ends at {}", self.len));
        };
        let mut bytes = vec![0; size];
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| error.to_string())?;
        self.file.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

/// Where one top-level box lies in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Its four-character name.
    pub(crate) kind: [u8; 4],
    /// Where the box starts, header included.
    pub(crate) start: u64,
    /// Where what it holds starts.
    pub(crate) body: u64,
    /// Where it ends; may lie past the end of a truncated file.
    pub(crate) end: u64,
}

/// Reads the header of the box at `start`; `None` at the end of the file or in a tail too short for a header.
pub(crate) fn box_at(source: &mut Source, start: u64) -> Checked<Option<Extent>> {
    let available = source.len().saturating_sub(start).min(16);
    if available < 8 {
        return Ok(None);
    }
    let head = source.read(start, available)?;
    let Some((kind, header, size)) = header(&head) else {
        return Ok(None);
    };
    let end = match size {
        None => source.len(),
        Some(size) if size < header => {
            return Err(format!("box {} at {start} has size {size}", name(kind)));
        }
        Some(size) => start.saturating_add(size),
    };
    Ok(Some(Extent { kind, start, body: start + header, end }))
}

/// The children of a box already in memory, in order. A damaged size ends the walk with an error.
pub(crate) fn children(mut bytes: &[u8]) -> impl Iterator<Item = Checked<([u8; 4], &[u8])>> {
    std::iter::from_fn(move || {
        let (kind, header, size) = header(bytes)?;
        let size = size.unwrap_or(bytes.len() as u64);
        // QuickTime ends some lists with zeros; a box of the whole remaining size 0 with no name is that.
        if kind == [0; 4] {
            return None;
        }
        let range = usize::try_from(header).ok().zip(usize::try_from(size).ok());
        let Some(body) = range.and_then(|(from, to)| bytes.get(from..to)) else {
            let found = bytes.len();
            bytes = &[];
            return Some(Err(format!("box {} claims {size} bytes, {found} are left", name(kind))));
        };
        bytes = &bytes[header as usize + body.len()..];
        Some(Ok((kind, body)))
    })
}

/// The body of the first child called `kind`.
pub(crate) fn child<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Checked<Option<&'a [u8]>> {
    for item in children(bytes) {
        let (found, body) = item?;
        if found == *kind {
            return Ok(Some(body));
        }
    }
    Ok(None)
}

/// The body at the end of a path of nested boxes, each of which must be there.
pub(crate) fn descend<'a>(mut bytes: &'a [u8], path: &[&[u8; 4]]) -> Checked<&'a [u8]> {
    for kind in path {
        bytes = child(bytes, kind)?.ok_or_else(|| format!("there is no {} box", name(**kind)))?;
    }
    Ok(bytes)
}

/// Reads a leaf box out of its body; bytes after what the standard defines are ignored.
pub(crate) fn leaf<A: Atom>(mut body: &[u8]) -> Checked<A> {
    A::decode_body(&mut body).map_err(|error| format!("{} box: {error}", A::KIND))
}

/// Reads the first child that is an `A`, if there is one.
pub(crate) fn leaf_of<A: Atom>(bytes: &[u8]) -> Checked<Option<A>> {
    child(bytes, &A::KIND.into())?.map(leaf).transpose()
}

/// A box name for messages; unprintable bytes are shown as escapes.
pub(crate) fn name(kind: [u8; 4]) -> String {
    kind.escape_ascii().to_string()
}

/// Name, header size and total size (`None`: up to the end of what contains it); `None` if too short.
fn header(bytes: &[u8]) -> Option<([u8; 4], u64, Option<u64>)> {
    let size = u32::from_be_bytes(*bytes.first_chunk()?);
    let kind = *bytes.get(4..)?.first_chunk()?;
    match size {
        0 => Some((kind, 8, None)),
        1 => Some((kind, 16, Some(u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?)))),
        _ => Some((kind, 8, Some(u64::from(size)))),
    }
}
