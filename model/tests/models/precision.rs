//! Models in half precision.

use kernels_backend::{DType, WeightFormat, tolerance::Comparison};
use videomae::{
    Labels, VideoInputs, VideoMAEForPreTraining, VideoMAEForVideoClassification, VideoMAEModel,
    checkpoint::{Architecture, LoadOptions},
};

use crate::support::{labelled, masked, masks, pixels, reference, shape, tiny, weights};

const HALF: [DType; 2] = [DType::Bf16, DType::F16];

/// The longest sum of the tiny models is a patch of 48 elements.
const LONGEST_SUM: usize = 48;
/// Sums one after another in an encoder of two layers: the projection of patches; q, k and v, scores, context,
/// projection and both halves of the MLP in each layer.
const ENCODER_SUMS: usize = 1 + 2 * 6;
/// The classifier comes after the encoder.
const CLASSIFIER_SUMS: usize = ENCODER_SUMS + 1;
/// The way into the decoder, two layers and the head come after the encoder.
const PRETRAINING_SUMS: usize = ENCODER_SUMS + 1 + 2 * 6 + 1;

fn options(dtype: DType) -> LoadOptions {
    let format = WeightFormat::of(dtype).expect("a float type");
    LoadOptions { format, ..LoadOptions::default() }
}

fn classifier(dtype: DType) -> VideoMAEForVideoClassification {
    let source = weights(&tiny(), Architecture::VideoClassification);
    VideoMAEForVideoClassification::from_weights(tiny(), &source, reference(), &options(dtype)).unwrap().0
}

fn pretraining(dtype: DType) -> VideoMAEForPreTraining {
    let source = weights(&tiny(), Architecture::PreTraining);
    VideoMAEForPreTraining::from_weights(tiny(), &source, reference(), &options(dtype)).unwrap().0
}

fn recorded(inputs: VideoInputs<'_>) -> VideoInputs<'_> {
    VideoInputs { output_hidden_states: Some(true), output_attentions: Some(true), ..inputs }
}

/// Errors of chained sums of random sign add up as those of one long sum do.
fn assert_rounded(what: &str, dtype: DType, sums: usize, found: &[f32], full: &[f32]) {
    assert_ne!(found, full, "{what} in {dtype}");
    Comparison::of(found, full).assert_within(what, dtype, LONGEST_SUM * sums);
}

#[test]
fn half_precision_changes_the_result_by_its_rounding() {
    let shape = shape(&tiny(), 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = VideoInputs::new(&pixels, shape);
    let classify = |dtype| {
        let model = classifier(dtype);
        let inputs = labelled(inputs, Labels::Classes(&[1, 4]));
        model.forward(&mut model.session().unwrap(), &inputs).unwrap()
    };
    let reconstruct = |dtype| {
        let model = pretraining(dtype);
        model.forward(&mut model.session().unwrap(), &masked(inputs, &mask)).unwrap()
    };
    let (classes, patches) = (classify(DType::F32), reconstruct(DType::F32));
    for dtype in HALF {
        let found = classify(dtype);
        assert_rounded("logits", dtype, CLASSIFIER_SUMS, &found.logits.data, &classes.logits.data);
        assert_rounded("loss", dtype, CLASSIFIER_SUMS, &[found.loss.unwrap()], &[classes.loss.unwrap()]);
        let found = reconstruct(dtype);
        assert_rounded("reconstruction", dtype, PRETRAINING_SUMS, &found.logits.data, &patches.logits.data);
        assert_rounded("its loss", dtype, PRETRAINING_SUMS, &[found.loss], &[patches.loss]);
    }
}

#[test]
fn every_activation_a_model_shows_is_a_number_of_its_type() {
    let shape = shape(&tiny(), 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = recorded(masked(VideoInputs::new(&pixels, shape), &mask));
    for dtype in HALF {
        let is_of_type = |&x: &f32| match dtype {
            DType::Bf16 => half::bf16::from_f32(x).to_f32() == x,
            _ => half::f16::from_f32(x).to_f32() == x,
        };
        let source = weights(&tiny(), Architecture::Model);
        let (model, _) = VideoMAEModel::from_weights(tiny(), &source, reference(), &options(dtype)).unwrap();
        let bare = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        let model = classifier(dtype);
        let classes = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        let model = pretraining(dtype);
        let patches = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        let shown = [bare.last_hidden_state, classes.logits, patches.logits];
        let lists = [bare.hidden_states, bare.attentions, patches.hidden_states, patches.attentions];
        for tensor in shown.iter().chain(lists.iter().flatten()) {
            assert!(tensor.data.iter().all(is_of_type), "{dtype}: a tensor of shape {}", tensor.shape);
        }
    }
}

#[test]
fn models_of_different_precision_take_turns_in_one_session() {
    let shape = shape(&tiny(), 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = recorded(masked(VideoInputs::new(&pixels, shape), &mask));
    let models = [DType::F32, DType::Bf16, DType::F32, DType::F16].map(pretraining);
    let mut shared = models[0].session().unwrap();
    for model in &models {
        let alone = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        assert_eq!(model.forward(&mut shared, &inputs).unwrap(), alone, "{}", model.format());
    }
}

#[test]
fn a_backend_without_a_precision_says_so_by_name_and_what_to_use() {
    let source = weights(&tiny(), Architecture::VideoClassification);
    let backend = kernels::open("cpu:portable").unwrap();
    let options = options(DType::F16);
    let built = VideoMAEForVideoClassification::from_weights(tiny(), &source, backend, &options);
    let error = built.map(drop).unwrap_err().to_string();
    assert_eq!(error, "cpu:portable: weight format f16 is not supported; use f32, bf16 or int8");
}

#[test]
fn narrow_layers_agree_with_the_reference_on_every_cpu_backend() {
    let shape = shape(&tiny(), 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = VideoInputs::new(&pixels, shape);
    let run = |backend: &str, format| {
        let options = LoadOptions { format, ..LoadOptions::default() };
        let open = || kernels::open(backend).unwrap();
        let source = weights(&tiny(), Architecture::VideoClassification);
        let (model, _) =
            VideoMAEForVideoClassification::from_weights(tiny(), &source, open(), &options).unwrap();
        let mut found = model.forward(&mut model.session().unwrap(), &inputs).unwrap().logits.data;
        let source = weights(&tiny(), Architecture::PreTraining);
        let (model, _) = VideoMAEForPreTraining::from_weights(tiny(), &source, open(), &options).unwrap();
        found.extend(
            model.forward(&mut model.session().unwrap(), &masked(inputs, &mask)).unwrap().logits.data,
        );
        found
    };
    let full = run("reference", WeightFormat::F32);
    for format in [WeightFormat::Bf16, WeightFormat::Int8] {
        let expected = run("reference", format);
        assert_ne!(expected, full, "{format}");
        for info in kernels::available() {
            if info.name.starts_with("cpu") && info.runnable.is_ok() {
                let what = format!("{format} on {}", info.name);
                let found = run(&info.name, format);
                // A difference in the last bit of an activation may move it across a tie, by a step of its precision;
                // a step of int8, a 255th of a row's spread, is about as large as one of bf16, a 256th of the number.
                Comparison::of(&found, &expected).assert_within(
                    &what,
                    DType::Bf16,
                    LONGEST_SUM * PRETRAINING_SUMS,
                );
            }
        }
    }
}

#[test]
fn only_a_model_in_f32_trains() {
    for dtype in HALF {
        let expected = format!("format: expected a model of f32 to train, found {dtype}");
        assert_eq!(classifier(dtype).training_session(0).unwrap_err().to_string(), expected);
        assert_eq!(pretraining(dtype).training_session(0).unwrap_err().to_string(), expected);
    }
}
