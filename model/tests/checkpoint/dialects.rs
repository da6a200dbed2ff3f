//! One model under every name that some release of transformers gave its tensors.

use kernels_backend::DType;
use videomae::{
    Error, VideoMAEConfig,
    checkpoint::{Architecture, Checkpoint, WeightData, WeightMap, WeightSource},
};

use super::{load_strictly, renamed, report_of, tiny, token_zero, weights, write_file};

const ATTENTION: &str = ".attention.attention.";

/// transformers 4, 5.0 to 5.5, and every file that 5.18 and later save.
fn v4(key: &str) -> Option<String> {
    Some(key.replace("query.bias", "q_bias").replace("value.bias", "v_bias"))
}

/// transformers 5.6 to 5.17: a bias for keys as well.
fn with_key_bias(map: &WeightMap) -> WeightMap {
    let mut out = map.clone();
    for key in map.keys() {
        if let Some(layer) = key.strip_suffix("query.bias") {
            out.insert(format!("{layer}key.bias"), map.get(&key).unwrap().unwrap());
        }
    }
    out
}

fn bare(key: &str) -> Option<String> {
    Some(key.strip_prefix("videomae.").unwrap_or(key).to_owned())
}

#[test]
fn every_dialect_of_every_architecture_loads_the_same_weights() {
    for architecture in Architecture::ALL {
        for config in [tiny(), token_zero(), VideoMAEConfig { qkv_bias: false, ..tiny() }] {
            let map = weights(&config, architecture);
            let dialects = [
                ("5.18 in memory", map.clone()),
                ("4", renamed(&map, v4)),
                ("5.6 to 5.17", with_key_bias(&map)),
                ("bare 4", renamed(&renamed(&map, v4), bare)),
                ("bare 5.18", renamed(&map, bare)),
                ("bare 5.6 to 5.17", renamed(&with_key_bias(&map), bare)),
            ];
            for (name, source) in dialects {
                let (loaded, report) = load_strictly(&source, &config, architecture).expect(name);
                assert_eq!(loaded, map, "{name}");
                assert_eq!(report.loaded, map.keys().len(), "{name}");
                assert!(!report.is_notable(), "{name}: {report}");
            }
        }
    }
}

#[test]
fn dialects_may_differ_from_layer_to_layer() {
    let config = token_zero();
    let map = weights(&config, Architecture::PreTraining);
    let mixed = renamed(&map, |key| match key.contains(".0.") {
        true => v4(key),
        false => Some(key.to_owned()),
    });
    assert_ne!(mixed, map);
    assert_eq!(load_strictly(&mixed, &config, Architecture::PreTraining).unwrap().0, map);
}

#[test]
fn biases_of_keys_are_read_over_and_reported() {
    let config = tiny();
    let map = with_key_bias(&weights(&config, Architecture::Model));
    let (_, report) = load_strictly(&map, &config, Architecture::Model).unwrap();
    let expected: Vec<_> = (0..2).map(|i| format!("videomae.encoder.layer.{i}{ATTENTION}key.bias")).collect();
    assert_eq!(report.ignored, expected);
    assert!(report.to_string().contains("ignored: videomae.encoder.layer.{0-1}"), "{report}");
}

#[test]
fn two_names_of_one_tensor_must_agree() {
    let config = tiny();
    let map = weights(&config, Architecture::Model);
    let query = format!("videomae.encoder.layer.1{ATTENTION}query.bias");
    let other_name = format!("encoder.layer.1{ATTENTION}q_bias");

    let mut twice = map.clone();
    twice.insert(other_name.clone(), map.get(&query).unwrap().unwrap());
    assert_eq!(load_strictly(&twice, &config, Architecture::Model).unwrap().0, map);

    twice.insert(other_name.clone(), WeightData::f32(&[6], &[9.0; 6]).unwrap());
    let error = load_strictly(&twice, &config, Architecture::Model).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Tensor { .. }), "{message}");
    assert!(message.contains(&query) && message.contains(&other_name), "{message}");
}

#[test]
fn heads_of_other_architectures_are_unused_and_not_a_problem() {
    let config = token_zero();
    let map = weights(&config, Architecture::PreTraining);
    let (loaded, report) = load_strictly(&map, &config, Architecture::Model).unwrap();
    assert_eq!(loaded, weights(&config, Architecture::Model));
    assert!(report.unused.contains(&"mask_token".to_owned()), "{report}");
    assert!(report.unused.iter().any(|key| key.starts_with("decoder.decoder_layers.1.")), "{report}");
    assert!(!report.is_notable(), "{report}");
}

#[test]
fn half_types_reach_the_model_as_they_lie_in_the_file() {
    let config = tiny();
    let full = weights(&config, Architecture::Model);
    let mut halves = WeightMap::new();
    for (i, key) in full.keys().into_iter().enumerate() {
        let data = full.get(&key).unwrap().unwrap();
        let values = data.to_f32().unwrap();
        let (dtype, bytes): (_, Vec<u8>) = match i % 2 {
            0 => (DType::Bf16, values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect()),
            _ => (DType::F16, values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect()),
        };
        halves.insert(key, WeightData::new(data.shape(), dtype, bytes).unwrap());
    }
    let directory = tempfile::tempdir().unwrap();
    write_file(&directory.path().join("model.safetensors"), &halves);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let (loaded, _) = load_strictly(&checkpoint, &config, Architecture::Model).unwrap();
    assert_eq!(loaded, halves);
    for key in full.keys() {
        let (wide, narrow) = (full.get(&key).unwrap().unwrap(), loaded.get(&key).unwrap().unwrap());
        for (x, y) in wide.to_f32().unwrap().into_iter().zip(narrow.view().unwrap().to_f32()) {
            // bf16 has eight significant bits.
            assert!((x - y).abs() <= x.abs() / 256.0, "{key}: {x} became {y}");
        }
    }
}

/// Reference bug 2 of section 6: transformers 5.6 to 5.17 load the biases of a file in the older dialect as
/// zeros, with a line in a report that nobody reads. Here the values arrive, or the load fails.
#[test]
fn biases_of_any_dialect_are_never_zeros() {
    let config = tiny();
    let source = renamed(&weights(&config, Architecture::VideoClassification), v4);
    let (loaded, report) = load_strictly(&source, &config, Architecture::VideoClassification).unwrap();
    for name in ["query", "value"] {
        let key = format!("videomae.encoder.layer.0{ATTENTION}{name}.bias");
        assert!(loaded.get(&key).unwrap().unwrap().to_f32().unwrap().iter().all(|&x| x != 0.0));
    }
    assert!(report.all_zero.is_empty());

    let without = renamed(&source, |key| (!key.ends_with("q_bias")).then(|| key.to_owned()));
    let report = report_of(load_strictly(&without, &config, Architecture::VideoClassification));
    let expected: Vec<_> =
        (0..2).map(|i| format!("videomae.encoder.layer.{i}{ATTENTION}query.bias")).collect();
    assert_eq!(report.missing, expected);
}

/// The same bug, one step later: such a model was saved, and its file has zeros for biases.
#[test]
fn biases_that_an_older_release_lost_are_named() {
    let config = tiny();
    let mut damaged = with_key_bias(&weights(&config, Architecture::VideoClassification));
    let zeros = || WeightData::f32(&[6], &[0.0, -0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    let value = format!("videomae.encoder.layer.1{ATTENTION}value.bias");
    damaged.insert(value.clone(), zeros());
    let (_, report) = load_strictly(&damaged, &config, Architecture::VideoClassification).unwrap();
    assert_eq!(report.all_zero, [value]);
    assert!(
        report.is_notable() && report.to_string().contains("all zero: videomae.encoder.layer.1."),
        "{report}"
    );
}
