//! What a load report says, and what a load refuses.

use videomae::{
    Error, Result, VideoMAEConfig,
    checkpoint::{
        Architecture, FreshWeights, LoadOptions, LoadReport, WeightData, WeightLoader, WeightMap,
        WeightSource,
    },
};

use super::{load, load_strictly, renamed, report_of, tiny, token_zero, weights};

const CLASSIFIER: Architecture = Architecture::VideoClassification;

#[test]
fn all_problems_are_reported_together() {
    let config = tiny();
    let mut map = weights(&config, CLASSIFIER);
    map.remove("videomae.encoder.layer.0.output.dense.weight");
    map.remove("videomae.embeddings.patch_embeddings.projection.bias");
    map.insert("fc_norm.weight", WeightData::f32(&[5], &[1.0; 5]).unwrap());
    map.insert("videomae.encoder.layer.7.output.dense.bias", WeightData::f32(&[6], &[1.0; 6]).unwrap());
    map.insert("something.else", WeightData::f32(&[1], &[1.0]).unwrap());
    map.insert("decoder.norm.bias", WeightData::f32(&[4], &[1.0; 4]).unwrap());

    let report = report_of(load_strictly(&map, &config, CLASSIFIER));
    assert_eq!(
        report.missing,
        [
            "videomae.embeddings.patch_embeddings.projection.bias",
            "videomae.encoder.layer.0.output.dense.weight"
        ]
    );
    assert_eq!(report.mismatched.len(), 1);
    assert_eq!((&report.mismatched[0].expected, &report.mismatched[0].found), (&vec![6], &vec![5]));
    assert_eq!(report.unexpected, ["something.else", "videomae.encoder.layer.7.output.dense.bias"]);
    assert_eq!(report.unused, ["decoder.norm.bias"]);

    let message = Error::Load(Box::new(report)).to_string();
    for part in [
        "weights in memory: not the weights of this VideoMAEForVideoClassification",
        "missing: videomae.encoder.layer.0.output.dense.weight",
        "mismatched: fc_norm.weight: expected [6], found [5]",
        "unexpected: something.else",
        "unused: decoder.norm.bias",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn every_single_missing_tensor_is_an_error_that_names_it() {
    for architecture in Architecture::ALL {
        for config in [tiny(), token_zero()] {
            let map = weights(&config, architecture);
            for key in map.keys() {
                let mut without = map.clone();
                without.remove(&key);
                let report = report_of(load_strictly(&without, &config, architecture));
                assert_eq!(report.missing, [key]);
            }
        }
    }
}

#[test]
fn every_single_wrong_shape_is_an_error_with_both_shapes() {
    let config = token_zero();
    let map = weights(&config, Architecture::PreTraining);
    for key in map.keys() {
        let right = map.get(&key).unwrap().unwrap().shape().to_vec();
        // Also the transpose of a matrix, which has the right number of elements.
        let mut shapes = vec![vec![], vec![0], [&right[..], &[1]].concat(), vec![1; 7]];
        if right.len() == 2 && right[0] != right[1] {
            shapes.push(vec![right[1], right[0]]);
        }
        for wrong in shapes {
            let mut other = map.clone();
            let values = vec![1.0; wrong.iter().product()];
            other.insert(key.clone(), WeightData::f32(&wrong, &values).unwrap());
            let report = report_of(load_strictly(&other, &config, Architecture::PreTraining));
            let found: Vec<_> = report.mismatched.iter().map(|m| (&m.key, &m.expected, &m.found)).collect();
            assert_eq!(found, [(&key, &right, &wrong)]);
        }
    }
}

/// Every zero tensor, weight or bias, head or layer.
#[test]
fn every_all_zero_tensor_is_named() {
    let config = tiny();
    let map = weights(&config, CLASSIFIER);
    for key in map.keys() {
        let shape = map.get(&key).unwrap().unwrap().shape().to_vec();
        let mut zero = map.clone();
        zero.insert(key.clone(), WeightData::f32(&shape, &vec![0.0; shape.iter().product()]).unwrap());
        let (_, report) = load_strictly(&zero, &config, CLASSIFIER).unwrap();
        assert_eq!(report.all_zero, [key]);
    }
}

#[test]
fn a_pretrained_encoder_gets_a_fresh_head_only_when_asked() {
    // Fine-tuning: the encoder of a pre-training checkpoint, mean pooling switched on.
    let map = weights(&token_zero(), Architecture::PreTraining);
    let config = tiny();
    let head = ["fc_norm.weight", "fc_norm.bias", "classifier.weight", "classifier.bias"];
    assert_eq!(report_of(load_strictly(&map, &config, CLASSIFIER)).missing, head);

    let options = LoadOptions { fresh_head: true, seed: 5, ..LoadOptions::default() };
    let (loaded, report) = load(&map, &config, CLASSIFIER, options).unwrap();
    assert_eq!(report.fresh, head);
    assert!(report.missing.is_empty() && report.is_notable());
    // `layernorm` of the checkpoint has no place where the mean is classified.
    assert!(report.unused.contains(&"videomae.layernorm.weight".to_owned()), "{report}");
    let values = |key: &str| loaded.get(key).unwrap().unwrap().to_f32().unwrap();
    assert_eq!((values("fc_norm.weight"), values("fc_norm.bias")), (vec![1.0; 6], vec![0.0; 6]));
    assert_eq!(values("classifier.bias"), [0.0; 3]);
    // Eighteen draws of standard deviation 0.02, none beyond six of them.
    let classifier = values("classifier.weight");
    assert!(classifier.iter().all(|x| x.abs() < 0.12 && *x != 0.0), "{classifier:?}");

    let again = load(&map, &config, CLASSIFIER, options).unwrap().0;
    assert_eq!(again, loaded);
    let other = load(&map, &config, CLASSIFIER, LoadOptions { seed: 6, ..options }).unwrap().0;
    assert_ne!(other.get("classifier.weight").unwrap(), loaded.get("classifier.weight").unwrap());
}

#[test]
fn an_encoder_is_never_made_up() {
    let config = tiny();
    let options = LoadOptions { fresh_head: true, ignore_mismatched_sizes: true, ..LoadOptions::default() };
    let key = "videomae.encoder.layer.1.attention.output.dense.weight";
    let mut map = weights(&config, CLASSIFIER);
    map.insert(key, WeightData::f32(&[1], &[1.0]).unwrap());
    assert_eq!(report_of(load(&map, &config, CLASSIFIER, options)).mismatched[0].key, key);
    map.remove(key);
    assert_eq!(report_of(load(&map, &config, CLASSIFIER, options)).missing, [key]);
}

#[test]
fn another_number_of_classes_needs_a_word() {
    let map = weights(&tiny(), CLASSIFIER);
    let config = tiny().with_num_labels(5);
    let fresh_head = LoadOptions { fresh_head: true, ..LoadOptions::default() };
    for options in [LoadOptions::default(), fresh_head] {
        let report = report_of(load(&map, &config, CLASSIFIER, options));
        let keys: Vec<_> = report.mismatched.iter().map(|m| m.key.as_str()).collect();
        assert_eq!(keys, ["classifier.weight", "classifier.bias"]);
    }
    let options = LoadOptions { ignore_mismatched_sizes: true, ..LoadOptions::default() };
    let (loaded, report) = load(&map, &config, CLASSIFIER, options).unwrap();
    assert_eq!(report.fresh, ["classifier.weight", "classifier.bias"]);
    assert!(report.mismatched.iter().all(|m| m.replaced), "{report}");
    assert!(
        report.to_string().contains("expected [5, 6], found [3, 6], replaced by a fresh one"),
        "{report}"
    );
    assert_eq!(loaded.get("classifier.weight").unwrap().unwrap().shape(), [5, 6]);
    assert_eq!(loaded.get("fc_norm.weight").unwrap(), map.get("fc_norm.weight").unwrap());
}

/// Reference bug 3 of section 6: a classifier's checkpoint has no mask token, and the reference then pre-trains
/// with whatever lies in memory.
#[test]
fn an_absent_mask_token_is_an_error_or_zeros_and_never_garbage() {
    let config = token_zero();
    let map = weights(&config, CLASSIFIER);
    let report = report_of(load_strictly(&map, &config, Architecture::PreTraining));
    assert!(report.missing.contains(&"mask_token".to_owned()), "{report}");

    let options = LoadOptions { fresh_head: true, ..LoadOptions::default() };
    let (loaded, report) = load(&map, &config, Architecture::PreTraining, options).unwrap();
    assert!(report.fresh.contains(&"mask_token".to_owned()), "{report}");
    assert_eq!(loaded.get("mask_token").unwrap().unwrap().to_f32().unwrap(), [0.0; 4]);
}

/// Reference bug 3, its second half: transformers 4 leaves q and v biases uninitialised when the file has them
/// under the newer names.
#[test]
fn absent_biases_are_an_error_even_with_a_fresh_head() {
    let config = tiny();
    let map = weights(&VideoMAEConfig { qkv_bias: false, ..tiny() }, CLASSIFIER);
    let options = LoadOptions { fresh_head: true, ..LoadOptions::default() };
    let report = report_of(load(&map, &config, CLASSIFIER, options));
    assert_eq!(report.missing.len(), 2 * 2, "{report}");
}

#[test]
fn biases_that_the_config_denies_are_reported() {
    let map = weights(&tiny(), CLASSIFIER);
    let config = VideoMAEConfig { qkv_bias: false, ..tiny() };
    let (_, report) = load_strictly(&map, &config, CLASSIFIER).unwrap();
    assert_eq!(report.unexpected.len(), 2 * 2, "{report}");
    assert!(report.is_notable());
}

#[test]
fn without_classes_there_is_no_classifier() {
    let config = tiny().with_num_labels(0);
    let map = renamed(&weights(&tiny(), CLASSIFIER), |key| {
        (!key.starts_with("classifier")).then(|| key.to_owned())
    });
    assert_eq!(load_strictly(&map, &config, CLASSIFIER).unwrap().0, map);
}

#[test]
fn an_impossible_config_is_refused_before_anything_is_read() {
    let config = VideoMAEConfig { num_attention_heads: 4, ..tiny() };
    let error = load_strictly(&weights(&tiny(), CLASSIFIER), &config, CLASSIFIER).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
    // The decoder's heads matter to the model that has a decoder, and to no other.
    let config = VideoMAEConfig { decoder_num_attention_heads: 3, ..tiny() };
    assert!(load_strictly(&weights(&tiny(), CLASSIFIER), &config, CLASSIFIER).is_ok());
    assert!(matches!(
        FreshWeights::new(&config, Architecture::PreTraining, 0),
        Err(Error::Config { field, .. }) if field == "decoder_hidden_size"
    ));
}

#[test]
fn model_code_that_asks_for_the_wrong_tensor_is_told() {
    let config = tiny();
    let map = weights(&config, Architecture::Model);
    let loader = WeightLoader::new(&map, &config, Architecture::Model, LoadOptions::default()).unwrap();
    let layer = loader.root().sub("videomae.encoder.layer").index(0);
    assert!(layer.has("layernorm_before.weight") && !layer.has("layernorm.weight"));
    for (name, shape) in [("layernorm.weight", 6), ("layernorm_before.weight", 7)] {
        let message = layer.tensor(name, &[shape]).unwrap_err().to_string();
        assert!(message.contains(&format!("videomae.encoder.layer.0.{name}")), "{message}");
    }
    layer.tensor("layernorm_before.weight", &[6]).unwrap();
    // All the others were forgotten.
    let message = loader.finish().unwrap_err().to_string();
    assert!(message.contains("no layer asked for it"), "{message}");
}

/// A source that lies about what it has.
struct Fickle(WeightMap);

impl WeightSource for Fickle {
    fn name(&self) -> String {
        "fickle".to_owned()
    }

    fn keys(&self) -> Vec<String> {
        self.0.keys()
    }

    fn info(&self, key: &str) -> Result<Option<videomae::checkpoint::TensorInfo>> {
        self.0.info(key)
    }

    fn get(&self, _: &str) -> Result<Option<WeightData<'_>>> {
        Ok(None)
    }
}

#[test]
fn a_source_that_changes_its_mind_is_an_error() {
    let config = tiny();
    let source = Fickle(weights(&config, Architecture::Model));
    let message = load_strictly(&source, &config, Architecture::Model).unwrap_err().to_string();
    assert!(message.starts_with("fickle: tensor videomae.embeddings"), "{message}");
}

#[test]
fn a_report_survives_json() {
    let report = report_of(load_strictly(&WeightMap::new(), &tiny(), CLASSIFIER));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<LoadReport>(&json).unwrap(), report);
    // Nothing at all is loaded, and still the message is short: layers are folded.
    assert!(report.to_string().lines().count() < 30, "{report}");
}
