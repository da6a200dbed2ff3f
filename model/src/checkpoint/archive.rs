//! One file of weights, in any format.

use std::{borrow::Cow, ops::Deref, path::Path};

use super::{TensorInfo, WeightData, bytes::FileBytes, safetensors::SafetensorsArchive, torch::TorchArchive};
use crate::Result;

/// A whole file, mapped or read.
pub(super) trait Content: Deref<Target = [u8]> + Send + Sync {
    /// Gives back the memory that `part` takes, where it is a part of a mapped file; it can be read again all the same.
    fn release(&self, _part: &[u8]) {}
}

impl Content for Cow<'static, [u8]> {}

pub(super) type Bytes = Box<dyn Content>;

/// A file whose description of its tensors has been checked against its length.
pub(super) enum Archive {
    Safetensors(SafetensorsArchive),
    Torch(TorchArchive),
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::new(path.display().to_string(), Box::new(FileBytes::open(path)?))
    }

    /// Bytes already in memory; `name` stands for the file in messages.
    pub(super) fn from_bytes(name: &str, bytes: Cow<'static, [u8]>) -> Result<Self> {
        Self::new(name.to_owned(), Box::new(bytes))
    }

    /// The content decides, not the name: both formats are found under names of the other.
    fn new(file: String, bytes: Bytes) -> Result<Self> {
        match TorchArchive::recognises(&bytes) {
            true => TorchArchive::new(file, bytes).map(Self::Torch),
            false => SafetensorsArchive::new(file, bytes).map(Self::Safetensors),
        }
    }

    pub(super) fn file(&self) -> &str {
        match self {
            Self::Safetensors(archive) => archive.file(),
            Self::Torch(archive) => archive.file(),
        }
    }

    /// What the file is, for people.
    pub(super) fn format(&self) -> String {
        match self {
            Self::Safetensors(_) => "safetensors".to_owned(),
            Self::Torch(archive) => match archive.container() {
                None => "torch.save".to_owned(),
                Some(container) => format!("torch.save, weights under {container:?}"),
            },
        }
    }

    pub(super) fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Safetensors(archive) => Box::new(archive.keys()),
            Self::Torch(archive) => Box::new(archive.keys()),
        }
    }

    pub(super) fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        match self {
            Self::Safetensors(archive) => archive.info(key),
            Self::Torch(archive) => archive.info(key),
        }
    }

    pub(super) fn release(&self, part: &[u8]) {
        match self {
            Self::Safetensors(archive) => archive.release(part),
            Self::Torch(archive) => archive.release(part),
        }
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        match self {
            Self::Safetensors(archive) => archive.get(key),
            Self::Torch(archive) => archive.get(key),
        }
    }
}
