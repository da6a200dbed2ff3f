//! A mask in a file of its own, as `torch.save(bool_masked_pos, "mask.pt")` writes it.

use std::path::Path;

use super::{
    TorchArchive,
    archive::{Entry, read},
    globals::Element,
    pickle::Node,
};
use crate::{Error, Result, checkpoint::bytes::FileBytes};

/// A tensor of truth values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMask {
    /// Row-major, true where a token is masked.
    pub bool_masked_pos: Vec<bool>,
    /// (B, N) for a mask that a model takes.
    pub shape: Vec<usize>,
}

/// Reads a file of `torch.save` that holds one tensor of type bool and nothing else.
///
/// As with weights, nothing in the file is run.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for another kind of file or of object; [`Error::Tensor`] for a tensor of
/// another type, or one that does not lie in the file.
pub fn read_mask(path: impl AsRef<Path>) -> Result<StoredMask> {
    let path = path.as_ref();
    let file = path.display().to_string();
    let bytes = FileBytes::open(path)?;
    let malformed =
        |expected: String, found: String| Error::Malformed { file: file.clone(), expected, found };
    if !TorchArchive::recognises(&bytes) {
        return Err(malformed("a file of torch.save".to_owned(), "another format".to_owned()));
    }
    let (object, storages) = read(&bytes).map_err(|fault| malformed(fault.expected, fault.found))?;
    let Some(Node::Tensor(tensor)) = object.node(object.root) else {
        return Err(malformed("one tensor".to_owned(), "another object".to_owned()));
    };
    let wrong = |(expected, found): (String, String)| Error::Tensor {
        file: file.clone(),
        tensor: "bool_masked_pos".to_owned(),
        expected,
        found,
    };
    let entry = Entry::new(tensor, &storages).map_err(wrong)?;
    // Other types are refused even if they hold zeros and ones: as indices they mean something else in torch.
    if entry.element != Element::Other("bool", 1) {
        return Err(wrong(("type bool".to_owned(), entry.element.name().to_owned())));
    }
    let truth = |&byte: &u8| match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(wrong(("bytes 0 and 1".to_owned(), other.to_string()))),
    };
    let bytes = entry.view.bytes(&bytes[entry.storage.clone()], 1);
    Ok(StoredMask {
        bool_masked_pos: bytes.iter().map(truth).collect::<Result<_>>()?,
        shape: entry.view.shape().to_vec(),
    })
}
