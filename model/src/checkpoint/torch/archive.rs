//! One file of `torch.save`, as a set of named tensors.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use kernels_backend::DType;

use super::{
    Fault,
    globals::Element,
    legacy,
    pickle::{Node, StridedTensor, Unpickled, Value, unpickle},
    records::{self, Records},
    strided::Strided,
};
use crate::{
    Error, Result,
    checkpoint::{TensorInfo, WeightData, archive::Bytes},
};

/// What holds the weights inside the object that a training script saved: the authors' scripts, DeepSpeed, others.
const CONTAINERS: [&str; 3] = ["model", "module", "state_dict"];

/// A file whose every tensor has been checked against its length.
pub(in crate::checkpoint) struct TorchArchive {
    file: String,
    bytes: Bytes,
    container: Option<String>,
    tensors: BTreeMap<String, Entry>,
}

/// A tensor of the file.
pub(super) struct Entry {
    pub(super) storage: Range<usize>,
    pub(super) element: Element,
    pub(super) view: Strided,
}

impl TorchArchive {
    /// Whether a file is one of `torch.save`, going by its first bytes. No safetensors file begins so: its header
    /// would have to be longer than any we read.
    pub(in crate::checkpoint) fn recognises(bytes: &[u8]) -> bool {
        records::is_zip(bytes) || legacy::is_legacy(bytes)
    }

    pub(in crate::checkpoint) fn new(file: String, bytes: Bytes) -> Result<Self> {
        let refused = |fault: Fault| Error::Malformed {
            file: file.clone(),
            expected: fault.expected,
            found: fault.found,
        };
        let (object, storages) = read(&bytes).map_err(refused)?;
        let (container, found) = weights(&object).map_err(refused)?;
        let mut tensors = BTreeMap::new();
        for (key, tensor) in found {
            let entry =
                Entry::new(tensor, &storages).and_then(|entry| match tensors.insert(key.to_owned(), entry) {
                    None => Ok(()),
                    Some(_) => Err(("every key once".to_owned(), "two tensors".to_owned())),
                });
            entry.map_err(|(expected, found)| Error::Tensor {
                file: file.clone(),
                tensor: key.to_owned(),
                expected,
                found,
            })?;
        }
        let container = container.map(str::to_owned);
        drop(object);
        Ok(Self { file, bytes, container, tensors })
    }

    pub(in crate::checkpoint) fn file(&self) -> &str {
        &self.file
    }

    /// The key under which the weights lie, where they are not the whole of what was saved.
    pub(in crate::checkpoint) fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    pub(in crate::checkpoint) fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(in crate::checkpoint) fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        let Some(entry) = self.tensors.get(key) else { return Ok(None) };
        Ok(Some(TensorInfo { shape: entry.view.shape().to_vec(), dtype: self.dtype(key, entry.element)? }))
    }

    pub(in crate::checkpoint) fn release(&self, part: &[u8]) {
        self.bytes.release(part);
    }

    pub(in crate::checkpoint) fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        let Some(entry) = self.tensors.get(key) else { return Ok(None) };
        let dtype = self.dtype(key, entry.element)?;
        let bytes = entry.view.bytes(&self.bytes[entry.storage.clone()], entry.element.size());
        let bytes = match entry.element {
            Element::F64 => Cow::Owned(self.narrowed(key, &bytes)?),
            _ => bytes,
        };
        WeightData::new(entry.view.shape(), dtype, bytes).map(Some)
    }

    /// Double precision is read as single, as torch would copy it into a model.
    fn dtype(&self, key: &str, element: Element) -> Result<DType> {
        match element {
            Element::F64 | Element::F32 => Ok(DType::F32),
            Element::F16 => Ok(DType::F16),
            Element::Bf16 => Ok(DType::Bf16),
            Element::Other(name, _) => {
                Err(self.wrong(key, "type float64, float32, float16 or bfloat16", name.to_owned()))
            }
        }
    }

    fn narrowed(&self, key: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut narrow = Vec::with_capacity(bytes.len() / 2);
        for wide in bytes.as_chunks::<8>().0 {
            let wide = f64::from_le_bytes(*wide);
            let number = wide as f32;
            if wide.is_finite() && !number.is_finite() {
                return Err(self.wrong(
                    key,
                    "numbers within the range of single precision",
                    wide.to_string(),
                ));
            }
            narrow.extend_from_slice(&number.to_le_bytes());
        }
        Ok(narrow)
    }

    fn wrong(&self, key: &str, expected: &str, found: String) -> Error {
        Error::Tensor {
            file: self.file.clone(),
            tensor: key.to_owned(),
            expected: expected.to_owned(),
            found,
        }
    }
}

impl Entry {
    pub(super) fn new(
        tensor: &StridedTensor<'_>,
        storages: &Storages,
    ) -> std::result::Result<Self, (String, String)> {
        let StridedTensor { storage, offset, shape, strides } = tensor;
        let Some(range) = storages.get(storage.record) else {
            let found = format!("no record {:?}", storage.record);
            return Err(("its storage in the file".to_owned(), found));
        };
        let wanted = storage.length.checked_mul(storage.element.size());
        if wanted.is_none_or(|wanted| wanted > range.len()) {
            let expected = format!("a storage of {} elements", storage.length);
            return Err((expected, format!("{} bytes", range.len())));
        }
        let view = Strided::new(shape, strides, *offset, storage.length)?;
        Ok(Self { storage: range.clone(), element: storage.element, view })
    }
}

/// Where the bytes of each storage lie in a file, by the name that its pickle uses.
pub(super) type Storages = BTreeMap<String, Range<usize>>;

/// What was saved, in either container.
pub(super) fn read(bytes: &[u8]) -> std::result::Result<(Unpickled<'_>, Storages), Fault> {
    if legacy::is_legacy(bytes) {
        return legacy::read(bytes);
    }
    let Records { pickle, storages } = records::read(bytes)?;
    Ok((unpickle(&bytes[pickle])?, storages))
}

type Named<'o, 'a> = Vec<(&'a str, &'o StridedTensor<'a>)>;

/// The dictionary of tensors in what was saved, and the key it lies under.
fn weights<'o, 'a>(
    object: &'o Unpickled<'a>,
) -> std::result::Result<(Option<&'a str>, Named<'o, 'a>), Fault> {
    let Some(Node::Dict(root)) = object.node(object.root) else {
        return Err(Fault::new("a dictionary of tensors", "another object"));
    };
    for container in CONTAINERS {
        // Of two equal keys Python keeps the last.
        let inner = root.iter().rev().find(|(key, _)| *key == Value::Str(container));
        if let Some(Node::Dict(pairs)) = inner.and_then(|&(_, value)| object.node(value)) {
            let tensors = tensors(object, pairs);
            if !tensors.is_empty() {
                return Ok((Some(container), tensors));
            }
        }
    }
    let tensors = tensors(object, root);
    if !tensors.is_empty() || root.is_empty() {
        return Ok((None, tensors));
    }
    // Enough of them to tell what the file is.
    let keys: Vec<_> = root
        .iter()
        .take(10)
        .map(|(key, _)| match key {
            Value::Str(key) => format!("{key:?}"),
            _ => "another kind of key".to_owned(),
        })
        .collect();
    let expected = format!("tensors, or a dictionary of them under one of {}", CONTAINERS.join(", "));
    Err(Fault::new(expected, format!("only {}", keys.join(", "))))
}

fn tensors<'o, 'a>(object: &'o Unpickled<'a>, pairs: &[(Value<'a>, Value<'a>)]) -> Named<'o, 'a> {
    pairs
        .iter()
        .filter_map(|&(key, value)| match (key, object.node(value)) {
            (Value::Str(key), Some(Node::Tensor(tensor))) => Some((key, &**tensor)),
            _ => None,
        })
        .collect()
}
