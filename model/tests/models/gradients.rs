//! Gradients against difference quotients of the loss, and dropout in training.

use kernels_backend::{DType, Layout, PatchGeometry, PatchTargets, View, tolerance::Comparison};
use videomae::{
    Gradients, Labels, Pixels, ProblemType, TrainingSession, VideoInputs, VideoMAEConfig,
    checkpoint::{Architecture, WeightData, WeightMap, WeightSource},
};

use crate::support::{
    classifier, classifier_of, labelled, masked, masks, noise, pixels, pretraining, pretraining_of,
    reference, shape, tiny, weights,
};

/// The derivative at 0 of a smooth function from four of its values; the error is of the order of h⁴.
fn derivative(f: impl Fn(f32) -> f32) -> f64 {
    let h = 2e-2f32;
    let difference = |h: f32| f64::from(f(h)) - f64::from(f(-h));
    (8.0 * difference(h) - difference(2.0 * h)) / (12.0 * f64::from(h))
}

/// A loss in f32 is exact to about 1e-7 of its size; the quotient divides that by h.
const ROUNDING: f64 = 2e-5;
/// What the fourth derivative leaves, relative to the gradient's length.
const CURVATURE: f64 = 2e-3;

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn unit(x: &[f32]) -> Vec<f32> {
    let length = dot(x, x).sqrt().max(f64::MIN_POSITIVE);
    x.iter().map(|&x| (f64::from(x) / length) as f32).collect()
}

fn moved(x: &[f32], direction: &[f32], step: f32) -> Vec<f32> {
    x.iter().zip(direction).map(|(x, d)| x + step * d).collect()
}

/// `loss` of x moved along the gradient, and along a direction that has nothing to do with it, grows as the
/// gradient says.
fn assert_gradient(what: &str, x: &[f32], gradient: &[f32], loss: impl Fn(&[f32]) -> f32) {
    let length = dot(gradient, gradient).sqrt();
    assert!(length > 1e-5, "{what}: a gradient of length {length:e} would prove nothing");
    for direction in [unit(gradient), unit(&noise(x.len() as u64, x.len()))] {
        let expected = derivative(|step| loss(&moved(x, &direction, step)));
        let found = dot(gradient, &direction);
        let error = (expected - found).abs();
        let allowed = ROUNDING + CURVATURE * length;
        assert!(
            error <= allowed,
            "{what}: {found} by backward, {expected} by differences, {error:e} > {allowed:e}"
        );
    }
}

/// Checks every parameter of a model: `loss` builds it from changed weights.
fn assert_parameters(
    gradients: &Gradients,
    architecture: Architecture,
    config: &VideoMAEConfig,
    loss: impl Fn(&WeightMap) -> f32,
) {
    let source = weights(config, architecture);
    let specs = architecture.tensors(config).unwrap();
    assert_eq!(gradients.iter().count(), specs.len());
    for spec in specs {
        let gradient = gradients.get(&spec.key).unwrap();
        assert_eq!(gradient.shape[..], spec.shape[..], "{}", spec.key);
        let x = source.get(&spec.key).unwrap().unwrap().to_f32().unwrap();
        assert_gradient(&spec.key, &x, &gradient.data, |x| {
            let mut changed = source.clone();
            changed.insert(spec.key.clone(), WeightData::f32(&spec.shape, x).unwrap());
            loss(&changed)
        });
    }
}

#[test]
fn every_parameter_and_pixel_of_classification_has_the_gradient_of_its_loss() {
    let values = [0.0, 1.0, 0.5, 1.0, 0.0, 0.25, 1.0, 0.0, 0.0, 1.0];
    let regression = VideoMAEConfig { problem_type: Some(ProblemType::Regression), ..tiny() };
    let first_token = VideoMAEConfig { use_mean_pooling: false, qkv_bias: false, ..tiny() };
    let cases = [
        (tiny(), Labels::Classes(&[4, 0]), false),
        (first_token, Labels::Values(&values), true),
        (regression, Labels::Values(&values), true),
    ];
    for (config, labels, with_mask) in cases {
        let shape = shape(&config, 2);
        let (pixels, mask) = (pixels(shape, 1), masks(2));
        let inputs = labelled(VideoInputs::new(&pixels, shape), labels);
        let inputs = if with_mask { masked(inputs, &mask) } else { inputs };
        let model = classifier(&config);
        let mut training = model.training_session(0).unwrap();
        let (loss, gradients) = model.loss_and_gradients(&mut training, &inputs).unwrap();
        let mut session = model.session().unwrap();
        let forward = model.forward(&mut session, &inputs).unwrap().loss.unwrap();
        Comparison::of(&[loss], &[forward]).assert_within("training loss", DType::F32, 48);

        assert_parameters(&gradients, Architecture::VideoClassification, &config, |source| {
            let model = classifier_of(&config, source);
            model.forward(&mut model.session().unwrap(), &inputs).unwrap().loss.unwrap()
        });
        assert_eq!(gradients.pixel_values.shape[..], shape);
        assert_gradient("pixel_values", &pixels, &gradients.pixel_values.data, |pixels| {
            let inputs = VideoInputs { pixels: Pixels::Values(pixels), ..inputs };
            model.forward(&mut model.session().unwrap(), &inputs).unwrap().loss.unwrap()
        });
    }
}

#[test]
fn every_parameter_of_pretraining_has_the_gradient_of_its_loss() {
    for use_mean_pooling in [true, false] {
        let config = VideoMAEConfig { use_mean_pooling, ..tiny() };
        let shape = shape(&config, 2);
        let (pixels, mask) = (pixels(shape, 1), masks(2));
        let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
        let model = pretraining(&config);
        let mut training = model.training_session(0).unwrap();
        let (loss, gradients) = model.loss_and_gradients(&mut training, &inputs).unwrap();
        let forward = model.forward(&mut model.session().unwrap(), &inputs).unwrap().loss;
        Comparison::of(&[loss], &[forward]).assert_within("training loss", DType::F32, 48);
        assert_parameters(&gradients, Architecture::PreTraining, &config, |source| {
            let model = pretraining_of(&config, source);
            model.forward(&mut model.session().unwrap(), &inputs).unwrap().loss
        });
    }
}

#[test]
fn pixels_of_pretraining_have_the_gradient_of_the_prediction_and_targets_are_constants() {
    let config = tiny();
    let shape = shape(&config, 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let model = pretraining(&config);
    let (_, gradients) = model.loss_and_gradients(&mut model.training_session(0).unwrap(), &inputs).unwrap();
    let targets = targets(&pixels, shape, &mask);
    assert_gradient("pixel_values", &pixels, &gradients.pixel_values.data, |pixels| {
        let inputs = VideoInputs { pixels: Pixels::Values(pixels), ..inputs };
        let logits = model.forward(&mut model.session().unwrap(), &inputs).unwrap().logits.data;
        let squares = logits.iter().zip(&targets).map(|(x, y)| f64::from(x - y).powi(2));
        (squares.sum::<f64>() / logits.len() as f64) as f32
    });
    let hidden = (0..pixels.len()).filter(|&i| gradients.pixel_values.data[i] == 0.0).count();
    assert_eq!(hidden, pixels.len() * 7 / 12, "masked pixels have no gradient, all others have one");
}

/// The targets of masked tokens, by the op that makes them.
fn targets(pixels: &[f32], shape: [usize; 5], mask: &[bool]) -> Vec<f32> {
    let mut s = reference().stream().unwrap();
    let tokens: Vec<i32> =
        mask.iter().zip((0..12).cycle()).filter_map(|(&masked, token)| masked.then_some(token)).collect();
    let mut alloc = |shape: [usize; 5], rank: usize, dtype| {
        s.alloc(kernels_backend::Shape::new(&shape[..rank]), dtype, Layout::Rows).unwrap()
    };
    let mut indices = alloc([2, 7, 0, 0, 0], 2, DType::I32);
    let mut values = alloc(shape, 5, DType::F32);
    let mut labels = alloc([2, 7, 48, 0, 0], 3, DType::F32);
    s.write(&View::i32([2, 7], &tokens).unwrap(), &mut indices).unwrap();
    s.write(&View::f32(shape, pixels).unwrap(), &mut values).unwrap();
    let geometry = PatchGeometry { tubelet_size: 2, patch_height: 4, patch_width: 2 };
    let unnormalize = &[(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];
    let options = PatchTargets { geometry, unnormalize, normalize: true };
    s.patch_targets(&values, &options, &indices, &mut labels).unwrap();
    let mut data = vec![0.0; 2 * 7 * 48];
    s.read(&labels, &mut data).unwrap();
    data
}

fn dropping() -> VideoMAEConfig {
    VideoMAEConfig { hidden_dropout_prob: 0.3, attention_probs_dropout_prob: 0.2, ..tiny() }
}

#[test]
fn dropout_is_honoured_in_training_and_its_gradients_are_those_of_the_dropped_network() {
    for architecture in [Architecture::VideoClassification, Architecture::PreTraining] {
        let config = dropping();
        let shape = shape(&config, 2);
        let (pixels, mask) = (pixels(shape, 1), masks(2));
        let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
        let inputs = match architecture {
            Architecture::PreTraining => inputs,
            _ => labelled(inputs, Labels::Classes(&[4, 0])),
        };
        // The same step draws the same masks, whatever the weights.
        let run = |source: &WeightMap| match architecture {
            Architecture::PreTraining => {
                let model = pretraining_of(&config, source);
                model.loss_and_gradients(&mut model.training_session(5).unwrap(), &inputs).unwrap()
            }
            _ => {
                let model = classifier_of(&config, source);
                model.loss_and_gradients(&mut model.training_session(5).unwrap(), &inputs).unwrap()
            }
        };
        let (_, gradients) = run(&weights(&config, architecture));
        assert_parameters(&gradients, architecture, &config, |source| run(source).0);
    }
}

#[test]
fn every_step_and_seed_draws_other_dropouts_and_a_step_repeats_exactly() {
    let config = dropping();
    let shape = shape(&config, 1);
    let pixels = pixels(shape, 1);
    let inputs = labelled(VideoInputs::new(&pixels, shape), Labels::Classes(&[1]));
    let model = classifier(&config);
    let inference = model.forward(&mut model.session().unwrap(), &inputs).unwrap().loss.unwrap();
    let run = |training: &mut TrainingSession| model.accumulate_gradients(training, &inputs).unwrap();
    let mut training = model.training_session(1).unwrap();
    let losses =
        [run(&mut training), run(&mut training), run(&mut model.training_session(2).unwrap()), inference];
    for (i, a) in losses.iter().enumerate() {
        assert!(losses[..i].iter().all(|b| a != b), "{losses:?}");
    }
    assert_eq!(training.step(), 2);
    training.set_step(0);
    assert_eq!(run(&mut training), losses[0]);
}

#[test]
fn gradients_accumulate_until_they_are_zeroed() {
    let config = tiny();
    let shape = shape(&config, 2);
    let inputs = [pixels(shape, 1), pixels(shape, 2)];
    let mask = masks(2);
    let batch = |i: usize| masked(VideoInputs::new(&inputs[i], shape), &mask);
    let model = pretraining(&config);
    let mut training = model.training_session(0).unwrap();
    let (_, first) = model.loss_and_gradients(&mut training, &batch(0)).unwrap();
    let (_, second) = model.loss_and_gradients(&mut training, &batch(1)).unwrap();
    training.zero_gradients().unwrap();
    model.accumulate_gradients(&mut training, &batch(0)).unwrap();
    model.accumulate_gradients(&mut training, &batch(1)).unwrap();
    let both = training.gradients().unwrap();
    for (key, sum) in both.iter() {
        let (a, b) = (&first.get(key).unwrap().data, &second.get(key).unwrap().data);
        let expected: Vec<f32> = a.iter().zip(b).map(|(a, b)| a + b).collect();
        Comparison::of(&sum.data, &expected).assert_within(key, DType::F32, 48);
    }
    assert_eq!(both.pixel_values, second.pixel_values, "pixels are those of the last batch");
}

#[test]
fn training_refuses_what_it_cannot_do() {
    let (scores, rebuilds) = (classifier(&tiny()), pretraining(&tiny()));
    let shape = shape(&tiny(), 1);
    let (pixels, mask) = (pixels(shape, 1), masks(1));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let mut training = scores.training_session(0).unwrap();
    let message = scores.loss_and_gradients(&mut training, &inputs).unwrap_err().to_string();
    assert_eq!(message, "labels: expected labels to train on, found none");
    let message = rebuilds.loss_and_gradients(&mut training, &inputs).unwrap_err().to_string();
    assert_eq!(
        message,
        "session: expected a training session of this model, found one of another kind of model"
    );
}
