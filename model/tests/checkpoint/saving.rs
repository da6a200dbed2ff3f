//! Writing checkpoints, whole or not at all.

use std::{fs, path::Path};

use kernels_backend::DType;
use proptest::prelude::*;
use serde_json::Value;
use videomae::{
    Error, Result, VideoMAEConfig,
    checkpoint::{
        Architecture, Checkpoint, SaveOptions, TensorInfo, WeightData, WeightMap, WeightSource,
        save_pretrained,
    },
};

use super::{load_strictly, tiny, token_zero, weights};

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    for architecture in Architecture::ALL {
        for config in [tiny(), token_zero(), VideoMAEConfig { qkv_bias: false, ..tiny() }] {
            // Each file waits for the disk, so many of them are left to the test of shards below.
            for max_shard_size in [None, Some(2000), Some(u64::MAX)] {
                let directory = tempfile::tempdir().unwrap();
                let map = weights(&config, architecture);
                let options = SaveOptions { max_shard_size, ..SaveOptions::default() };
                save_pretrained(directory.path(), &config, architecture, &map, &options).unwrap();

                let read = VideoMAEConfig::from_pretrained(directory.path()).unwrap();
                assert_eq!(read.architectures, [architecture.class_name()]);
                assert_eq!(read.dtype, Some(DType::F32));
                let same = VideoMAEConfig { architectures: vec![], dtype: None, ..read.clone() };
                assert_eq!(same, config);

                let checkpoint = Checkpoint::open(directory.path()).unwrap();
                let (loaded, report) = load_strictly(&checkpoint, &read, architecture).unwrap();
                assert_eq!(loaded, map);
                assert!(!report.is_notable(), "{report}");
            }
        }
    }
}

#[test]
fn the_names_on_disk_are_those_that_every_release_reads() {
    let directory = tempfile::tempdir().unwrap();
    for (architecture, prefix) in
        [(Architecture::Model, ""), (Architecture::VideoClassification, "videomae.")]
    {
        let map = weights(&tiny(), architecture);
        save_pretrained(directory.path(), &tiny(), architecture, &map, &SaveOptions::default()).unwrap();
        let keys = Checkpoint::open(directory.path()).unwrap().keys();
        for bias in ["q_bias", "v_bias"] {
            let key = format!("{prefix}encoder.layer.1.attention.attention.{bias}");
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
        }
        assert!(!keys.iter().any(|key| key.ends_with("query.bias") || key.ends_with("key.bias")));
        assert_eq!(keys.iter().any(|key| key.starts_with("videomae.")), !prefix.is_empty());
    }
    // transformers refuses a file without this.
    let bytes = fs::read(directory.path().join("model.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    // Every tensor lies on an address that its elements like.
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap());
    assert_eq!(header % 8, 0);
}

#[test]
fn half_types_are_rounded_to_nearest_even_or_passed_through() {
    let config = tiny();
    let map = weights(&config, Architecture::Model);
    for dtype in [DType::Bf16, DType::F16, DType::F32] {
        let directory = tempfile::tempdir().unwrap();
        let options = SaveOptions { dtype: Some(dtype), ..SaveOptions::default() };
        save_pretrained(directory.path(), &config, Architecture::Model, &map, &options).unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let read = VideoMAEConfig::from_pretrained(directory.path()).unwrap();
        assert_eq!(read.dtype, Some(dtype));
        let (loaded, _) = load_strictly(&checkpoint, &read, Architecture::Model).unwrap();
        for key in map.keys() {
            let narrow = loaded.get(&key).unwrap().unwrap();
            assert_eq!(narrow.dtype(), dtype);
            let expected =
                map.get(&key).unwrap().unwrap().to_f32().unwrap().into_iter().map(|x| match dtype {
                    DType::Bf16 => half::bf16::from_f32(x).to_f32(),
                    DType::F16 => half::f16::from_f32(x).to_f32(),
                    _ => x,
                });
            assert_eq!(narrow.to_f32().unwrap(), expected.collect::<Vec<_>>(), "{key}");
        }
        // Saved again without a word about types, a file keeps its own, bit for bit.
        let again = tempfile::tempdir().unwrap();
        save_pretrained(again.path(), &read, Architecture::Model, &checkpoint, &SaveOptions::default())
            .unwrap();
        let file = |directory: &Path| fs::read(directory.join("model.safetensors")).unwrap();
        assert_eq!(file(again.path()), file(directory.path()));
    }
}

#[test]
fn a_number_too_large_for_the_type_is_an_error_and_not_infinity() {
    let config = tiny();
    let mut map = weights(&config, Architecture::Model);
    let key = "videomae.encoder.layer.0.output.dense.bias";
    map.insert(key, WeightData::f32(&[6], &[1e5; 6]).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let options = SaveOptions { dtype: Some(DType::F16), ..SaveOptions::default() };
    let error = save_pretrained(directory.path(), &config, Architecture::Model, &map, &options).unwrap_err();
    assert!(error.to_string().contains(key) && error.to_string().contains("100000"), "{error}");
    assert_eq!(names(directory.path()), [""; 0]);
    // Infinities and NaN of the source are its own business.
    map.insert(key, WeightData::f32(&[6], &[f32::INFINITY, f32::NAN, 0.0, 1.0, 2.0, 3.0]).unwrap());
    save_pretrained(directory.path(), &config, Architecture::Model, &map, &options).unwrap();
}

#[test]
fn shards_hold_no_more_than_they_may_and_the_index_finds_all() {
    let config = token_zero();
    let map = weights(&config, Architecture::PreTraining);
    // Nothing fits into no bytes: then every tensor has a file of its own.
    for limit in [0, 1000] {
        let directory = tempfile::tempdir().unwrap();
        let options = SaveOptions { max_shard_size: Some(limit), ..SaveOptions::default() };
        save_pretrained(directory.path(), &config, Architecture::PreTraining, &map, &options).unwrap();
        let text = fs::read_to_string(directory.path().join("model.safetensors.index.json")).unwrap();
        let index: Value = serde_json::from_str(&text).unwrap();
        let weight_map = index["weight_map"].as_object().unwrap();
        assert_eq!(weight_map.len(), map.keys().len());
        let mut total = 0;
        let shards: Vec<_> =
            names(directory.path()).into_iter().filter(|name| name.contains("-of-")).collect();
        assert!(shards.len() > 3, "{shards:?}");
        for (i, shard) in shards.iter().enumerate() {
            assert_eq!(*shard, format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len()));
            let file = Checkpoint::open(directory.path().join(shard)).unwrap();
            let sizes: Vec<_> =
                file.keys().iter().map(|key| file.get(key).unwrap().unwrap().bytes().len()).collect();
            let size: usize = sizes.iter().sum();
            assert!(size as u64 <= limit || sizes.len() == 1, "{shard} holds {size} bytes");
            assert!(file.keys().iter().all(|key| weight_map[key] == **shard));
            total += size;
        }
        assert_eq!(index["metadata"]["total_size"], total);
    }
}

#[test]
fn weights_of_an_earlier_save_do_not_linger() {
    let config = tiny();
    let map = weights(&config, Architecture::Model);
    let directory = tempfile::tempdir().unwrap();
    let other = "training_log.safetensors";
    fs::write(directory.path().join(other), "mine").unwrap();
    let save = |max_shard_size| {
        let options = SaveOptions { max_shard_size, ..SaveOptions::default() };
        save_pretrained(directory.path(), &config, Architecture::Model, &map, &options).unwrap();
        names(directory.path())
    };
    let single = ["config.json", "model.safetensors", other];
    assert_eq!(save(None), single);
    // `model.safetensors` would be read before the index.
    let sharded = save(Some(1000));
    assert!(!sharded.contains(&"model.safetensors".to_owned()) && sharded.contains(&other.to_owned()));
    let fewer = save(Some(2000));
    assert!(fewer.len() < sharded.len(), "{fewer:?}");
    assert_eq!(
        WeightMap::copy_of(&Checkpoint::open(directory.path()).unwrap()).unwrap().keys().len(),
        map.keys().len()
    );
    assert_eq!(save(None), single);
}

#[test]
fn a_checkpoint_can_be_saved_over_itself_while_it_is_open() {
    let config = tiny();
    let map = weights(&config, Architecture::VideoClassification);
    let directory = tempfile::tempdir().unwrap();
    let architecture = Architecture::VideoClassification;
    save_pretrained(directory.path(), &config, architecture, &map, &SaveOptions::default()).unwrap();
    let open = Checkpoint::open(directory.path()).unwrap();
    let options = SaveOptions { dtype: Some(DType::Bf16), ..SaveOptions::default() };
    save_pretrained(directory.path(), &config, architecture, &open, &options).unwrap();
    assert_eq!(load_strictly(&open, &config, architecture).unwrap().0, map);
    let saved = Checkpoint::open(directory.path()).unwrap();
    assert_eq!(saved.get("mask_token").unwrap(), None);
    assert_eq!(saved.get("fc_norm.bias").unwrap().unwrap().dtype(), DType::Bf16);
}

/// A source whose disk fails after some tensors.
struct Failing {
    map: WeightMap,
    at: String,
}

impl WeightSource for Failing {
    fn name(&self) -> String {
        "failing".to_owned()
    }

    fn keys(&self) -> Vec<String> {
        self.map.keys()
    }

    fn info(&self, key: &str) -> Result<Option<TensorInfo>> {
        self.map.info(key)
    }

    fn get(&self, key: &str) -> Result<Option<WeightData<'_>>> {
        if key == self.at {
            let reason = std::io::Error::other("the disk is gone");
            return Err(Error::Io { path: "disk".into(), action: "read", reason });
        }
        self.map.get(key)
    }
}

#[test]
fn a_failure_half_way_leaves_the_directory_as_it_was() {
    let config = tiny();
    let map = weights(&config, Architecture::Model);
    // The first tensor, one in the middle and the last, in one file and in several.
    let keys = [
        "videomae.embeddings.patch_embeddings.projection.weight",
        "videomae.encoder.layer.1.intermediate.dense.weight",
        "videomae.encoder.layer.1.layernorm_after.bias",
    ];
    for (at, max_shard_size) in keys.into_iter().flat_map(|key| [(key, None), (key, Some(1000))]) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("model.safetensors"), "earlier").unwrap();
        let source = Failing { map: map.clone(), at: at.to_owned() };
        let options = SaveOptions { max_shard_size, ..SaveOptions::default() };
        let error =
            save_pretrained(directory.path(), &config, Architecture::Model, &source, &options).unwrap_err();
        assert!(error.to_string().contains("the disk is gone"), "{error}");
        assert_eq!(names(directory.path()), ["model.safetensors"]);
        assert_eq!(fs::read_to_string(directory.path().join("model.safetensors")).unwrap(), "earlier");
    }
}

#[test]
fn an_incomplete_source_writes_nothing() {
    let config = tiny();
    let mut map = weights(&config, Architecture::Model);
    map.remove("videomae.encoder.layer.1.output.dense.bias");
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("new");
    let error =
        save_pretrained(&target, &config, Architecture::Model, &map, &SaveOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Load(_)), "{error}");
    assert!(!target.exists());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("file");
    fs::write(&blocked, "").unwrap();
    let map = weights(&tiny(), Architecture::Model);
    let target = blocked.join("inside");
    let error =
        save_pretrained(&target, &tiny(), Architecture::Model, &map, &SaveOptions::default()).unwrap_err();
    assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
}

#[cfg(unix)]
#[test]
fn saved_files_are_as_readable_as_any_other() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let map = weights(&tiny(), Architecture::Model);
    save_pretrained(directory.path(), &tiny(), Architecture::Model, &map, &SaveOptions::default()).unwrap();
    let ordinary = directory.path().join("ordinary");
    fs::write(&ordinary, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["model.safetensors", "config.json"] {
        assert_eq!(mode(&directory.path().join(name)), mode(&ordinary), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Any bits survive, NaN payloads included.
    #[test]
    fn any_weights_survive_a_round_trip(seed in any::<u32>(), limit in prop::option::of(500..4000u64)) {
        let config = tiny();
        let mut state = seed;
        let mut map = WeightMap::new();
        for spec in Architecture::VideoClassification.tensors(&config).unwrap() {
            let values: Vec<f32> = (0..spec.shape.iter().product::<usize>())
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f32::from_bits(state)
                })
                .collect();
            map.insert(spec.key, WeightData::f32(&spec.shape, &values).unwrap());
        }
        let directory = tempfile::tempdir().unwrap();
        let options = SaveOptions { max_shard_size: limit, ..SaveOptions::default() };
        save_pretrained(directory.path(), &config, Architecture::VideoClassification, &map, &options).unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let (loaded, _) = load_strictly(&checkpoint, &config, Architecture::VideoClassification).unwrap();
        prop_assert_eq!(loaded, map);
    }
}
