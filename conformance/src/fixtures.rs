//! Reading what transformers computed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// The folder of all fixtures.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// What `manifest.json` says of a set of files.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// Package to version.
    pub versions: BTreeMap<String, String>,
    /// File below `fixtures/` to SHA-256.
    pub files: BTreeMap<String, String>,
}

/// An array of a fixture. Half types are widened, integers and booleans kept apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The sizes.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data,
}

/// The elements of an [`Array`].
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// F32, or BF16 and F16 widened.
    Float(Vec<f32>),
    /// I64 or I32.
    Integer(Vec<i64>),
    /// BOOL or U8.
    Byte(Vec<u8>),
    /// F64.
    Double(Vec<f64>),
}

impl Array {
    /// The floats.
    ///
    /// # Panics
    /// For an array of another kind: the fixture is not what the test is about.
    pub fn floats(&self) -> &[f32] {
        match &self.data {
            Data::Float(values) => values,
            other => panic!("expected floats, found {other:?}"),
        }
    }

    /// The integers.
    ///
    /// # Panics
    /// As [`Array::floats`].
    pub fn integers(&self) -> &[i64] {
        match &self.data {
            Data::Integer(values) => values,
            other => panic!("expected integers, found {other:?}"),
        }
    }

    /// The doubles.
    ///
    /// # Panics
    /// As [`Array::floats`].
    pub fn doubles(&self) -> &[f64] {
        match &self.data {
            Data::Double(values) => values,
            other => panic!("expected doubles, found {other:?}"),
        }
    }

    /// The booleans.
    ///
    /// # Panics
    /// As [`Array::floats`].
    pub fn bools(&self) -> Vec<bool> {
        match &self.data {
            Data::Byte(values) => values.iter().map(|&byte| byte != 0).collect(),
            other => panic!("expected booleans, found {other:?}"),
        }
    }
}

/// The arrays of one file, by name.
#[derive(Clone, Debug, Default)]
pub struct Arrays(pub BTreeMap<String, Array>);

impl Arrays {
    /// Reads a `.safetensors` file below `fixtures/`.
    ///
    /// # Panics
    /// When it is missing or unreadable: `cargo xtask gen-fixtures` makes it.
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let arrays = tensors.iter().map(|(name, view)| {
            let bytes = view.data();
            let data = match view.dtype() {
                Dtype::F32 => Data::Float(words(bytes, f32::from_le_bytes)),
                Dtype::BF16 => Data::Float(words(bytes, |b| bf16::from_le_bytes(b).to_f32())),
                Dtype::F16 => Data::Float(words(bytes, |b| f16::from_le_bytes(b).to_f32())),
                Dtype::F64 => Data::Double(words(bytes, f64::from_le_bytes)),
                Dtype::I64 => Data::Integer(words(bytes, i64::from_le_bytes)),
                Dtype::I32 => Data::Integer(words(bytes, |b| i32::from_le_bytes(b).into())),
                Dtype::U8 | Dtype::BOOL => Data::Byte(bytes.to_vec()),
                other => panic!("{}: {name}: unexpected type {other:?}", path.display()),
            };
            (name.to_owned(), Array { shape: view.shape().to_vec(), data })
        });
        Self(arrays.collect())
    }

    /// An array by name.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, name: &str) -> &Array {
        self.0.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
    }
}

fn words<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&word| read(word)).collect()
}

/// Reads a JSON file.
///
/// # Panics
/// When it is missing or of another form.
pub fn json<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names of the cases in a folder below `fixtures/`, sorted.
///
/// # Panics
/// When the folder is missing or empty.
pub fn cases(folder: &str) -> Vec<String> {
    let path = root().join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{}: no case in it", path.display());
    names
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
