//! One safetensors file: eight bytes of length, a JSON header, then the tensors without a gap.
//!
//! The header decides which bytes are read as what, so nothing in it is believed before it is checked. The
//! `safetensors` crate has the last word; the checks before it are there to name the tensor and both values.

use std::{collections::BTreeMap, fmt};

use kernels_backend::DType;
use safetensors::tensor::{Dtype, Metadata, TensorInfo as Entry};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{TensorInfo, WeightData, archive::Bytes};
use crate::{Error, Result};

/// The length of the header's length.
const PREFIX: usize = 8;
/// The header of VideoMAE-huge takes 70 kB. Parsing needs a multiple of a header's length in memory.
const MAX_HEADER: usize = 32 << 20;

/// A file whose header has been checked against its length.
pub(super) struct SafetensorsArchive {
    file: String,
    bytes: Bytes,
    data_start: usize,
    entries: BTreeMap<String, Entry>,
}

impl SafetensorsArchive {
    pub(super) fn new(file: String, bytes: Bytes) -> Result<Self> {
        let (data_start, entries) = parse(&file, &bytes)?;
        Ok(Self { file, bytes, data_start, entries })
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(super) fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        let Some(entry) = self.entries.get(key) else { return Ok(None) };
        Ok(Some(TensorInfo { shape: entry.shape.clone(), dtype: self.dtype(key, entry.dtype)? }))
    }

    pub(super) fn release(&self, part: &[u8]) {
        self.bytes.release(part);
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        let Some(entry) = self.entries.get(key) else { return Ok(None) };
        let (start, end) = entry.data_offsets;
        let bytes = &self.bytes[self.data_start + start..self.data_start + end];
        WeightData::new(&entry.shape, self.dtype(key, entry.dtype)?, bytes).map(Some)
    }

    /// Other types may lie in a file, as long as no model asks for them.
    fn dtype(&self, key: &str, dtype: Dtype) -> Result<DType> {
        match dtype {
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::Bf16),
            other => Err(Error::Tensor {
                file: self.file.clone(),
                tensor: key.to_owned(),
                expected: "type F32, F16 or BF16".to_owned(),
                found: other.to_string(),
            }),
        }
    }
}

/// Where the data begins, and every entry of the header.
fn parse(file: &str, bytes: &[u8]) -> Result<(usize, BTreeMap<String, Entry>)> {
    let malformed =
        |expected: String, found: String| Error::Malformed { file: file.to_owned(), expected, found };
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else {
        return Err(malformed(
            "a safetensors file, which begins with a length of 8 bytes".to_owned(),
            format!("{} bytes", bytes.len()),
        ));
    };
    let length = u64::from_le_bytes(*prefix);
    let room = (bytes.len() - PREFIX).min(MAX_HEADER);
    let Some(length) = usize::try_from(length).ok().filter(|&length| length <= room) else {
        return Err(malformed(
            format!("a safetensors header of at most {room} bytes"),
            format!("a length of {length}"),
        ));
    };
    let data_start = PREFIX + length;
    let header = std::str::from_utf8(&bytes[PREFIX..data_start])
        .map_err(|e| malformed("a header of UTF-8 text".to_owned(), e.to_string()))?;
    let mut json = serde_json::Deserializer::from_str(header);
    let entries = json
        .deserialize_map(Header)
        .and_then(|entries| json.end().map(|()| entries))
        .map_err(|e| malformed("a safetensors header in JSON".to_owned(), e.to_string()))?;
    let mut entries: Vec<(String, Entry)> = entries.into_iter().collect();
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    check_layout(file, &entries, bytes.len() - data_start)?;
    let checked = Metadata::new(None, entries.clone());
    checked.map_err(|e| {
        malformed("a safetensors header that describes its tensors".to_owned(), e.to_string())
    })?;
    Ok((data_start, entries.into_iter().collect()))
}

/// The tensors, in the order of their data, cover the `room` behind the header without a gap or an overlap.
fn check_layout(file: &str, entries: &[(String, Entry)], room: usize) -> Result<()> {
    let mut covered = 0;
    for (key, entry) in entries {
        let wrong = |expected: String, found: String| Error::Tensor {
            file: file.to_owned(),
            tensor: key.clone(),
            expected,
            found,
        };
        let (start, end) = entry.data_offsets;
        if start != covered {
            return Err(wrong(
                format!("data from offset {covered}, without a gap or an overlap"),
                start.to_string(),
            ));
        }
        let elements = entry.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let bits = elements.and_then(|n| n.checked_mul(entry.dtype.bitsize()));
        let Some(size) = bits.filter(|bits| bits % 8 == 0).map(|bits| bits / 8) else {
            let expected = "a whole number of bytes that fits the address space".to_owned();
            return Err(wrong(expected, format!("{} {:?}", entry.dtype, entry.shape)));
        };
        if end.checked_sub(start) != Some(size) {
            let expected = format!("{size} bytes for {} {:?}", entry.dtype, entry.shape);
            return Err(wrong(expected, format!("offsets {start} to {end}")));
        }
        if end > room {
            let expected = format!("data within the {room} bytes behind the header");
            return Err(wrong(expected, format!("offsets {start} to {end}")));
        }
        covered = end;
    }
    if covered == room {
        return Ok(());
    }
    Err(Error::Malformed {
        file: file.to_owned(),
        expected: format!("{covered} bytes of tensors, as the header says"),
        found: format!("{room} bytes"),
    })
}

/// Reads the header's object. A derived map would keep the last of two equal keys and say nothing.
struct Header;

impl<'de> Visitor<'de> for Header {
    type Value = BTreeMap<String, Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "__metadata__" {
                // Free text that nothing here depends on; it only has to be what the format says.
                map.next_value::<BTreeMap<String, String>>()
                    .map_err(|e| A::Error::custom(format_args!("__metadata__: {e}")))?;
                continue;
            }
            let entry =
                map.next_value::<Entry>().map_err(|e| A::Error::custom(format_args!("tensor {key}: {e}")))?;
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("tensor {key} twice")));
            }
            entries.insert(key, entry);
        }
        Ok(entries)
    }
}
