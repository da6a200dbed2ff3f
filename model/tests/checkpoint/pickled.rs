//! What `torch.save` wrote, and what was made to look like it.

use std::{fs, path::Path};

use kernels_backend::DType;
use proptest::prelude::*;
use videomae::{
    Result, VideoMAEConfig,
    checkpoint::{Architecture, Checkpoint, WeightMap, WeightSource},
};

use super::{
    load_strictly, tiny,
    torch_files::{Pickle, Tensor, file, save, save_legacy, zip},
    weights,
};

fn open(bytes: Vec<u8>) -> Result<Checkpoint> {
    Checkpoint::from_bytes("file.pth", bytes)
}

fn message(bytes: Vec<u8>) -> String {
    open(bytes).expect_err("a fault").to_string()
}

/// A dictionary of one tensor `w` over one storage.
fn one(tensor: &Tensor<'_>, storage: &[u8]) -> Vec<u8> {
    file(&Pickle::new().raw(b"}(").text("w").tensor(tensor).raw(b"u").stop(), &[storage])
}

fn values(checkpoint: &Checkpoint, key: &str) -> Vec<f32> {
    checkpoint.get(key).unwrap().unwrap().to_f32().unwrap()
}

#[test]
fn weights_are_found_bare_in_containers_and_in_the_old_format() {
    let map = weights(&tiny(), Architecture::VideoClassification);
    for container in [None, Some("model"), Some("module"), Some("state_dict")] {
        let checkpoint = open(save(&map, container)).unwrap();
        assert_eq!(WeightMap::copy_of(&checkpoint).unwrap(), map, "{container:?}");
    }
    assert_eq!(WeightMap::copy_of(&open(save_legacy(&map)).unwrap()).unwrap(), map);
    let elsewhere = message(save(&map, Some("weights")));
    assert!(elsewhere.contains("model, module, state_dict"), "{elsewhere}");
    assert!(elsewhere.contains(r#"only "epoch", "weights""#), "{elsewhere}");
}

#[test]
fn a_folder_with_only_pickled_weights_loads_whole_or_in_shards() {
    let (config, architecture) = (tiny(), Architecture::VideoClassification);
    let map = weights(&config, architecture);
    let check = |directory: &Path| {
        let checkpoint = Checkpoint::open(directory).unwrap();
        assert_eq!(load_strictly(&checkpoint, &config, architecture).unwrap().0, map);
    };
    let whole = tempfile::tempdir().unwrap();
    fs::write(whole.path().join("pytorch_model.bin"), save(&map, None)).unwrap();
    check(whole.path());

    let sharded = tempfile::tempdir().unwrap();
    let mut shards = [WeightMap::new(), WeightMap::new()];
    let mut places = serde_json::Map::new();
    for (i, key) in map.keys().into_iter().enumerate() {
        shards[i % 2].insert(key.clone(), map.get(&key).unwrap().unwrap());
        places.insert(key, format!("pytorch_model-{:05}-of-00002.bin", i % 2 + 1).into());
    }
    for (i, shard) in shards.iter().enumerate() {
        let name = format!("pytorch_model-{:05}-of-00002.bin", i + 1);
        fs::write(sharded.path().join(name), save(shard, None)).unwrap();
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": places });
    fs::write(sharded.path().join("pytorch_model.bin.index.json"), index.to_string()).unwrap();
    check(sharded.path());
}

#[test]
fn safetensors_come_before_pickles() {
    let directory = tempfile::tempdir().unwrap();
    let map = weights(&tiny(), Architecture::Model);
    super::write_file(&directory.path().join("model.safetensors"), &map);
    fs::write(directory.path().join("pytorch_model.bin"), "not read").unwrap();
    assert_eq!(WeightMap::copy_of(&Checkpoint::open(directory.path()).unwrap()).unwrap(), map);
}

#[test]
fn views_of_a_storage_have_the_elements_that_torch_sees() {
    let storage: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let whole = Tensor::whole("FloatStorage", "0", &[2, 3]);
    let transposed = Tensor { shape: vec![3, 2], strides: vec![1, 3], ..whole.clone() };
    let row = Tensor { shape: vec![3], strides: vec![1], offset: 3, ..whole.clone() };
    let scalar = Tensor { shape: vec![], strides: vec![], offset: 5, ..whole.clone() };
    let pickle = Pickle::new().raw(b"}(").text("whole").tensor(&whole);
    let pickle = pickle.text("transposed").tensor(&transposed).text("row").tensor(&row);
    let pickle = pickle.text("scalar").tensor(&scalar).raw(b"u").stop();
    let checkpoint = open(file(&pickle, &[&storage])).unwrap();
    assert_eq!(values(&checkpoint, "whole"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&checkpoint, "transposed"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(values(&checkpoint, "row"), [3.0, 4.0, 5.0]);
    assert_eq!(values(&checkpoint, "scalar"), [5.0]);
}

#[test]
fn every_type_of_weight_is_read_and_others_are_an_error_only_where_they_are_needed() {
    let read = |storage, bytes: &[u8]| {
        let checkpoint = open(one(&Tensor::whole(storage, "0", &[1]), bytes)).unwrap();
        (checkpoint.info("w").map(|info| info.unwrap().dtype), checkpoint.get("w").map(|data| data.is_some()))
    };
    for (storage, bytes, dtype) in [
        ("FloatStorage", &1f32.to_le_bytes()[..], DType::F32),
        ("DoubleStorage", &1f64.to_le_bytes(), DType::F32),
        ("HalfStorage", &half::f16::ONE.to_le_bytes(), DType::F16),
        ("BFloat16Storage", &half::bf16::ONE.to_le_bytes(), DType::Bf16),
    ] {
        assert_eq!(read(storage, bytes).0.unwrap(), dtype);
        let checkpoint = open(one(&Tensor::whole(storage, "0", &[1]), bytes)).unwrap();
        assert_eq!(values(&checkpoint, "w"), [1.0], "{storage}");
    }
    for (storage, size) in
        [("LongStorage", 8), ("IntStorage", 4), ("BoolStorage", 1), ("ComplexFloatStorage", 8)]
    {
        let (info, data) = read(storage, &vec![0; size]);
        assert!(info.is_err(), "{storage}");
        assert!(data.unwrap_err().to_string().contains("tensor w: expected type"), "{storage}");
    }
    let (_, wide) = read("DoubleStorage", &1e300f64.to_le_bytes());
    assert!(wide.unwrap_err().to_string().contains("single precision"));
}

#[test]
fn what_training_leaves_beside_the_weights_is_forgotten() {
    let tensor = Tensor::whole("FloatStorage", "0", &[1]);
    let pickle = Pickle::new().raw(b"}(").text("args").global("argparse", "Namespace").raw(b")\x81}(");
    let pickle = pickle.text("lr").raw(b"G\0\0\0\0\0\0\0\0").text("opts").raw(b"](K\x01K\x02eub");
    // numpy.float64(1.0), as pickled by numpy 2.
    let pickle = pickle.text("best").global("numpy._core.multiarray", "scalar").global("numpy", "dtype");
    let pickle = pickle
        .text("f8")
        .raw(b"\x89\x88\x87R(K\x03")
        .text("<")
        .raw(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb");
    let pickle = pickle.global("_codecs", "encode").text("\0?").text("latin1").raw(b"\x86R\x86R");
    let pickle = pickle.text("seen").global("__builtin__", "set").raw(b"]K\x01a\x85R");
    let pickle = pickle.text("model").global("collections", "OrderedDict").raw(b")Rq\x07(");
    // A parameter is its tensor; the state of a dictionary is dropped.
    let pickle = pickle.text("w").global("torch._utils", "_rebuild_parameter").tensor(&tensor).raw(b"\x88");
    let pickle =
        pickle.global("collections", "OrderedDict").raw(b")R\x87Ru}").text("_metadata").raw(b"h\x07sbu");
    let checkpoint = open(file(&pickle.stop(), &[&7f32.to_le_bytes()])).unwrap();
    assert_eq!(checkpoint.keys(), ["w"]);
    assert_eq!(values(&checkpoint, "w"), [7.0]);
}

#[test]
fn a_name_outside_the_list_is_refused_with_its_key() {
    let call = |pickle: Pickle| pickle.raw(b"(").text("touch /tmp/seen").raw(b"tRu").stop();
    let plain = Pickle::new().raw(b"}(").text("blocks.0.attn.qkv.weight").global("os", "system");
    let on_stack = Pickle::new().raw(b"}(").text("head.bias").text("builtins").text("eval").raw(b"\x93");
    for (pickle, name, key) in [
        (call(plain), "os.system", "under the key \"blocks.0.attn.qkv.weight\""),
        (call(on_stack), "builtins.eval", "under the key \"head.bias\""),
        (Pickle::new().global("posix", "system").stop(), "posix.system", "(at byte"),
    ] {
        let message = message(file(&pickle, &[]));
        assert!(message.contains(&format!("{name:?}")) && message.contains(key), "{message}");
        assert!(message.contains("none that could run something"), "{message}");
    }
}

#[test]
fn a_damaged_or_hostile_pickle_is_an_error_that_names_the_fault() {
    let dict = |body: Pickle| file(&body.raw(b"u").stop(), &[&[0; 16]]);
    let start = || Pickle::new().raw(b"}(").text("w");
    let whole = Tensor::whole("FloatStorage", "0", &[4]);
    let tensor = |change: &dyn Fn(&mut Tensor<'_>)| {
        let mut tensor = whole.clone();
        change(&mut tensor);
        one(&tensor, &[0; 16])
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", file(b"", &[]), "the end (at byte 0"),
        ("no stop", file(&Pickle::new().0, &[]), "the end"),
        ("nothing to return", file(&Pickle::new().stop(), &[]), "an empty stack"),
        ("not a dictionary", file(&Pickle::new().int(1).stop(), &[]), "another object"),
        ("an instruction that imports", dict(start().raw(b"i")), "0x69"),
        ("an extension code", dict(start().raw(&[0x82, 1])), "0x82"),
        ("text that ends too late", dict(start().raw(b"X\xff\xff\xff\xff")), "4294967295 more bytes"),
        ("text of a length beyond any", dict(start().raw(b"\x8d").raw(&[0xff; 8])), "18446744073709551615"),
        ("text that is none", dict(start().raw(b"U\x01\xff")), "UTF-8"),
        ("a memory never made", dict(start().raw(b"h\x09")), "none under 9"),
        ("values without a mark", file(&Pickle::new().raw(b"]e").stop(), &[]), "a mark"),
        (
            "an odd number of values",
            file(&Pickle::new().raw(b"}(").int(1).raw(b"u").stop(), &[]),
            "a dictionary",
        ),
        ("a call of data", dict(start().text("f").raw(b")R")), "a call that rebuilds"),
        (
            "a dictionary from data",
            dict(start().global("collections", "OrderedDict").raw(b"]\x85R")),
            "a call",
        ),
        ("no storage", dict(start().text("pid").raw(b"Q")), "\"storage\", type, name"),
        ("negative length", tensor(&|t| t.length = -4), "\"storage\", type, name"),
        ("negative offset", tensor(&|t| t.offset = -1), "none negative"),
        ("negative size", tensor(&|t| t.shape = vec![-4]), "none negative"),
        ("negative stride", tensor(&|t| t.strides = vec![-1]), "none negative"),
        ("a record that is not there", tensor(&|t| t.record = "7"), "tensor w: expected its storage"),
        ("a storage longer than its record", tensor(&|t| t.length = 5), "tensor w: expected a storage of 5"),
        ("a storage beyond any", tensor(&|t| t.length = i64::MAX), "tensor w: expected a storage of"),
        ("an offset outside", tensor(&|t| t.offset = 1), "tensor w: expected elements within the 4"),
        ("a stride outside", tensor(&|t| t.strides = vec![2]), "tensor w: expected elements within the 4"),
        (
            "strides of another rank",
            tensor(&|t| t.strides = vec![1, 1]),
            "tensor w: expected as many strides",
        ),
        (
            "more elements than the storage",
            tensor(&|t| (t.shape, t.strides) = (vec![1 << 40], vec![0])),
            "tensor w: expected at most the 4 elements",
        ),
        (
            "one key twice",
            dict(start().tensor(&whole).text("w").tensor(&whole)),
            "tensor w: expected every key once",
        ),
        ("a quantised tensor", dict(start().global("torch._utils", "_rebuild_qtensor")), "_rebuild_qtensor"),
    ];
    for (name, bytes, expected) in cases {
        let message = message(bytes);
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn depth_and_cycles_cost_nothing() {
    let deep = 1_000_000;
    let tuples = Pickle::new().raw(b"N").raw(&b"\x85".repeat(deep)).stop();
    assert!(message(file(&tuples, &[])).contains("another object"));
    let marks = Pickle::new().raw(&b"(".repeat(deep)).raw(b"N").stop();
    assert!(message(file(&marks, &[])).contains("another object"));
    let cycle = Pickle::new().raw(b"}q\0(").text("model").raw(b"h\0u").stop();
    assert!(message(file(&cycle, &[])).contains("only \"model\""));
}

#[test]
fn a_pickle_that_only_makes_objects_is_stopped() {
    for (opcode, expected) in [(b"]", "objects"), (b"N", "values"), (b"(", "values")] {
        let pickle = Pickle::new().raw(&opcode.repeat(5 << 20)).stop();
        assert!(message(file(&pickle, &[])).contains(expected));
    }
    let memos = Pickle::new().raw(b"N").raw(&b"\x94".repeat(2 << 20)).stop();
    assert!(message(file(&memos, &[])).contains("remembered"));
    let long = vec![b'N'; 17 << 20];
    assert!(message(file(&long, &[])).contains("a pickle of at most"));
}

#[test]
fn a_zip_file_that_is_no_checkpoint_is_refused() {
    let map = weights(&tiny(), Architecture::Model);
    let sound = save(&map, None);
    let pickle: &[u8] = &Pickle::new().raw(b"}").stop();
    // In the directory, the method of the first record lies 10 bytes behind the signature.
    let directory = sound.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let mut compressed = sound.clone();
    compressed[directory + 10] = 8;
    let mut checksum = sound.clone();
    checksum[directory + 16] ^= 1;
    // The second record's data begin where the first's do.
    let overlapping = {
        let mut bytes = zip(&[("a/data.pkl", pickle), ("a/data/0", pickle)]);
        let second = bytes.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
        bytes[second + 42..second + 46].fill(0);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a bomb", compressed, "records stored as they are"),
        ("a changed pickle", checksum, "checksum"),
        ("shared bytes", overlapping, "overlapping"),
        ("one name twice", zip(&[("a/data.pkl", pickle), ("a/data.pkl", pickle)]), "a/data.pkl twice"),
        ("two checkpoints", zip(&[("a/data.pkl", pickle), ("b/data.pkl", pickle)]), "found 2"),
        ("an office document", zip(&[("word/document.xml", b"<x/>")]), "found 0"),
        ("a program", zip(&[("a/data.pkl", pickle), ("a/constants.pkl", pickle)]), "TorchScript"),
        ("big-endian", zip(&[("a/data.pkl", pickle), ("a/byteorder", b"big")]), "byteorder \"big\""),
        ("only a beginning", b"PK\x03\x04".to_vec(), "a whole zip file"),
    ];
    for (name, bytes, expected) in cases {
        let message = message(bytes);
        assert!(message.contains(expected), "{name}: {message}");
    }
}

/// Opens, and reads all there is. The time limit of the test is the bound on time; the assertion that on memory.
fn exercise(bytes: &[u8]) {
    let Ok(checkpoint) = open(bytes.to_vec()) else { return };
    for key in checkpoint.keys() {
        if let Ok(Some(data)) = checkpoint.get(&key) {
            assert!(data.bytes().len() <= bytes.len(), "{key}");
        }
    }
}

fn sample() -> WeightMap {
    let config = VideoMAEConfig { num_hidden_layers: 1, ..tiny() };
    weights(&config, Architecture::VideoClassification)
}

#[test]
fn every_truncation_is_an_error() {
    for whole in [save(&sample(), Some("model")), save_legacy(&sample())] {
        open(whole.clone()).unwrap();
        // Every length near the ends, where headers lie, and a sample between.
        let lengths = (0..whole.len()).filter(|n| n % 7 == 0 || *n < 200 || whole.len() - n < 400);
        for length in lengths {
            assert!(open(whole[..length].to_vec()).is_err(), "{length} of {} bytes", whole.len());
        }
    }
}

proptest! {
    #[test]
    fn a_file_with_changed_bytes_never_panics_and_never_grows(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        legacy: bool,
    ) {
        let mut bytes = if legacy { save_legacy(&sample()) } else { save(&sample(), None) };
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        exercise(&bytes);
    }

    /// Behind a sound container, so that the checksum does not hide the machine.
    #[test]
    fn any_changed_pickle_never_panics_and_never_grows(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let tensor = Tensor { shape: vec![3, 2], strides: vec![1, 3], ..Tensor::whole("FloatStorage", "0", &[6]) };
        let mut pickle = Pickle::new().raw(b"}(").text("w").tensor(&tensor).raw(b"q\x01");
        pickle = pickle.text("v").raw(b"h\x01(K\x01K\x02t0").raw(b"u");
        let mut pickle = pickle.stop();
        for (index, byte) in changes {
            let index = index.index(pickle.len());
            pickle[index] = byte;
        }
        exercise(&file(&pickle, &[&[1; 24]]));
    }

    #[test]
    fn any_bytes_as_a_pickle_never_panic_and_never_grow(pickle in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&file(&pickle, &[&[1; 24]]));
    }
}
