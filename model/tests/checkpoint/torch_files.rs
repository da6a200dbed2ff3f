//! Writes what `torch.save` writes, and what it never would.

use videomae::checkpoint::{WeightMap, WeightSource};

/// A pickle under construction.
#[derive(Clone, Default)]
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    pub(crate) fn new() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        let length = u32::try_from(text.len()).unwrap();
        self.raw(b"X").raw(&length.to_le_bytes()).raw(text.as_bytes())
    }

    /// Eight bytes, so that sizes that no tensor has can be written.
    pub(crate) fn int(self, value: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&value.to_le_bytes())
    }

    pub(crate) fn ints(self, values: &[i64]) -> Self {
        values.iter().fold(self.raw(b"("), |pickle, &value| pickle.int(value)).raw(b"t")
    }

    pub(crate) fn global(self, module: &str, name: &str) -> Self {
        self.raw(b"c").raw(module.as_bytes()).raw(b"\n").raw(name.as_bytes()).raw(b"\n")
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`
    pub(crate) fn tensor(self, tensor: &Tensor<'_>) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .text("storage")
            .global("torch", tensor.storage)
            .text(tensor.record)
            .text("cpu")
            .int(tensor.length)
            .raw(if tensor.legacy { b"NtQ" } else { b"tQ" })
            .int(tensor.offset)
            .ints(&tensor.shape)
            .ints(&tensor.strides)
            .raw(b"\x89")
            .global("collections", "OrderedDict")
            .raw(b")RtR")
    }

    pub(crate) fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// What a pickle says of one tensor.
#[derive(Clone)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: &'a str,
    pub(crate) record: &'a str,
    pub(crate) length: i64,
    pub(crate) offset: i64,
    pub(crate) shape: Vec<i64>,
    pub(crate) strides: Vec<i64>,
    pub(crate) legacy: bool,
}

impl<'a> Tensor<'a> {
    /// Row-major elements that are the whole of a storage.
    pub(crate) fn whole(storage: &'a str, record: &'a str, shape: &[usize]) -> Self {
        let shape: Vec<i64> = shape.iter().map(|&d| i64::try_from(d).unwrap()).collect();
        let strides = (1..=shape.len()).map(|axis| shape[axis..].iter().product()).collect();
        let length = shape.iter().product();
        Self { storage, record, length, offset: 0, shape, strides, legacy: false }
    }
}

/// A zip file of stored records.
pub(crate) fn zip(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    for (name, bytes) in records {
        let (mut entry, config) = archive.new_file(name).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        std::io::Write::write_all(&mut writer, bytes).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap()
}

/// A file of one pickle and records `0`, `1`, ….
pub(crate) fn file(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let names: Vec<String> = (0..storages.len()).map(|i| format!("archive/data/{i}")).collect();
    let mut records = vec![("archive/data.pkl", pickle), ("archive/byteorder", b"little".as_slice())];
    records.extend(names.iter().map(String::as_str).zip(storages.iter().copied()));
    zip(&records)
}

/// `torch.save(state_dict)`, or `torch.save({container: state_dict, "epoch": 3})`.
pub(crate) fn save(map: &WeightMap, container: Option<&str>) -> Vec<u8> {
    let (pickle, storages) = state_dict(map, container, false);
    file(&pickle, &storages.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The same as torch wrote it before 1.6.
pub(crate) fn save_legacy(map: &WeightMap) -> Vec<u8> {
    let (object, storages) = state_dict(map, None, true);
    let mut bytes = Pickle::new().raw(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19").stop();
    bytes.extend(Pickle::new().int(1001).stop());
    bytes.extend(Pickle::new().raw(b"}(").text("little_endian").raw(b"\x88u").stop());
    bytes.extend(object);
    let names = (0..storages.len()).fold(Pickle::new().raw(b"]("), |p, i| p.text(&i.to_string()));
    bytes.extend(names.raw(b"e").stop());
    for storage in storages {
        // All of them hold single precision.
        bytes.extend((storage.len() as u64 / 4).to_le_bytes());
        bytes.extend(storage);
    }
    bytes
}

fn state_dict(map: &WeightMap, container: Option<&str>, legacy: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut pickle = Pickle::new();
    if let Some(container) = container {
        pickle = pickle.raw(b"}(").text("epoch").int(3).text(container);
    }
    pickle = pickle.global("collections", "OrderedDict").raw(b")R(");
    let mut storages = Vec::new();
    for (i, key) in map.keys().iter().enumerate() {
        let data = map.get(key).unwrap().unwrap();
        let record = i.to_string();
        let tensor = Tensor { legacy, ..Tensor::whole("FloatStorage", &record, data.shape()) };
        pickle = pickle.text(key).tensor(&tensor);
        storages.push(data.bytes().to_vec());
    }
    pickle = pickle.raw(b"u");
    if container.is_some() {
        pickle = pickle.raw(b"u");
    }
    (pickle.stop(), storages)
}
