//! What both processors understand, refuse and write; the fixtures are compared in `recorded`.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Frames, FramesView};

fn noise(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|i| (crate::random::hash(seed, i) >> 56) as u8).collect()
}

#[test]
fn files_in_the_wild_are_understood() {
    // Sizes as numbers and the old class name, as the first published checkpoints have them.
    let old = r#"{"size": 224, "crop_size": 224, "resample": 2, "feature_extractor_type": "VideoMAEFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_rescale": null,
        "_valid_processor_keys": ["videos"], "data_format": "channels_first", "my_note": 1}"#;
    let processor = VideoMAEImageProcessor::from_json(old).unwrap();
    let options = processor.options();
    assert_eq!((options.size, options.crop_size), (Size::ShortestEdge(224), Size::square(224)));
    assert!(options.do_rescale);
    assert_eq!(options.image_mean, [0.485, 0.456, 0.406].into());
    assert_eq!(processor.unused_entries().collect::<Vec<_>>(), ["data_format", "my_note"]);
    let square = VideoMAEImageProcessor::from_json(r#"{"size": 32, "default_to_square": true}"#).unwrap();
    assert_eq!(square.options().size, Size::square(32));
    assert_eq!(VideoMAEImageProcessor::from_json("{}").unwrap(), VideoMAEImageProcessor::default());
    assert_eq!(VideoMAEVideoProcessor::from_json("{}").unwrap(), VideoMAEVideoProcessor::default());
}

#[test]
fn entries_that_cannot_be_honoured_are_errors_that_name_them() {
    for (json, message) in [
        (json!({"resample": 4}), "resample: expected a filter of the numerics torchvision: "),
        (json!({"resample": 9}), "resample: expected the number of a filter, 0 to 5, found 9"),
        (json!({"size": {"longest_edge": 3}}), "size: expected height and width, shortest_edge, "),
        (
            json!({"size": {"min_pixels": 3, "max_pixels": 9}}),
            "size: expected height and width, shortest_edge, ",
        ),
        (json!({"size": {"height": 3, "width": 4, "shortest_edge": 5}}), "size: expected height and width, "),
        (json!({"size": 0}), "size: expected a whole number above 0, found 0"),
        (json!({"size": -5}), "size: expected a whole number above 0, found -5"),
        (json!({"size": [3]}), "size: expected a number, a list of two or an object, found [3]"),
        (json!({"size": 1e300}), "size: expected a whole number above 0, found 1e+300"),
        (
            json!({"crop_size": {"shortest_edge": 3, "longest_edge": 9}}),
            "crop_size: expected height and width, found ",
        ),
        (json!({"do_resize": "yes"}), "do_resize: expected true or false, found \"yes\""),
        (
            json!({"image_std": [0.5, 0, 0.5]}),
            "image_std: expected finite numbers other than 0, found [0.5, 0.0, 0.5]",
        ),
        (json!({"image_mean": "0.5"}), "image_mean: expected a number or a list of numbers, found \"0.5\""),
        (json!({"rescale_factor": 0}), "rescale_factor: expected a finite number other than 0, found 0"),
        (json!({"numerics": "cupy"}), "numerics: expected one of torchvision, pillow, "),
        (json!({"device": "cuda"}), "device: expected \"cpu\", found \"cuda\""),
        (
            json!({"image_processor_type": "ViTImageProcessor"}),
            "image_processor_type: expected one of VideoMAE",
        ),
        (json!([1]), "processor configuration: expected a JSON object, found [1]"),
    ] {
        let error = VideoMAEImageProcessor::from_json(json.to_string()).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    for (json, message) in [
        (
            json!({"do_sample_frames": true, "num_frames": 4, "fps": 2}),
            "num_frames: expected either num_frames or fps",
        ),
        (json!({"num_frames": 0}), "num_frames: expected a whole number above 0, found 0"),
        (json!({"fps": -1}), "fps: expected a positive number, found -1"),
    ] {
        let error = VideoMAEVideoProcessor::from_json(json.to_string()).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn saved_processors_are_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/checkpoint");
    let text = r#"{"size": {"shortest_edge": 20, "longest_edge": 22}, "crop_size": [7, 9], "image_mean": 0.25,
        "do_rescale": false, "rescale_factor": 0.1, "my_note": {"kept": true}}"#;
    let image = VideoMAEImageProcessor::from_json(text).unwrap();
    let video = VideoMAEVideoProcessor::from_json(text).unwrap().with_sampling(|sampling| {
        *sampling =
            SamplingOptions { do_sample_frames: true, num_frames: Some(4), fps: None, return_metadata: true };
    });
    assert_eq!(image.save_pretrained(&path).unwrap(), path.join("preprocessor_config.json"));
    let (image_options, video_options) =
        (image.options(), VideoMAEVideoProcessor::from_pretrained(&path).unwrap());
    // Without a file of its own the video processor reads that of the image processor.
    assert_eq!(video_options.options().size, image_options.size);
    assert_eq!(video.save_pretrained(&path).unwrap(), path.join("video_preprocessor_config.json"));
    assert_eq!(VideoMAEImageProcessor::from_pretrained(&path).unwrap(), image);
    assert_eq!(VideoMAEVideoProcessor::from_pretrained(&path).unwrap(), video);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn the_nested_file_goes_first_and_is_not_shadowed_by_saving() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("preprocessor_config.json", r#"{"size": 10}"#);
    write("processor_config.json", r#"{"image_processor": {"size": 12}}"#);
    let image = VideoMAEImageProcessor::from_pretrained(directory.path()).unwrap();
    assert_eq!(image.options().size, Size::ShortestEdge(12));
    let video = VideoMAEVideoProcessor::from_pretrained(directory.path()).unwrap();
    assert_eq!(video.options().size, Size::ShortestEdge(10));
    let error = image.save_pretrained(directory.path()).unwrap_err().to_string();
    assert!(error.contains("processor_config.json: save_pretrained: expected no entry"), "{error}");
    video.save_pretrained(directory.path()).unwrap();
}

#[test]
fn missing_and_broken_files_are_errors_that_name_them() {
    let directory = tempfile::tempdir().unwrap();
    let error = VideoMAEVideoProcessor::from_pretrained(directory.path()).unwrap_err().to_string();
    let looked_for = "processor_config.json, video_preprocessor_config.json, preprocessor_config.json";
    assert!(error.ends_with(&format!("no processor configuration, looked for {looked_for}")), "{error}");
    let file = directory.path().join("preprocessor_config.json");
    assert!(
        VideoMAEImageProcessor::from_pretrained(&file)
            .unwrap_err()
            .to_string()
            .contains("preprocessor_config")
    );
    std::fs::write(&file, "{").unwrap();
    let error = VideoMAEImageProcessor::from_pretrained(directory.path()).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json: not valid JSON"), "{error}");
    std::fs::write(&file, vec![b' '; (1 << 20) + 1]).unwrap();
    let error = VideoMAEImageProcessor::from_pretrained(directory.path()).unwrap_err().to_string();
    assert!(error.contains("at most 1048576 bytes"), "{error}");
}

#[test]
fn videos_that_do_not_fit_together_are_errors() {
    let frames =
        |num_frames, edge: usize| Frames::new(vec![9; num_frames * edge * edge * 3], num_frames, edge, edge);
    let (two, three) = (frames(2, 30).unwrap(), frames(3, 31).unwrap());
    let processor = VideoMAEImageProcessor::default();
    let error = processor.preprocess([&two, &three]).unwrap_err().to_string();
    assert!(error.starts_with("batch of videos: expected [2, 3, 224, 224] (T, C, H, W)"), "{error}");
    assert!(error.ends_with("found [3, 3, 224, 224] for video 1"), "{error}");
    let none: [&Frames; 0] = [];
    assert!(processor.preprocess(none).is_err());
    let error = processor.preprocess_into([&two], &mut [0.0; 5]).unwrap_err().to_string();
    assert!(error.starts_with("pixel_values: expected 301056 values"), "{error}");
    let error = processor.with(|o| o.image_std = [1.0; 4].into()).preprocess([&two]).unwrap_err().to_string();
    assert_eq!(error, "image_std: expected 1 or 3 numbers, one per channel, found [1.0, 1.0, 1.0, 1.0]");
}

#[test]
fn a_batch_is_its_videos_one_after_the_other_also_in_the_callers_memory() {
    let processor = VideoMAEImageProcessor::default().with_size(Size::ShortestEdge(11)).with_crop_size(9, 10);
    let first = Frames::new(noise(2 * 20 * 30 * 3, 1), 2, 20, 30).unwrap();
    let second = Frames::new(noise(2 * 25 * 15 * 3, 2), 2, 25, 15).unwrap();
    let batch = processor.preprocess([&first, &second]).unwrap();
    assert_eq!(batch.shape, [2, 2, 3, 9, 10]);
    let alone = [&first, &second].map(|video| processor.preprocess([video]).unwrap().data).concat();
    assert_eq!(batch.data, alone);
    let mut memory = vec![f32::NAN; batch.data.len()];
    assert_eq!(processor.preprocess_into([&first, &second], &mut memory).unwrap(), batch.shape);
    assert_eq!(memory, batch.data);
    assert_eq!(processor.output_shape([&first, &second]).unwrap(), batch.shape);
}

#[test]
fn sampled_frames_are_told_when_asked() {
    let frames = Frames::new(noise(10 * 4 * 6 * 3, 1), 10, 4, 6).unwrap();
    let processor = VideoMAEVideoProcessor::default()
        .with(|options| options.do_resize = false)
        .with_sampling(|s| (s.do_sample_frames, s.fps, s.return_metadata) = (true, Some(10.0), true));
    let video = VideoInput { frames: (&frames).into(), fps: Some(25.0) };
    let metadata = processor.preprocess([video]).unwrap().video_metadata.unwrap();
    let expected = VideoMetadata {
        total_num_frames: 10,
        fps: Some(25.0),
        width: 6,
        height: 4,
        frames_indices: vec![0, 2, 5, 7],
    };
    assert_eq!(metadata, [expected]);
    let error = processor.preprocess([&frames]).unwrap_err().to_string();
    assert_eq!(error, "fps: expected a video of known frame rate, found fps 10 and no frame rate");
    let error = processor.preprocess([VideoInput { fps: Some(5.0), ..video }]).unwrap_err().to_string();
    assert!(error.starts_with("sampling: expected from 1 to 10 frames"), "{error}");
}

#[test]
fn an_opaque_alpha_channel_is_dropped() {
    let processor = VideoMAEVideoProcessor::default().with(|options| options.do_resize = false);
    let mut bytes = noise(2 * 2 * 4, 1);
    let rgba = |bytes: &[u8]| processor.preprocess([FramesView::new(bytes, [1, 2, 2, 4]).unwrap()]).unwrap();
    let transparent = rgba(&bytes);
    bytes.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    let rgb: Vec<u8> = bytes.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
    let expected = processor.preprocess([FramesView::new(&rgb, [1, 2, 2, 3]).unwrap()]).unwrap();
    assert!(rgba(&bytes) == expected, "opaque");
    assert!(transparent != expected, "transparent");
}

#[test]
fn frames_of_one_video_may_differ_in_size() {
    let processor = VideoMAEImageProcessor::default().with_size(Size::ShortestEdge(9)).with_crop_size(8, 8);
    let large = Frames::new(noise(20 * 30 * 3, 1), 1, 20, 30).unwrap();
    let upright = Frames::new(noise(25 * 15 * 3, 2), 1, 25, 15).unwrap();
    let video = processor.preprocess_frames([&large, &upright]).unwrap();
    assert_eq!(video.shape, [1, 2, 3, 8, 8]);
    assert!(video.data == processor.preprocess([&large, &upright]).unwrap().data);
    let uncropped = processor.with(|options| options.do_center_crop = false);
    assert!(uncropped.preprocess_frames([&large, &upright]).is_err());
}

#[test]
fn the_options_of_a_call_go_before_those_of_the_processor() {
    let json = json!({"size": 30, "image_std": [0.2, 0.3, 0.4], "my_note": 1, "numerics": "pillow"});
    let image = VideoMAEImageProcessor::from_json(json.to_string()).unwrap();
    let changed = image
        .with_json(r#"{"size": {"height": 7, "width": 9}, "do_normalize": false, "crop_size": null, "do_pad": true}"#)
        .unwrap();
    let options = image.options();
    let expected = ProcessorOptions {
        size: Size::Exact { height: 7, width: 9 },
        do_normalize: false,
        ..options.clone()
    };
    assert_eq!(changed.options(), &expected);
    let error = image.with_json(r#"{"sizes": 3}"#).unwrap_err().to_string();
    assert_eq!(error, "options of a call: expected names of options, found \"sizes\"");
    assert!(image.with_json(r#"{"resample": 9}"#).is_err());
    let video = VideoMAEVideoProcessor::from_json(json.to_string()).unwrap();
    let changed = video.with_json(r#"{"do_sample_frames": true, "num_frames": 4}"#).unwrap();
    assert_eq!(changed.sampling().num_frames, Some(4));
    assert_eq!(changed.options(), video.options());
    assert!(changed.with_json(r#"{"fps": 2}"#).is_err(), "both a number and a rate");
}

#[test]
fn numerics_are_named_in_files_only_where_they_are_not_the_default() {
    let default = VideoMAEImageProcessor::default();
    assert!(!default.to_json().contains("numerics"));
    for (json, numerics) in [
        (json!({"numerics": "pillow-12"}), Numerics::Pillow12),
        (json!({"image_processor_type": "VideoMAEImageProcessorPil"}), Numerics::Pillow),
        (json!({"image_processor_type": "VideoMAEImageProcessor"}), Numerics::Torchvision),
    ] {
        let processor = VideoMAEImageProcessor::from_json(json.to_string()).unwrap();
        assert_eq!(processor.options().numerics, numerics);
        assert_eq!(VideoMAEImageProcessor::from_json(processor.to_json()).unwrap(), processor);
    }
}

#[test]
fn opencv_neither_pads_nor_takes_values() {
    let processor = VideoMAEImageProcessor::default()
        .with(|options| (options.numerics, options.do_resize) = (Numerics::OpencvLinear, false));
    let small = Frames::new(noise(20 * 300 * 3, 1), 1, 20, 300).unwrap();
    let error = processor.preprocess([&small]).unwrap_err().to_string();
    assert_eq!(error, "crop_size: expected at most the resized frame, 20×300, found 224×224");
    let values = vec![0.5f32; 224 * 224 * 3];
    let view = FramesView::new(&values, [1, 224, 224, 3]).unwrap();
    let error = processor.preprocess([view]).unwrap_err().to_string();
    assert_eq!(error, "numerics: expected frames of bytes for opencv-linear, found 0.5");
}

#[test]
#[expect(deprecated, reason = "the old name is what is tested")]
fn the_old_name_is_the_same_class() {
    assert_eq!(VideoMAEFeatureExtractor::default(), VideoMAEImageProcessor::default());
}

/// Any small JSON value.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..300).prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        let key =
            prop::sample::select(vec!["height", "width", "shortest_edge", "longest_edge", "max_height", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..3).prop_map(|entries| Value::Object(
                entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn random_text_never_panics(bytes: Vec<u8>, text: String) {
        let _ = VideoMAEImageProcessor::from_json(&bytes);
        let _ = VideoMAEVideoProcessor::from_json(text);
    }

    #[test]
    fn a_mutated_file_is_an_error_or_works(
        name in prop::sample::select(vec![
            "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
            "do_normalize", "image_mean", "image_std", "do_convert_rgb", "do_sample_frames", "num_frames", "fps",
            "return_metadata", "do_pad", "device", "default_to_square", "image_processor_type", "numerics",
        ]),
        value in any_json(),
    ) {
        let text = json!({"size": 6, "crop_size": 5, name: value}).to_string();
        let bytes = noise(2 * 4 * 7 * 3, 3);
        let frames = FramesView::new(&bytes, [2, 4, 7, 3]).unwrap();
        if let Ok(processor) = VideoMAEVideoProcessor::from_json(&text) {
            prop_assert_eq!(&VideoMAEVideoProcessor::from_json(processor.to_json()).unwrap(), &processor);
            // Valid sizes may still be large; only small ones are tried, to save time.
            if !matches!(name, "size" | "crop_size") {
                let _ = processor.preprocess([frames]);
            }
        }
        let _ = VideoMAEImageProcessor::from_json(&text);
    }
}

#[test]
fn levels_and_their_table_are_the_pixel_values_bit_for_bit() {
    let bytes = noise(2 * 9 * 14 * 3, 5);
    let frames = Frames::new(bytes, 2, 9, 14).unwrap();
    for numerics in [Numerics::Torchvision, Numerics::Pillow, Numerics::OpencvLinear] {
        // A crop that is larger than the frame in one direction, so that there is padding.
        let processor = VideoMAEImageProcessor::default().with(|options| {
            options.numerics = numerics;
            options.size = Size::ShortestEdge(6);
            options.crop_size =
                Size::Exact { height: if numerics == Numerics::OpencvLinear { 6 } else { 8 }, width: 6 };
            options.image_mean = [0.4, 0.5, 0.6].into();
        });
        let levels = processor.preprocess_levels([&frames, &frames]).unwrap();
        assert_eq!(
            levels.to_pixel_values(),
            processor.preprocess([&frames, &frames]).unwrap(),
            "{numerics:?}"
        );
    }
    let values: Vec<f32> = noise(9 * 14 * 3, 6).iter().map(|&level| f32::from(level) + 0.5).collect();
    let numbers = FramesView::new(&values[..], [1, 9, 14, 3]).unwrap();
    let message = VideoMAEImageProcessor::default().preprocess_levels([numbers]).unwrap_err().to_string();
    assert!(message.starts_with("frames: expected bytes, to be given as levels, found "), "{message}");
}
