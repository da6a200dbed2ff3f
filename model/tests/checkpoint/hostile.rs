//! Files that are damaged, or made to do damage.

use std::path::Path;

use proptest::prelude::*;
use videomae::{
    Error,
    checkpoint::{Architecture, Checkpoint, WeightMap, WeightSource},
};

use super::{load_strictly, tiny, weights, write_file};

/// A file of this header and this many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 1);
    bytes
}

fn entry(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

fn one(dtype: &str, shape: &str, start: u64, end: u64, data: usize) -> Vec<u8> {
    file(&format!("{{{}}}", entry("a", dtype, shape, start, end)), data)
}

fn two(first: &str, second: &str, data: usize) -> Vec<u8> {
    file(&format!("{{{first},{second}}}"), data)
}

fn open(bytes: &[u8]) -> videomae::Result<Checkpoint> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    Checkpoint::open(&path)
}

#[test]
fn a_sound_header_is_accepted() {
    // The cases below differ from these in one thing each.
    for bytes in [
        one("F32", "[2]", 0, 8, 8),
        two(&entry("a", "F32", "[2]", 0, 8), &entry("b", "BF16", "[1,1]", 8, 10), 10),
        // In any order, with empty tensors, scalars, types no model uses, metadata and trailing spaces.
        two(&entry("b", "BF16", "[1,1]", 8, 10), &entry("a", "F32", "[2]", 0, 8), 10),
        two(&entry("a", "I64", "[]", 0, 8), &entry("b", "F32", "[0,5]", 8, 8), 8),
        file(r#"{"__metadata__":{"format":"pt"}}   "#, 0),
    ] {
        open(&bytes).unwrap();
    }
}

#[test]
fn a_damaged_header_is_an_error_that_names_the_fault() {
    let huge = u64::MAX.to_string();
    let wide = format!("[{huge},2]");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty file", vec![], "0 bytes"),
        ("shorter than the length", vec![1; 7], "7 bytes"),
        ("length beyond the file", file("{}", 0)[..9].to_vec(), "a length of 2"),
        ("length of all ones", vec![0xff; 64], "a length of 18446744073709551615"),
        ("length beyond the cap", [&(1u64 << 40).to_le_bytes()[..], &[b' '; 64]].concat(), "1099511627776"),
        ("no header", vec![0; 8], "JSON"),
        ("not UTF-8", [&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat(), "UTF-8"),
        ("not JSON", file("{]", 0), "JSON"),
        ("a list", file("[]", 0), "JSON"),
        ("text behind the object", file("{} {}", 0), "JSON"),
        ("deep nesting", file(&format!(r#"{{"a":{}"#, "[".repeat(100_000)), 0), "tensor a"),
        ("truncated data", one("F32", "[2]", 0, 8, 7), "tensor a: expected data within the 7 bytes"),
        ("data left over", one("F32", "[2]", 0, 8, 9), "9 bytes"),
        ("a gap at the start", one("F32", "[2]", 4, 12, 12), "tensor a: expected data from offset 0"),
        (
            "data that no tensor claims",
            one("F32", "[0]", 0, 0, 0).into_iter().chain([0]).collect(),
            "1 bytes",
        ),
        (
            "reversed offsets",
            two(&entry("a", "F32", "[2]", 0, 8), &entry("b", "F32", "[1]", 8, 4), 8),
            "tensor b",
        ),
        ("overlap", two(&entry("a", "F32", "[2]", 0, 8), &entry("b", "F32", "[2]", 4, 12), 12), "tensor b"),
        (
            "the same data twice",
            two(&entry("a", "F32", "[2]", 0, 8), &entry("b", "F32", "[2]", 0, 8), 8),
            "tensor b",
        ),
        ("a gap", two(&entry("a", "F32", "[2]", 0, 8), &entry("b", "F32", "[2]", 9, 17), 17), "tensor b"),
        ("a shape too large", one("F32", "[3]", 0, 8, 8), "tensor a: expected 12 bytes for F32 [3]"),
        ("a shape too small", one("F32", "[1]", 0, 8, 8), "tensor a: expected 4 bytes"),
        ("a shape that overflows", one("F32", &wide, 0, 8, 8), "tensor a: expected a whole number of bytes"),
        ("offsets that overflow", one("F32", "[2]", u64::MAX - 7, u64::MAX, 8), "tensor a"),
        (
            "offsets beyond 64 bits",
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8e30]}}"#, 8),
            "tensor a",
        ),
        ("negative shape", one("F32", "[-2]", 0, 8, 8), "tensor a"),
        ("fractional shape", one("F32", "[2.5]", 0, 8, 8), "tensor a"),
        ("unknown type", one("F128", "[2]", 0, 32, 32), "tensor a: unknown variant `F128`"),
        (
            "missing shape",
            file(r#"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, 8),
            "tensor a: missing field `shape`",
        ),
        ("three offsets", file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}"#, 8), "tensor a"),
        ("a number for a tensor", file(r#"{"a":1}"#, 0), "tensor a"),
        ("metadata of numbers", file(r#"{"__metadata__":{"format":1}}"#, 0), "__metadata__"),
        (
            "one key twice",
            two(&entry("a", "F32", "[2]", 0, 8), &entry("a", "F32", "[2]", 8, 16), 16),
            "tensor a twice",
        ),
        (
            "one empty key twice",
            two(&entry("a", "F32", "[0]", 0, 0), &entry("a", "F32", "[0]", 0, 0), 0),
            "tensor a twice",
        ),
    ];
    for (what, bytes, found) in cases {
        let error = open(&bytes).err().unwrap_or_else(|| panic!("{what} was accepted"));
        let message = error.to_string();
        assert!(matches!(error, Error::Malformed { .. } | Error::Tensor { .. }), "{what}: {message}");
        assert!(message.contains("model.safetensors: ") && message.contains(found), "{what}: {message}");
    }
}

#[test]
fn a_type_that_no_model_uses_is_an_error_only_where_it_is_needed() {
    let open_first = |name: &str| {
        let header = format!("{{{}}}", entry(name, "F64", "[6]", 0, 48));
        open(&file(&header, 48)).unwrap()
    };
    let config = tiny();
    let bias = "videomae.encoder.layer.0.output.dense.bias";
    let message = load_strictly(&open_first(bias), &config, Architecture::Model).unwrap_err().to_string();
    for part in ["model.safetensors: ", bias, "expected type F32, F16 or BF16", "F64"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    // A stranger of that type is no more than unexpected.
    let message = load_strictly(&open_first("step"), &config, Architecture::Model).unwrap_err().to_string();
    assert!(message.contains("unexpected: step"), "{message}");
}

#[test]
fn what_is_not_a_file_is_refused_without_a_wait() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent");
    assert!(matches!(Checkpoint::open(&absent), Err(Error::Io { .. })));
    let message = Checkpoint::open(directory.path()).err().unwrap().to_string();
    assert!(
        message.contains("expected model.safetensors, pytorch_model.bin or an index of shards, found none"),
        "{message}"
    );
    std::fs::write(directory.path().join("pytorch_model.bin"), "pickle").unwrap();
    let message = Checkpoint::open(directory.path()).err().unwrap().to_string();
    assert!(message.contains("pytorch_model.bin: expected a safetensors file"), "{message}");
    std::fs::create_dir(directory.path().join("model.safetensors")).unwrap();
    let message = Checkpoint::open(directory.path()).err().unwrap().to_string();
    assert!(message.contains("a directory"), "{message}");
    if cfg!(target_os = "linux") {
        let message = Checkpoint::open("/dev/zero").err().unwrap().to_string();
        assert!(message.contains("a device or pipe"), "{message}");
    }
}

/// Two shards and their index in a directory.
fn shards(directory: &Path, index: &serde_json::Value) {
    let map = weights(&tiny(), Architecture::Model);
    for (i, name) in ["one.safetensors", "two.safetensors"].into_iter().enumerate() {
        let mut shard = WeightMap::new();
        let keys = map.keys();
        let half = keys.len() / 2;
        for key in if i == 0 { &keys[..half] } else { &keys[half..] } {
            shard.insert(key.clone(), map.get(key).unwrap().unwrap());
        }
        write_file(&directory.join(name), &shard);
    }
    std::fs::write(directory.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

fn sound_index() -> serde_json::Value {
    let keys = weights(&tiny(), Architecture::Model).keys();
    let half = keys.len() / 2;
    let shard = |i: usize| if i < half { "one.safetensors" } else { "two.safetensors" };
    let map: serde_json::Map<_, _> =
        keys.into_iter().enumerate().map(|(i, key)| (key, serde_json::json!(shard(i)))).collect();
    serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map })
}

#[test]
fn shards_load_as_one_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    shards(directory.path(), &sound_index());
    let index = directory.path().join("model.safetensors.index.json");
    for path in [directory.path(), index.as_path()] {
        let checkpoint = Checkpoint::open(path).unwrap();
        let (loaded, _) = load_strictly(&checkpoint, &tiny(), Architecture::Model).unwrap();
        assert_eq!(loaded, weights(&tiny(), Architecture::Model));
    }
}

#[test]
fn an_index_that_lies_is_refused() {
    let bias = "videomae.encoder.layer.1.output.dense.bias";
    let with = |shard: &str| {
        let mut index = sound_index();
        index["weight_map"][bias] = serde_json::json!(shard);
        index
    };
    let mut invented = sound_index();
    invented["weight_map"]["invented"] = serde_json::json!("one.safetensors");
    let cases = [
        (with("../model.safetensors"), "\"../model.safetensors\""),
        (with("/etc/passwd"), "\"/etc/passwd\""),
        (with("a/b.safetensors"), "\"a/b.safetensors\""),
        (with("..\\b.safetensors"), "b.safetensors\""),
        (with(".."), "\"..\""),
        (with("."), "\".\""),
        (with(""), "\"\""),
        (with("three.safetensors"), "three.safetensors"),
        (with("one.safetensors"), "expected to be in one.safetensors, found it in"),
        (invented, "tensor invented: expected to be in one.safetensors, found it in no shard"),
        (serde_json::json!({ "weight_map": {} }), "at least one tensor"),
        (serde_json::json!({ "weight_map": { "a": 1 } }), "JSON"),
        (serde_json::json!({}), "weight_map"),
        (serde_json::json!([]), "JSON"),
    ];
    for (index, found) in cases {
        let directory = tempfile::tempdir().unwrap();
        shards(directory.path(), &index);
        let message = Checkpoint::open(directory.path()).err().unwrap().to_string();
        assert!(message.contains(found), "{message}");
    }
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    shards(directory.path(), &sound_index());
    std::fs::copy(directory.path().join("one.safetensors"), directory.path().join("two.safetensors"))
        .unwrap();
    let message = Checkpoint::open(directory.path()).err().unwrap().to_string();
    assert!(message.contains("one.safetensors") && message.contains("two.safetensors"), "{message}");
}

/// A small file with two tensors of each kind of type.
fn sample() -> Vec<u8> {
    let entries = [
        entry("encoder.layer.0.output.dense.bias", "F32", "[6]", 0, 24),
        entry("b", "BF16", "[2,3]", 24, 36),
        entry("c", "I64", "[]", 36, 44),
    ];
    file(&format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}"#, entries.join(",")), 44)
}

/// Opens and reads everything that the file says it has.
fn exercise(bytes: &[u8]) {
    let opened = open(bytes);
    let in_memory = Checkpoint::from_bytes("memory", bytes.to_vec());
    assert_eq!(opened.is_ok(), in_memory.is_ok());
    if let (Ok(checkpoint), Ok(in_memory)) = (opened, in_memory) {
        assert_eq!(checkpoint.keys(), in_memory.keys());
        for key in checkpoint.keys() {
            if let Ok(Some(data)) = checkpoint.get(&key) {
                assert_eq!(data.bytes().len(), data.shape().iter().product::<usize>() * data.dtype().size());
            }
        }
        // Nothing so small is a whole model.
        assert!(load_strictly(&checkpoint, &tiny(), Architecture::Model).is_err());
    }
}

#[test]
fn every_truncation_of_a_file_is_an_error() {
    let whole = sample();
    open(&whole).unwrap();
    for length in 0..whole.len() {
        assert!(open(&whole[..length]).is_err(), "{length} bytes were accepted");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    #[test]
    fn random_headers_never_panic(header in ".{0,200}", data in 0..20usize) {
        exercise(&file(&header, data));
    }

    #[test]
    fn mutated_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        exercise(&bytes);
    }

    /// Digits are where sizes and offsets live.
    #[test]
    fn changed_numbers_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..6)
    ) {
        let mut bytes = sample();
        let digits: Vec<usize> = (8..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
        for (at, digit) in changes {
            bytes[digits[at.index(digits.len())]] = digit;
        }
        exercise(&bytes);
    }
}
