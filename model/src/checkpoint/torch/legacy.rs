//! What `torch.save` wrote before torch 1.6: five pickles, then the storages one after another.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Fault,
    pickle::{Node, Unpickled, Value, unpickle},
    records::MAX_PICKLE,
};

/// The first pickle holds a number that names the format. These are its protocol, its opcode and the number.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
/// The second pickle: the version of the format.
const VERSION: i64 = 1001;

/// How such a file begins.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The object that was saved, and where each storage lies.
pub(super) fn read(bytes: &[u8]) -> Result<(Unpickled<'_>, BTreeMap<String, Range<usize>>), Fault> {
    let mut position = MAGIC.len();
    let mut next = || {
        let rest = &bytes[position..];
        let unpickled = unpickle(&rest[..rest.len().min(MAX_PICKLE)])?;
        position += unpickled.length;
        Ok(unpickled)
    };
    let version = next()?.root;
    if version != Value::Int(VERSION) {
        return Err(Fault::new(format!("version {VERSION} of the format"), format!("{version:?}")));
    }
    let system = next()?;
    if let Some(Node::Dict(pairs)) = system.node(system.root)
        && pairs.contains(&(Value::Str("little_endian"), Value::Bool(false)))
    {
        return Err(Fault::new("little-endian storages", "big-endian ones"));
    }
    let object = next()?;
    let keys = next()?;
    let Some(Node::List(keys)) = keys.node(keys.root) else {
        return Err(Fault::new("a list of storages", "something else"));
    };
    let storages = storages(bytes, position, &object, keys)?;
    Ok((object, storages))
}

/// Each storage is its length in elements, in eight bytes, and then its elements.
fn storages(
    bytes: &[u8],
    mut position: usize,
    object: &Unpickled<'_>,
    keys: &[Value<'_>],
) -> Result<BTreeMap<String, Range<usize>>, Fault> {
    let sizes: BTreeMap<&str, usize> = object
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Storage(storage) => Some((storage.record, storage.element.size())),
            _ => None,
        })
        .collect();
    let mut storages = BTreeMap::new();
    for key in keys {
        let Value::Str(key) = *key else {
            return Err(Fault::new("the names of storages", format!("{key:?}")));
        };
        let Some(size) = sizes.get(key) else {
            return Err(Fault::new("the names of storages in use", format!("{key:?}")));
        };
        let truncated = || Fault::new(format!("the whole of storage {key}"), "the end of the file");
        let (length, _) = bytes[position..].split_first_chunk::<8>().ok_or_else(truncated)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|n| n.checked_mul(*size));
        let start = position + 8;
        let end = length.and_then(|length| start.checked_add(length)).filter(|&end| end <= bytes.len());
        let end = end.ok_or_else(truncated)?;
        if storages.insert(key.to_owned(), start..end).is_some() {
            return Err(Fault::new("every storage once", format!("{key} twice")));
        }
        position = end;
    }
    Ok(storages)
}
