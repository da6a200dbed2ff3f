//! A checkpoint on disk: one file, or shards with an index.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use super::{TensorInfo, WeightData, WeightSource, archive::Archive};
use crate::{Error, Result, files};

/// The index of VideoMAE-huge takes 50 kB; a file beyond this is something else.
const MAX_INDEX_BYTES: u64 = 32 << 20;

/// The weights of a checkpoint, mapped into memory (feature `mmap`) or read: safetensors, or what `torch.save` writes.
///
/// Pickled files (`pytorch_model.bin`, `.pth`) are read without running anything: only names that rebuild tensors
/// are understood, and any other name in one is an error. Inside what a training script saved, weights are found
/// under `model`, `module` or `state_dict`. Double precision becomes single.
///
/// Only what is asked for is paged in, it is handed to the backend where it lies, and paged out again once that has
/// packed it: a model never takes its size twice.
pub struct Checkpoint {
    path: PathBuf,
    archives: Vec<Archive>,
    /// Key to position in `archives`.
    keys: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// The file's name inside a directory.
    pub const FILE_NAME: &'static str = "model.safetensors";
    /// The index's name inside a directory of shards.
    pub const INDEX_NAME: &'static str = "model.safetensors.index.json";
    /// What files were called before safetensors: the whole, and the index of shards.
    const PICKLED_NAMES: [&'static str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

    /// Opens a directory, a file of weights, or the index of a sharded checkpoint. In a directory
    /// `model.safetensors` comes before its index, and both before `pytorch_model.bin` and its index, as in the
    /// reference.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] or [`Error::Tensor`] for a file that is not what its header says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_dir() {
            return match path.extension().is_some_and(|extension| extension == "json") {
                true => Self::sharded(path, path),
                false => Self::gather(path, vec![Archive::open(path)?]),
            };
        }
        let [single, index] = [Self::FILE_NAME, Self::INDEX_NAME].map(|name| path.join(name));
        let [pickled, pickled_index] = Self::PICKLED_NAMES.map(|name| path.join(name));
        for (single, index) in [(single, index), (pickled, pickled_index)] {
            if single.exists() {
                return Self::gather(path, vec![Archive::open(&single)?]);
            }
            if index.exists() {
                return Self::sharded(path, &index);
            }
        }
        Err(Error::Malformed {
            file: path.display().to_string(),
            expected: format!("{}, {} or an index of shards", Self::FILE_NAME, Self::PICKLED_NAMES[0]),
            found: "none of them".to_owned(),
        })
    }

    /// Takes a whole file of weights that is in memory, such as one inside a program; `name` stands for it in
    /// messages.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self> {
        Self::gather(Path::new(name), vec![Archive::from_bytes(name, bytes.into())?])
    }

    /// Every file with its format, in words.
    pub fn files(&self) -> impl Iterator<Item = (&str, String)> {
        self.archives.iter().map(|archive| (archive.file(), archive.format()))
    }

    fn sharded(path: &Path, index_path: &Path) -> Result<Self> {
        let weight_map = read_index(index_path)?;
        let directory = index_path.parent().unwrap_or(Path::new("."));
        let shards: BTreeSet<&String> = weight_map.values().collect();
        let archives: Vec<_> =
            shards.iter().map(|shard| Archive::open(&directory.join(shard))).collect::<Result<_>>()?;
        let checkpoint = Self::gather(path, archives)?;
        for (key, shard) in &weight_map {
            let holder = checkpoint.archive(key);
            if holder.is_none_or(|archive| Path::new(archive.file()) != directory.join(shard)) {
                return Err(Error::Tensor {
                    file: index_path.display().to_string(),
                    tensor: key.clone(),
                    expected: format!("to be in {shard}"),
                    found: holder.map_or("it in no shard".to_owned(), |a| format!("it in {}", a.file())),
                });
            }
        }
        Ok(checkpoint)
    }

    fn gather(path: &Path, archives: Vec<Archive>) -> Result<Self> {
        let mut keys = BTreeMap::new();
        for (i, archive) in archives.iter().enumerate() {
            for key in archive.keys() {
                if let Some(first) = keys.insert(key.to_owned(), i) {
                    let first: &Archive = &archives[first];
                    return Err(Error::Tensor {
                        file: archive.file().to_owned(),
                        tensor: key.to_owned(),
                        expected: "every tensor in one shard".to_owned(),
                        found: format!("it in {} as well", first.file()),
                    });
                }
            }
        }
        Ok(Self { path: path.to_owned(), archives, keys })
    }

    fn archive(&self, key: &str) -> Option<&Archive> {
        self.keys.get(key).map(|&i| &self.archives[i])
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, archives, keys } = self;
        write!(f, "Checkpoint {} of {} tensors in {} files", path.display(), keys.len(), archives.len())
    }
}

impl WeightSource for Checkpoint {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        self.archive(key).map_or(Ok(None), |archive| archive.info(key))
    }

    fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        self.archive(key).map_or(Ok(None), |archive| archive.get(key))
    }

    fn release(&self, data: &WeightData<'_>) {
        self.archives.iter().for_each(|archive| archive.release(data.bytes()));
    }
}

/// Key to file name, every name that of a file beside the index.
pub(crate) fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }

    let file = || path.display().to_string();
    let text = files::read_text(path, MAX_INDEX_BYTES)?;
    let index: Index = serde_json::from_str(&text).map_err(|reason| Error::Json { file: file(), reason })?;
    for (key, shard) in &index.weight_map {
        // A path could lead out of the directory and make us open any file of the machine.
        let mut steps = Path::new(shard).components();
        let is_name = matches!((steps.next(), steps.next()), (Some(Component::Normal(_)), None));
        if !is_name || shard.contains(['/', '\\']) {
            return Err(Error::Tensor {
                file: file(),
                tensor: key.clone(),
                expected: "the name of a file in the same directory".to_owned(),
                found: format!("{shard:?}"),
            });
        }
    }
    if index.weight_map.is_empty() {
        let expected = "a weight_map with at least one tensor".to_owned();
        return Err(Error::Malformed { file: file(), expected, found: "an empty one".to_owned() });
    }
    Ok(index.weight_map)
}
