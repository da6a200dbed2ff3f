//! Where weights come from: a file, memory, or a generator.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use kernels_backend::{DType, Shape, View};

use crate::{Error, Result};

/// Named tensors to build a model from. Keys are those of transformers, in any dialect, with or without the
/// `videomae.` prefix; the [`WeightLoader`](super::WeightLoader) reconciles them.
pub trait WeightSource {
    /// What to call this source in messages: a path, or what it is.
    fn name(&self) -> String;

    /// Every key, each once.
    fn keys(&self) -> Vec<String>;

    /// The sizes and type of the tensor stored under exactly this key; `None` when there is none. Worth
    /// overriding where they are known without the content.
    ///
    /// # Errors
    /// As [`WeightSource::get`].
    fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        Ok(self.get(key)?.map(|data| TensorInfo { shape: data.shape, dtype: data.dtype }))
    }

    /// The tensor stored under exactly this key; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the tensor exists but cannot be read as weights.
    fn get(&self, key: &str) -> Result<Option<WeightData<'_>>>;

    /// Says that a tensor that [`WeightSource::get`] gave has been used. A source may give back its memory; it must still
    /// be able to give the tensor again.
    fn release(&self, _data: &WeightData<'_>) {}

    /// What the file calls the tensor that is `key` here, for people. Worth overriding where that is another name.
    fn stored_name(&self, key: &str) -> String {
        key.to_owned()
    }
}

/// What a tensor is, without what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: DType,
}

/// One tensor: borrowed from a mapped file, or made for this call.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightData<'a> {
    shape: Vec<usize>,
    dtype: DType,
    bytes: Cow<'a, [u8]>,
}

impl<'a> WeightData<'a> {
    /// Little-endian elements in row-major order.
    ///
    /// # Errors
    /// [`Error::Input`] when the bytes are not those of `shape` and `dtype`.
    pub fn new(shape: &[usize], dtype: DType, bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        let wanted = shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
        if wanted != Some(bytes.len()) {
            let expected = format!("the bytes of {dtype} {shape:?}");
            return Err(Error::input("weight", expected, format!("{} bytes", bytes.len())));
        }
        Ok(Self { shape: shape.to_vec(), dtype, bytes })
    }

    /// Single-precision elements in row-major order.
    ///
    /// # Errors
    /// As [`WeightData::new`].
    pub fn f32(shape: &[usize], data: &[f32]) -> Result<Self> {
        let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::new(shape, DType::F32, bytes)
    }

    /// The sizes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// All bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a backend uploads or packs.
    ///
    /// # Errors
    /// [`Error::Input`] with more dimensions than a [`Shape`] holds; no weight of a VideoMAE has so many.
    pub fn view(&self) -> Result<View<'_>> {
        if self.shape.len() > Shape::MAX_RANK {
            let expected = format!("at most {} dimensions", Shape::MAX_RANK);
            return Err(Error::input("weight", expected, self.shape.len().to_string()));
        }
        Ok(View::new(Shape::new(&self.shape), self.dtype, &self.bytes)?)
    }

    /// All elements, widened to `f32`.
    ///
    /// # Errors
    /// As [`WeightData::view`].
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        Ok(self.view()?.to_f32())
    }

    /// The same tensor, owning its bytes.
    pub fn into_owned(self) -> WeightData<'static> {
        WeightData { shape: self.shape, dtype: self.dtype, bytes: Cow::Owned(self.bytes.into_owned()) }
    }

    /// Some of the rows, which are the elements of the first dimension, without a copy where none was made.
    pub(super) fn into_rows(self, rows: Range<usize>) -> Result<Self> {
        let Self { mut shape, dtype, bytes } = self;
        let count = shape.first().copied().unwrap_or(0);
        if rows.start > rows.end || rows.end > count {
            return Err(Error::input("rows", format!("some of {count}"), format!("{rows:?}")));
        }
        // Rows of nothing have no bytes, however many there are.
        let row = bytes.len().checked_div(count).unwrap_or(0);
        let range = rows.start * row..rows.end * row;
        if let Some(count) = shape.first_mut() {
            *count = rows.len();
        }
        let bytes = match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[range]),
            Cow::Owned(bytes) => Cow::Owned(bytes[range].to_vec()),
        };
        Ok(Self { shape, dtype, bytes })
    }

    /// Whether every element is zero (of either sign).
    pub(super) fn is_all_zero(&self) -> bool {
        // Negative zero is a lone sign bit, which lies in the last byte of a little-endian element.
        let size = self.dtype.size();
        let element_is_zero = |element: &[u8]| {
            let (sign, rest) = element.split_last().map_or((0, element), |(last, rest)| (*last, rest));
            sign & 0x7f == 0 && rest.iter().all(|&byte| byte == 0)
        };
        !self.bytes.is_empty() && self.bytes.chunks_exact(size).all(element_is_zero)
    }
}

/// Weights in memory, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightMap {
    tensors: BTreeMap<String, WeightData<'static>>,
}

impl WeightMap {
    /// No weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, key: impl Into<String>, data: WeightData<'_>) -> Option<WeightData<'static>> {
        self.tensors.insert(key.into(), data.into_owned())
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, key: &str) -> Option<WeightData<'static>> {
        self.tensors.remove(key)
    }

    /// A copy of everything another source holds.
    ///
    /// # Errors
    /// As [`WeightSource::get`].
    pub fn copy_of(source: &dyn WeightSource) -> Result<Self> {
        let mut map = Self::new();
        for key in source.keys() {
            if let Some(data) = source.get(&key)? {
                map.insert(key, data);
            }
        }
        Ok(map)
    }
}

impl WeightSource for WeightMap {
    fn name(&self) -> String {
        "weights in memory".to_owned()
    }

    fn keys(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        Ok(self.tensors.get(key).map(|data| WeightData {
            shape: data.shape.clone(),
            dtype: data.dtype,
            bytes: Cow::Borrowed(&data.bytes),
        }))
    }
}
