//! Configurations: both generations of files, every default, and every way to be wrong.

#![expect(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use kernels_backend::{Activation, DType};
use proptest::prelude::*;
use serde_json::{Value, json};
use videomae::{Error, ProblemType, Size, VideoMAEConfig};

fn read(json: &Value) -> videomae::Result<VideoMAEConfig> {
    VideoMAEConfig::from_json_str(&json.to_string())
}

#[test]
fn an_empty_file_has_the_defaults_of_the_reference() {
    let config = read(&json!({})).unwrap();
    assert_eq!(config, VideoMAEConfig::default());
    assert_eq!((config.image_size, config.patch_size), (Size::square(224), Size::square(16)));
    assert_eq!((config.num_channels, config.num_frames, config.tubelet_size), (3, 16, 2));
    assert_eq!((config.hidden_size, config.num_hidden_layers), (768, 12));
    assert_eq!((config.num_attention_heads, config.intermediate_size), (12, 3072));
    assert_eq!(config.hidden_act.activation(), Activation::Gelu);
    assert_eq!((config.hidden_dropout_prob, config.attention_probs_dropout_prob), (0.0, 0.0));
    assert_eq!((config.initializer_range, config.layer_norm_eps), (0.02, 1e-12));
    assert!(config.qkv_bias && config.use_mean_pooling && config.norm_pix_loss);
    assert_eq!((config.decoder_hidden_size, config.decoder_num_hidden_layers), (384, 4));
    assert_eq!((config.decoder_num_attention_heads, config.decoder_intermediate_size), (6, 1536));
    assert_eq!(config.num_labels(), 2);
    assert_eq!((config.label(0), config.label(1)), ("LABEL_0".to_owned(), "LABEL_1".to_owned()));
    assert_eq!((config.problem_type, config.dtype), (None, None));
    assert_eq!((config.num_tokens(), config.patch_dim(), config.head_dim()), (1568, 1536, 64));
}

#[test]
fn both_generations_spell_the_bias_flag_and_the_type() {
    for flag in ["qkv_bias", "qv_bias"] {
        assert!(!read(&json!({ flag: false })).unwrap().qkv_bias, "{flag}");
    }
    assert!(!read(&json!({ "qkv_bias": false, "qv_bias": false })).unwrap().qkv_bias);
    for key in ["dtype", "torch_dtype"] {
        for (name, dtype) in [
            ("float32", DType::F32),
            ("float16", DType::F16),
            ("bfloat16", DType::Bf16),
            ("torch.bfloat16", DType::Bf16),
        ] {
            assert_eq!(read(&json!({ key: name })).unwrap().dtype, Some(dtype), "{key} {name}");
        }
    }
    // Where a file has both, the reference takes the new name.
    let both = json!({ "dtype": "float16", "torch_dtype": "float32" });
    assert_eq!(read(&both).unwrap().dtype, Some(DType::F16));
    // `null` is how the reference writes an inherited field without a value.
    let nulls = json!({ "dtype": null, "problem_type": null, "id2label": null, "output_attentions": null });
    assert_eq!(read(&nulls).unwrap(), VideoMAEConfig::default());
}

#[test]
fn sizes_are_one_number_or_height_and_width() {
    let config = read(&json!({ "image_size": [32, 48], "patch_size": [8, 16] })).unwrap();
    assert_eq!(config.image_size, Size { height: 32, width: 48 });
    assert_eq!(config.patch_size, Size { height: 8, width: 16 });
    assert_eq!((config.num_tokens(), config.patch_dim()), (8 * 4 * 3, 3 * 2 * 8 * 16));
    assert_eq!(config.grid(4, 16, 64).unwrap(), [2, 2, 4]);
    let text = config.to_json();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written["image_size"], json!([32, 48]));
    assert_eq!(serde_json::from_str::<Value>(&VideoMAEConfig::base().to_json()).unwrap()["image_size"], 224);
}

#[test]
fn a_clip_that_the_patches_do_not_divide_is_refused() {
    // The reference drops the last frame or the edge without a word (semantics, section 3.8).
    let config = VideoMAEConfig::base();
    for (frames, height, width, what) in
        [(17, 224, 224, "frames"), (16, 225, 224, "height"), (16, 224, 33, "width"), (0, 224, 224, "frames")]
    {
        let message = config.grid(frames, height, width).unwrap_err().to_string();
        assert!(message.contains("pixel_values") && message.contains(what), "{message}");
    }
}

#[test]
fn labels_come_from_either_map_or_a_count() {
    let named = json!({ "id2label": { "0": "left", "1": "right", "2": "up" } });
    let config = read(&named).unwrap();
    assert_eq!((config.num_labels(), config.label(1).as_str(), config.label2id["up"]), (3, "right", 2));
    let agreed = json!({ "id2label": { "0": "a" }, "label2id": { "a": 0 }, "num_labels": 1 });
    assert_eq!(read(&agreed).unwrap().num_labels(), 1);
    let counted = read(&json!({ "num_labels": 3 })).unwrap();
    assert_eq!((counted.num_labels(), counted.label2id["LABEL_2"]), (3, 2));
    let inverted = read(&json!({ "label2id": { "b": 1, "a": 0 } })).unwrap();
    assert_eq!((inverted.label(0), inverted.label(1)), ("a".to_owned(), "b".to_owned()));
    // Without classes the head is the identity.
    assert_eq!(read(&json!({ "num_labels": 0 })).unwrap().num_labels(), 0);
    assert_eq!(read(&json!({ "id2label": {} })).unwrap().num_labels(), 0);
    // The reference counts the entries, whatever their numbers.
    let gap = read(&json!({ "id2label": { "0": "a", "2": "c" } })).unwrap();
    assert_eq!((gap.num_labels(), gap.label(1).as_str()), (2, "LABEL_1"));
}

#[test]
fn a_wrong_field_is_named_with_what_it_should_be_and_what_it_is() {
    let cases = [
        (json!({ "model_type": "vivit" }), "model_type", "vivit"),
        (json!({ "hidden_size": 0 }), "hidden_size", "0"),
        (json!({ "hidden_size": -8 }), "hidden_size", "-8"),
        (json!({ "hidden_size": 768.0 }), "hidden_size", "768.0"),
        (json!({ "hidden_size": "768" }), "hidden_size", "string"),
        (json!({ "hidden_size": null }), "hidden_size", "null"),
        (json!({ "hidden_size": 770 }), "hidden_size", "770"),
        (json!({ "hidden_size": 1u64 << 40 }), "hidden_size", "1099511627776"),
        (json!({ "hidden_size": u64::MAX }), "hidden_size", "18446744073709551615"),
        (json!({ "hidden_size": 1 << 17, "num_attention_heads": 1 }), "hidden_size", "834498723840"),
        (json!({ "num_hidden_layers": 0 }), "num_hidden_layers", "0"),
        (json!({ "num_hidden_layers": 1_000_000 }), "num_hidden_layers", "1000000"),
        (json!({ "num_attention_heads": 0 }), "num_attention_heads", "0"),
        (json!({ "intermediate_size": 0 }), "intermediate_size", "0"),
        (json!({ "decoder_hidden_size": 0 }), "decoder_hidden_size", "0"),
        (json!({ "decoder_num_attention_heads": 0 }), "decoder_num_attention_heads", "0"),
        (json!({ "image_size": 0 }), "image_size", "0"),
        (json!({ "image_size": 225 }), "image_size", "225x225"),
        (json!({ "image_size": [224] }), "image_size", "[224]"),
        (json!({ "image_size": [224, 0] }), "image_size", "[224,0]"),
        (json!({ "image_size": { "height": 224 } }), "image_size", "object"),
        (json!({ "image_size": 65536, "num_frames": 65536 }), "hidden_size", "tokens"),
        (json!({ "patch_size": 0 }), "patch_size", "0"),
        (json!({ "num_frames": 15 }), "num_frames", "15"),
        (json!({ "tubelet_size": 0 }), "tubelet_size", "0"),
        (json!({ "num_channels": 0 }), "num_channels", "0"),
        (json!({ "num_channels": 100_000 }), "num_channels", "100000"),
        (json!({ "hidden_act": "gelo" }), "hidden_act", "gelo"),
        (json!({ "hidden_act": 3 }), "hidden_act", "number 3"),
        (json!({ "hidden_dropout_prob": 1.0 }), "hidden_dropout_prob", "1"),
        (json!({ "attention_probs_dropout_prob": -0.1 }), "attention_probs_dropout_prob", "-0.1"),
        (json!({ "attention_probs_dropout_prob": "0" }), "attention_probs_dropout_prob", "string"),
        (json!({ "layer_norm_eps": -1e-12 }), "layer_norm_eps", "-0.000000000001"),
        (json!({ "layer_norm_eps": true }), "layer_norm_eps", "boolean"),
        (json!({ "initializer_range": 2 }), "initializer_range", "2"),
        (json!({ "qkv_bias": 1 }), "qkv_bias", "number 1"),
        (json!({ "qkv_bias": true, "qv_bias": false }), "qkv_bias", "true"),
        (json!({ "use_mean_pooling": "no" }), "use_mean_pooling", "string"),
        (json!({ "problem_type": "ranking" }), "problem_type", "ranking"),
        (
            json!({ "problem_type": "single_label_classification", "num_labels": 1 }),
            "problem_type",
            "1 label",
        ),
        (json!({ "num_labels": 3, "id2label": { "0": "a", "1": "b" } }), "num_labels", "3"),
        (json!({ "num_labels": -1 }), "num_labels", "-1"),
        (json!({ "num_labels": 1u64 << 50 }), "num_labels", "1125899906842624"),
        (json!({ "id2label": ["a"] }), "id2label", "list"),
        (json!({ "id2label": { "zero": "a" } }), "id2label[\"zero\"]", "zero"),
        (json!({ "id2label": { "-1": "a" } }), "id2label[\"-1\"]", "-1"),
        (json!({ "id2label": { "0": 7 } }), "id2label[\"0\"]", "7"),
        (json!({ "id2label": { "1": "a", "01": "b" } }), "id2label[\"01\"]", "second"),
        (json!({ "label2id": { "a": 0.5 } }), "label2id[\"a\"]", "0.5"),
        (json!({ "label2id": { "a": 0, "b": 5 } }), "label2id", "5"),
        (json!({ "dtype": "float64" }), "dtype", "float64"),
        (json!({ "architectures": "VideoMAEModel" }), "architectures", "string"),
        (json!({ "output_attentions": 1 }), "output_attentions", "number 1"),
    ];
    for (config, field, found) in cases {
        let error = read(&config).expect_err(&config.to_string());
        let message = error.to_string();
        let Error::Config { field: named, .. } = error else { panic!("{config}: {message}") };
        assert_eq!(named, field, "{message}");
        assert!(message.contains("expected") && message.contains(found), "{config}: {message}");
    }
}

#[test]
fn numbers_may_be_written_as_integers_where_the_reference_takes_them() {
    let config =
        read(&json!({ "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0, "layer_norm_eps": 0 }));
    assert_eq!(config.unwrap().layer_norm_eps, 0.0);
}

#[test]
fn a_hostile_value_does_not_flood_the_message() {
    let message = read(&json!({ "hidden_act": "x".repeat(1 << 20) })).unwrap_err().to_string();
    assert!(message.len() < 1000, "{} bytes", message.len());
}

#[test]
fn errors_name_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, r#"{"hidden_act": "gelo"}"#).unwrap();
    for error in [VideoMAEConfig::from_file(&path), VideoMAEConfig::from_pretrained(directory.path())] {
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with(path.to_str().unwrap()), "{message}");
    }
    for (content, expected) in [("", "JSON"), ("[]", "object"), ("{\"hidden_size\": 768", "JSON")] {
        std::fs::write(&path, content).unwrap();
        let message = VideoMAEConfig::from_file(&path).unwrap_err().to_string();
        assert!(message.starts_with(path.to_str().unwrap()) && message.contains(expected), "{message}");
    }
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(matches!(VideoMAEConfig::from_file(&path), Err(Error::Io { .. })));
    let absent = directory.path().join("absent");
    assert!(VideoMAEConfig::from_pretrained(&absent).unwrap_err().to_string().contains("absent"));
    let message = VideoMAEConfig::from_file(directory.path()).unwrap_err().to_string();
    assert!(message.contains("a directory"), "{message}");
}

#[test]
fn the_config_beside_a_checkpoint_file_is_found() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), r#"{"num_labels": 7}"#).unwrap();
    let weights = directory.path().join("model.safetensors");
    std::fs::write(&weights, "").unwrap();
    assert_eq!(VideoMAEConfig::from_pretrained(&weights).unwrap().num_labels(), 7);
}

#[test]
fn unknown_keys_are_kept_and_written_back() {
    let json =
        json!({ "transformers_version": "4.22.0.dev0", "my": { "own": [1, null] }, "return_dict": true });
    let config = read(&json).unwrap();
    let written: Value = serde_json::from_str(&config.to_json()).unwrap();
    for key in ["transformers_version", "my", "return_dict"] {
        assert_eq!(written[key], json[key], "{key}");
    }
    assert_eq!(written["model_type"], "videomae");
}

#[test]
fn what_is_written_uses_the_names_that_both_generations_read() {
    let config = VideoMAEConfig {
        qkv_bias: false,
        dtype: Some(DType::Bf16),
        problem_type: Some(ProblemType::MultiLabelClassification),
        ..VideoMAEConfig::base()
    };
    let written: Value = serde_json::from_str(&config.to_json()).unwrap();
    assert_eq!(written["qkv_bias"], false);
    assert_eq!(written["dtype"], "bfloat16");
    assert_eq!(written["problem_type"], "multi_label_classification");
    assert_eq!(written["id2label"], json!({ "0": "LABEL_0", "1": "LABEL_1" }));
    // A float in JSON: transformers 5 rejects an integer epsilon.
    assert!(config.to_json().contains("\"layer_norm_eps\": 1e-12"), "{}", config.to_json());
    for absent in ["qv_bias", "torch_dtype", "num_labels"] {
        assert!(written.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn every_activation_keeps_the_name_it_was_given() {
    for (name, activation) in Activation::names() {
        let config = read(&json!({ "hidden_act": name })).unwrap();
        assert_eq!(config.hidden_act.activation(), *activation);
        let again = VideoMAEConfig::from_json_str(&config.to_json()).unwrap();
        assert_eq!(again.hidden_act.name(), *name);
    }
}

#[test]
fn the_decoder_takes_its_own_sizes_and_shares_the_rest() {
    let config = VideoMAEConfig { hidden_act: "relu".parse().unwrap(), ..VideoMAEConfig::small() };
    let decoder = config.decoder().unwrap();
    assert_eq!((decoder.hidden_size, decoder.num_hidden_layers), (192, 12));
    assert_eq!((decoder.num_attention_heads, decoder.intermediate_size, decoder.head_dim()), (3, 768, 64));
    assert_eq!(decoder.hidden_act.activation(), Activation::Relu);
    // A classifier may carry decoder sizes that fit nothing; only the decoder's construction is an error.
    let config = read(&json!({ "decoder_num_attention_heads": 7 })).unwrap();
    let message = config.decoder().unwrap_err().to_string();
    assert!(
        message.contains("decoder_hidden_size") && message.contains("decoder_num_attention_heads 7"),
        "{message}"
    );
}

#[test]
fn published_vit_s_has_sixteen_heads() {
    // Never the six that its width suggests (semantics, section 6, item 15).
    assert_eq!((VideoMAEConfig::small().num_attention_heads, VideoMAEConfig::small().head_dim()), (16, 24));
    for config in
        [VideoMAEConfig::small(), VideoMAEConfig::base(), VideoMAEConfig::large(), VideoMAEConfig::huge()]
    {
        config.validate().unwrap();
        config.decoder().unwrap();
    }
}

#[test]
fn a_config_changed_in_memory_is_checked_too() {
    let config = VideoMAEConfig { num_attention_heads: 5, ..VideoMAEConfig::base() };
    let message = config.validate().unwrap_err().to_string();
    assert!(
        message.starts_with("config: hidden_size") && message.contains("num_attention_heads 5"),
        "{message}"
    );
}

/// Any valid config of small sizes.
fn configs() -> impl Strategy<Value = VideoMAEConfig> {
    let sizes = (1usize..5, 1usize..5, 1usize..6, 1usize..6, 1usize..4, 1usize..4);
    let names = Activation::names();
    let rest = (0usize..6, 0..names.len(), any::<[bool; 4]>(), 0.0..0.9f64, 0..3usize, any::<u8>());
    (sizes, rest).prop_map(move |((patch, grid, heads, head_dim, layers, tubelet), rest)| {
        let (labels, act, flags, dropout, dtype, other) = rest;
        VideoMAEConfig {
            image_size: Size { height: patch * grid, width: patch * (grid + usize::from(flags[3])) },
            patch_size: Size::square(patch),
            num_frames: tubelet * 3,
            tubelet_size: tubelet,
            hidden_size: heads * head_dim,
            num_attention_heads: heads,
            num_hidden_layers: layers,
            hidden_act: names[act].0.parse().unwrap(),
            hidden_dropout_prob: dropout,
            qkv_bias: flags[0],
            use_mean_pooling: flags[1],
            norm_pix_loss: flags[2],
            dtype: [None, Some(DType::F32), Some(DType::F16)][dtype],
            extra: [("other".to_owned(), json!(other))].into_iter().collect(),
            ..VideoMAEConfig::base()
        }
        .with_num_labels(labels)
    })
}

proptest! {
    #[test]
    fn writing_and_reading_gives_the_same_config(config in configs()) {
        prop_assert_eq!(VideoMAEConfig::from_json_str(&config.to_json()).unwrap(), config);
    }

    #[test]
    fn random_text_is_an_error_and_never_a_panic(text in ".{0,200}") {
        prop_assume!(serde_json::from_str::<serde_json::Map<String, Value>>(&text).is_err());
        prop_assert!(VideoMAEConfig::from_json_str(&text).is_err());
    }

    /// Whatever passes can be computed with.
    #[test]
    fn random_numbers_are_refused_or_safe(
        field in 0..13usize,
        other in 0..13usize,
        x in any::<u64>(),
        bits in 0..64u32,
        y in 0..1u64 << 12,
    ) {
        const FIELDS: [&str; 13] = [
            "image_size", "patch_size", "num_channels", "num_frames", "tubelet_size", "hidden_size",
            "num_hidden_layers", "num_attention_heads", "intermediate_size", "decoder_hidden_size",
            "decoder_num_hidden_layers", "decoder_num_attention_heads", "num_labels",
        ];
        if let Ok(config) = read(&json!({ FIELDS[field]: x >> bits, FIELDS[other]: y })) {
            prop_assert!(config.num_tokens() > 0 && config.patch_dim() > 0 && config.head_dim() > 0);
            prop_assert!(config.num_tokens().checked_mul(config.hidden_size).is_some());
        }
    }

    #[test]
    fn a_damaged_file_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = VideoMAEConfig::base().to_json().into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(config) = VideoMAEConfig::from_json_str(&String::from_utf8_lossy(&bytes)) {
            prop_assert!(config.validate().is_ok());
        }
    }
}
