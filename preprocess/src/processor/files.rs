//! Finding, reading and writing the files of a processor.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::options::invalid;
use crate::{Error, Result};

/// The file of transformers 5 that holds the processors of a model side by side, each under its own entry.
const NESTED: &str = "processor_config.json";

/// Processor files have under a kilobyte; a megabyte is something else.
const MAX_BYTES: u64 = 1 << 20;

/// Where a processor is kept inside a directory.
pub(super) struct Names {
    /// The entry in [`NESTED`], which goes before the files.
    nested_entry: &'static str,
    /// The files, the one to write first.
    files: &'static [&'static str],
}

pub(super) const IMAGE: Names =
    Names { nested_entry: "image_processor", files: &["preprocessor_config.json"] };

pub(super) const VIDEO: Names = Names {
    nested_entry: "video_processor",
    files: &["video_preprocessor_config.json", "preprocessor_config.json"],
};

/// Finds the text for `names` under `path`, a file or a directory, and parses it.
pub(super) fn load<T>(path: &Path, names: &Names, parse: impl Fn(Vec<u8>) -> Result<T>) -> Result<T> {
    if !path.is_dir() {
        return parse(read(path)?).map_err(|error| in_file(path, error));
    }
    if let Some(text) = nested(path, names)? {
        return parse(text).map_err(|error| in_file(&path.join(NESTED), error));
    }
    let found = names.files.iter().map(|name| path.join(name)).find(|file| file.exists());
    let Some(file) = found else {
        let looked_for = [&[NESTED], names.files].concat().join(", ");
        return Err(Error::NoConfiguration { directory: path.to_owned(), looked_for });
    };
    parse(read(&file)?).map_err(|error| in_file(&file, error))
}

/// Writes `text` under the first of the `names`, whole or not at all.
pub(super) fn save(directory: &Path, names: &Names, text: &str) -> Result<PathBuf> {
    let file = directory.join(names.files[0]);
    let io = |source| Error::Io { path: file.clone(), source };
    std::fs::create_dir_all(directory).map_err(io)?;
    if nested(directory, names)?.is_some() {
        let expected = format!("no entry {:?}, which would go before the file saved", names.nested_entry);
        return Err(in_file(&directory.join(NESTED), invalid("save_pretrained", expected, "one")));
    }
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
    temporary.write_all(text.as_bytes()).map_err(io)?;
    // Temporary files are for their owner only; a checkpoint is shared like its other files.
    make_readable(temporary.as_file()).map_err(io)?;
    temporary.persist(&file).map_err(|error| io(error.error))?;
    Ok(file)
}

/// The entry of these `names` in the nested file, as text of its own.
fn nested(directory: &Path, names: &Names) -> Result<Option<Vec<u8>>> {
    let file = directory.join(NESTED);
    if !file.exists() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(&read(&file)?).map_err(|error| in_file(&file, error.into()))?;
    Ok(value.get(names.nested_entry).map(|entry| entry.to_string().into_bytes()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_BYTES {
        let expected = format!("at most {MAX_BYTES} bytes");
        return Err(in_file(path, invalid("processor configuration", expected, "more")));
    }
    Ok(text)
}

fn in_file(path: &Path, source: Error) -> Error {
    Error::InFile { path: path.to_owned(), source: Box::new(source) }
}

#[cfg(unix)]
fn make_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> std::io::Result<()> {
    Ok(())
}
