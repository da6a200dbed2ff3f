//! Checkpoints in the layout of the original authors compute what transformers computes from the same weights.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::path::PathBuf;

use kernels_backend::{DType, tolerance::Comparison};
use serde_json::Value;
use videomae::{
    ConfigOverrides, HostTensor, Size, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    checkpoint::{
        Architecture, Checkpoint, Layout, LoadOptions, OriginalWeights, Recognized, WeightData, WeightMap,
        WeightSource,
    },
};

const CASES: [&str; 4] = ["v1-finetuned", "v1-pretraining", "v2-selected", "v2-encoder"];

struct Case {
    folder: PathBuf,
    json: Value,
}

impl Case {
    fn read(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/original").join(name);
        let json = std::fs::read_to_string(folder.join("case.json")).unwrap();
        Self { folder, json: serde_json::from_str(&json).unwrap() }
    }

    fn number(&self, pointer: &str) -> Option<usize> {
        self.json.pointer(pointer).and_then(Value::as_u64).map(|n| usize::try_from(n).unwrap())
    }

    fn overrides(&self) -> ConfigOverrides {
        ConfigOverrides {
            num_attention_heads: self.number("/overrides/num_attention_heads"),
            decoder_num_attention_heads: self.number("/overrides/decoder_num_attention_heads"),
            image_size: self.number("/overrides/image_size").map(Size::square),
            num_frames: self.number("/overrides/num_frames"),
        }
    }

    fn head_rows(&self) -> Option<Vec<usize>> {
        serde_json::from_value(self.json["head_rows"].clone()).unwrap()
    }

    fn weights(&self) -> Checkpoint {
        Checkpoint::open(self.folder.join("weights.pth")).unwrap()
    }

    fn logits(&self, recognized: &Recognized<'_>) -> HostTensor {
        let inputs = Checkpoint::open(self.folder.join("inputs.safetensors")).unwrap();
        let pixels = inputs.get("pixel_values").unwrap().unwrap();
        let shape: [usize; 5] = pixels.shape().try_into().unwrap();
        let pixels = pixels.to_f32().unwrap();
        let inputs = VideoInputs::new(&pixels, shape);
        let backend = kernels::open("reference").unwrap();
        let options = LoadOptions::default();
        let (config, weights) = (recognized.config.clone(), recognized.weights());
        if recognized.architecture == Architecture::PreTraining {
            let (model, report) =
                VideoMAEForPreTraining::from_weights(config, weights, backend, &options).unwrap();
            assert!(!report.is_notable() && report.unused.is_empty(), "{report}");
            let mask = self.mask();
            let inputs = VideoInputs { bool_masked_pos: Some(&mask), ..inputs };
            return model.forward(&mut model.session().unwrap(), &inputs).unwrap().logits;
        }
        let (model, report) =
            VideoMAEForVideoClassification::from_weights(config, weights, backend, &options).unwrap();
        assert!(!report.is_notable() && report.unused.is_empty(), "{report}");
        model.forward(&mut model.session().unwrap(), &inputs).unwrap().logits
    }

    /// Booleans are no weights, so the reference's own parser reads them.
    fn mask(&self) -> Vec<bool> {
        let bytes = std::fs::read(self.folder.join("inputs.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        tensors.tensor("bool_masked_pos").unwrap().data().iter().map(|&byte| byte != 0).collect()
    }
}

#[test]
fn original_checkpoints_compute_what_transformers_computes() {
    for name in CASES {
        let case = Case::read(name);
        let source = case.weights();
        let recognized =
            Recognized::new(&source, None, &case.overrides(), case.head_rows().as_deref()).unwrap();
        assert_eq!(recognized.layout, Layout::Original);
        assert_eq!(recognized.architecture.class_name(), case.json["model"], "{name}");
        let logits = case.logits(&recognized);
        let expected = Checkpoint::open(case.folder.join("expected.safetensors")).unwrap();
        let expected = expected.get("logits").unwrap().unwrap();
        assert_eq!(logits.shape[..], *expected.shape(), "{name}");
        // Errors of sums that follow one another add up.
        let length = case.number("/longest_sum").unwrap() * case.number("/chained_sums").unwrap();
        Comparison::of(&logits.data, &expected.to_f32().unwrap()).assert_within(name, DType::F32, length);
    }
}

#[test]
fn shapes_and_a_few_numbers_tell_the_configuration() {
    for name in CASES {
        let case = Case::read(name);
        let source = case.weights();
        let recognized =
            Recognized::new(&source, None, &case.overrides(), case.head_rows().as_deref()).unwrap();
        assert!(recognized.assumed.is_empty(), "{name}: {:?}", recognized.assumed);
        let expected = VideoMAEConfig::from_file(case.folder.join("config.json")).unwrap();
        assert_eq!(expected.layer_norm_eps, 1e-6);
        // What is no property of weights, and a decoder that a classifier has no weights of.
        let mut found = recognized.config;
        found.extra.clone_from(&expected.extra);
        (found.dtype, found.architectures) = (expected.dtype, expected.architectures.clone());
        if recognized.architecture != Architecture::PreTraining {
            found.decoder_hidden_size = expected.decoder_hidden_size;
            found.decoder_num_hidden_layers = expected.decoder_num_hidden_layers;
            found.decoder_num_attention_heads = expected.decoder_num_attention_heads;
            found.decoder_intermediate_size = expected.decoder_intermediate_size;
        }
        if recognized.architecture != Architecture::VideoClassification {
            (found.id2label, found.label2id) = (expected.id2label.clone(), expected.label2id.clone());
        }
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn what_transformers_cannot_hold_is_refused_by_name() {
    let case = Case::read("v1-finetuned");
    let sound = WeightMap::copy_of(&case.weights()).unwrap();
    for (key, shape, expected) in [
        ("blocks.0.gamma_1", vec![12], "tensor blocks.0.gamma_1: expected no layer scale"),
        ("blocks.1.attn.scale", vec![3, 1, 1], "tensor blocks.1.attn.scale: expected no cosine attention"),
        ("cls_token", vec![1, 1, 12], "tensor cls_token: expected no class token"),
        ("pos_embed", vec![1, 8, 12], "tensor pos_embed: expected the fixed sinusoid table"),
        ("module.head.bias", vec![5], "expected one tensor for classifier.bias, found it under head.bias"),
    ] {
        let mut map = sound.clone();
        map.insert(key, WeightData::f32(&shape, &vec![2.0; shape.iter().product()]).unwrap());
        let message = OriginalWeights::new(&map, None).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let mut fixed = sound.clone();
    fixed.insert("pos_embed", WeightData::f32(&[1, 8, 12], &videomae::sinusoid_table(8, 12)).unwrap());
    assert_eq!(
        OriginalWeights::new(&fixed, None).unwrap().keys(),
        OriginalWeights::new(&sound, None).unwrap().keys()
    );
    let message = OriginalWeights::new(&sound, Some(&[0, 5])).err().unwrap().to_string();
    assert!(
        message.contains("classifier.weight: expected rows below 5 to be selected, found 5"),
        "{message}"
    );
}

#[test]
fn fused_rows_are_query_key_and_value_in_this_order() {
    let source = Case::read("v1-finetuned").weights();
    let original = OriginalWeights::new(&source, None).unwrap();
    let fused = source.get("blocks.1.attn.qkv.weight").unwrap().unwrap();
    let parts: Vec<u8> = ["query", "key", "value"]
        .into_iter()
        .flat_map(|part| {
            let key = format!("videomae.encoder.layer.1.attention.attention.{part}.weight");
            let data = original.get(&key).unwrap().unwrap();
            assert_eq!(data.shape(), [12, 12]);
            assert_eq!(original.info(&key).unwrap().unwrap().shape, [12, 12]);
            data.bytes().to_vec()
        })
        .collect();
    assert_eq!(parts, fused.bytes());
    let name = original.stored_name("videomae.encoder.layer.1.attention.attention.key.weight");
    assert_eq!(name, "blocks.1.attn.qkv.weight rows 1D..2D");
}
