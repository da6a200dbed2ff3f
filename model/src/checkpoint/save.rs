//! Writes a checkpoint directory that every generation of transformers reads.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use kernels_backend::DType;
use safetensors::tensor::{Dtype, Metadata, TensorInfo as Entry};
use serde_json::json;

use super::{Architecture, Checkpoint, LoadOptions, WeightData, WeightLoader, WeightSource, keys::stored};
use crate::{Error, Result, VideoMAEConfig, files::Staged};

/// How weights are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// The element type in the file; `None` keeps that of the source.
    pub dtype: Option<DType>,
    /// Starts a new file before one would hold more bytes of tensors than this. A larger tensor has a file of
    /// its own. `None` writes one file.
    pub max_shard_size: Option<u64>,
}

/// Writes `config.json` and the weights of one model into `directory`, which is made if it is missing.
///
/// Biases are written as `q_bias` and `v_bias`, which transformers 4 and 5 both read; the `videomae.` prefix is
/// left out for a bare [`Architecture::Model`]. One tensor at a time is in memory, so a source that copies from a
/// device needs room for no more. Files appear under their names once all are complete; those of an earlier
/// checkpoint that they do not replace are removed then, because they would be read in their stead.
///
/// # Errors
/// As [`WeightLoader::new`] when `source` does not hold the whole model; [`Error::Tensor`] for a number too large
/// for the type asked for; [`Error::Io`]. Nothing is left behind then.
pub fn save_pretrained(
    directory: impl AsRef<Path>,
    config: &VideoMAEConfig,
    architecture: Architecture,
    source: &dyn WeightSource,
    options: &SaveOptions,
) -> Result<()> {
    let directory = directory.as_ref();
    let loader = WeightLoader::new(source, config, architecture, LoadOptions::default())?;
    let tensors = plan(&loader, config, architecture, options)?;
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;

    let shards = split(&tensors, options.max_shard_size);
    let names = shard_names(shards.len());
    let mut staged = Staged::default();
    for (name, shard) in names.iter().zip(&shards) {
        let path = directory.join(name);
        staged.write(&path, |writer| write_archive(writer, &path, shard, &loader))?;
    }
    let mut written = names.clone();
    if shards.len() > 1 {
        let index = index(&names, &shards);
        let path = directory.join(Checkpoint::INDEX_NAME);
        staged
            .write(&path, |writer| writer.write_all(index.as_bytes()).map_err(Error::io("write", &path)))?;
        written.push(Checkpoint::INDEX_NAME.to_owned());
    }
    let config = saved_config(config, architecture, &tensors).to_json();
    let path = directory.join(VideoMAEConfig::FILE_NAME);
    staged.write(&path, |writer| writer.write_all(config.as_bytes()).map_err(Error::io("write", &path)))?;
    staged.commit()?;
    remove_stale(directory, &written)
}

/// A tensor on its way to a file.
struct Outgoing {
    /// As the model knows it.
    key: String,
    /// As the file spells it.
    name: String,
    shape: Vec<usize>,
    dtype: DType,
}

impl Outgoing {
    /// In 64 bits also where an address has 32: a checkpoint may be larger than memory.
    fn bytes(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product::<u64>() * self.dtype.size() as u64
    }
}

fn plan(
    loader: &WeightLoader<'_>,
    config: &VideoMAEConfig,
    architecture: Architecture,
    options: &SaveOptions,
) -> Result<Vec<Outgoing>> {
    let prefixed = architecture != Architecture::Model;
    let outgoing = |spec: super::TensorSpec| {
        let dtype = match options.dtype {
            Some(dtype) => dtype,
            None => loader.dtype(&spec.key)?,
        };
        let name = stored(&spec.key, prefixed);
        Ok(Outgoing { key: spec.key, name, shape: spec.shape, dtype })
    };
    let mut tensors = architecture.tensors(config)?.into_iter().map(outgoing).collect::<Result<Vec<_>>>()?;
    // Wide elements first keeps every tensor aligned to its elements.
    tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.size()));
    Ok(tensors)
}

/// The config as transformers would write it for this model.
fn saved_config(config: &VideoMAEConfig, architecture: Architecture, tensors: &[Outgoing]) -> VideoMAEConfig {
    let first = tensors.first().map(|tensor| tensor.dtype);
    let dtype = first.filter(|&dtype| tensors.iter().all(|tensor| tensor.dtype == dtype));
    VideoMAEConfig { dtype, architectures: vec![architecture.class_name().to_owned()], ..config.clone() }
}

/// Fills one shard after another, in order.
fn split(tensors: &[Outgoing], max_shard_size: Option<u64>) -> Vec<&[Outgoing]> {
    let Some(limit) = max_shard_size else { return vec![tensors] };
    let mut shards = Vec::new();
    let (mut start, mut size) = (0, 0u64);
    for (i, tensor) in tensors.iter().enumerate() {
        let bytes = tensor.bytes();
        if i > start && size.saturating_add(bytes) > limit {
            shards.push(&tensors[start..i]);
            (start, size) = (i, 0);
        }
        size = size.saturating_add(bytes);
    }
    shards.push(&tensors[start..]);
    shards
}

fn shard_names(count: usize) -> Vec<String> {
    match count {
        1 => vec![Checkpoint::FILE_NAME.to_owned()],
        _ => (1..=count).map(|i| format!("model-{i:05}-of-{count:05}.safetensors")).collect(),
    }
}

fn index(names: &[String], shards: &[&[Outgoing]]) -> String {
    let total: u64 = shards.iter().flat_map(|shard| shard.iter()).map(Outgoing::bytes).sum();
    let weight_map: BTreeMap<&str, &str> = names
        .iter()
        .zip(shards)
        .flat_map(|(name, shard)| shard.iter().map(|tensor| (tensor.name.as_str(), name.as_str())))
        .collect();
    format!("{:#}\n", json!({ "metadata": { "total_size": total }, "weight_map": weight_map }))
}

/// Header, then tensors. The `format` in the metadata is what transformers insists on.
fn write_archive(
    writer: &mut dyn Write,
    path: &Path,
    tensors: &[Outgoing],
    loader: &WeightLoader<'_>,
) -> Result<()> {
    let malformed = |found: String| Error::Malformed {
        file: path.display().to_string(),
        expected: "tensors that a safetensors file can hold".to_owned(),
        found,
    };
    let mut offset = 0usize;
    let mut entries = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let end = usize::try_from(tensor.bytes()).ok().and_then(|bytes| offset.checked_add(bytes));
        let end =
            end.ok_or_else(|| malformed("more bytes than can be addressed; use smaller shards".to_owned()))?;
        let dtype = match tensor.dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::Bf16 => Dtype::BF16,
            other => return Err(malformed(format!("{} of type {other}", tensor.key))),
        };
        let entry = Entry { dtype, shape: tensor.shape.clone(), data_offsets: (offset, end) };
        entries.push((tensor.name.clone(), entry));
        offset = end;
    }
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(format), entries).map_err(|e| malformed(e.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| malformed(e.to_string()))?;
    // Spaces align the data to eight bytes, as the format recommends.
    header.resize(header.len().next_multiple_of(8), b' ');
    let write =
        |writer: &mut dyn Write, bytes: &[u8]| writer.write_all(bytes).map_err(Error::io("write", path));
    write(writer, &(header.len() as u64).to_le_bytes())?;
    write(writer, &header)?;
    for tensor in tensors {
        let data = loader.root().tensor(&tensor.key, &tensor.shape)?;
        write(writer, &converted(&data, tensor)?)?;
    }
    Ok(())
}

/// The bytes of a tensor in another element type, rounded to nearest even as torch does.
fn converted<'d>(data: &'d WeightData<'_>, tensor: &Outgoing) -> Result<Cow<'d, [u8]>> {
    if data.dtype() == tensor.dtype {
        return Ok(Cow::Borrowed(data.bytes()));
    }
    let values = data.to_f32()?;
    let overflows = |x: f32| {
        let narrow = match tensor.dtype {
            DType::F16 => f16::from_f32(x).to_f32(),
            DType::Bf16 => bf16::from_f32(x).to_f32(),
            _ => x,
        };
        x.is_finite() && !narrow.is_finite()
    };
    if let Some(x) = values.iter().find(|&&x| overflows(x)) {
        return Err(Error::Tensor {
            file: "save".to_owned(),
            tensor: tensor.key.clone(),
            expected: format!("numbers within the range of {}", tensor.dtype),
            found: x.to_string(),
        });
    }
    Ok(Cow::Owned(match tensor.dtype {
        DType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
        DType::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }))
}

/// Removes the weights of an earlier checkpoint that was split otherwise.
fn remove_stale(directory: &Path, written: &[String]) -> Result<()> {
    let entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(Error::io("list", directory))?;
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if is_weights(name) && !written.iter().any(|kept| kept == name) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether [`save_pretrained`] could have written a file of this name.
fn is_weights(name: &str) -> bool {
    let shard = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_number = |digits: &str| digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
    let is_shard = shard
        .and_then(|numbers| numbers.split_once("-of-"))
        .is_some_and(|(i, count)| is_number(i) && is_number(count));
    is_shard || name == Checkpoint::FILE_NAME || name == Checkpoint::INDEX_NAME
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::FreshWeights;

    /// A disk with room for so many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.0.min(bytes.len()) {
                0 if !bytes.is_empty() => Err(std::io::ErrorKind::StorageFull.into()),
                room => {
                    self.0 -= room;
                    Ok(room)
                }
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_an_error_at_whichever_byte_it_fills() {
        let config = VideoMAEConfig { hidden_size: 24, num_hidden_layers: 1, ..VideoMAEConfig::base() };
        let source = FreshWeights::new(&config, Architecture::Model, 1).unwrap();
        let load =
            || WeightLoader::new(&source, &config, Architecture::Model, LoadOptions::default()).unwrap();
        let tensors = plan(&load(), &config, Architecture::Model, &SaveOptions::default()).unwrap();
        let data: u64 = tensors.iter().map(Outgoing::bytes).sum();
        let mut whole = Vec::new();
        write_archive(&mut whole, Path::new("f"), &tensors, &load()).unwrap();
        assert!(whole.len() as u64 > data);
        for room in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            let error = write_archive(&mut Disk(room), Path::new("f"), &tensors, &load()).unwrap_err();
            assert!(matches!(error, Error::Io { action: "write", .. }), "{room}: {error}");
        }
        write_archive(&mut Disk(whole.len()), Path::new("f"), &tensors, &load()).unwrap();
    }

    #[test]
    fn only_our_own_names_count_as_stale() {
        for name in ["model.safetensors", "model.safetensors.index.json", "model-00001-of-00002.safetensors"]
        {
            assert!(is_weights(name), "{name}");
        }
        for name in ["config.json", "model-1-of-2.safetensors", "model-00001.safetensors", "my.safetensors"] {
            assert!(!is_weights(name), "{name}");
        }
    }
}
