//! What the three models compute, as properties.

use crate::support::{
    TOKENS, classifier, labelled, masked, masks, model, noise, pixels, pretraining, shape, tiny, weights,
};
use kernels_backend::{DType, tolerance::Comparison};
use videomae::{
    HostTensor, Labels, ProblemType, Size, VideoInputs, VideoMAEConfig, VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
    checkpoint::{Architecture, LoadOptions, SaveOptions, WeightSource},
};

/// The longest sum of the tiny models is a patch of 48 elements.
const LONGEST_SUM: usize = 48;

fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    Comparison::of(found, expected).assert_within(what, DType::F32, LONGEST_SUM);
}

fn recorded(inputs: VideoInputs<'_>) -> VideoInputs<'_> {
    VideoInputs { output_hidden_states: Some(true), output_attentions: Some(true), ..inputs }
}

#[test]
fn levels_give_the_bits_of_the_pixels_that_they_stand_for() {
    let config = tiny();
    let shape = shape(&config, 2);
    let levels: Vec<u8> = (0..shape.iter().product::<usize>()).map(|i| (i * 89 % 256) as u8).collect();
    // Each channel with another mean.
    let table: Vec<[f32; 256]> = (0..3u8)
        .map(|channel| std::array::from_fn(|level| (level as f32 / 255.0 - 0.1 * f32::from(channel)) / 0.3))
        .collect();
    let plane = shape[3] * shape[4];
    let values: Vec<f32> =
        levels.iter().enumerate().map(|(i, &level)| table[i / plane % 3][usize::from(level)]).collect();
    let mask = masks(2);
    for backend in ["reference", "auto"] {
        let backend = kernels::open(backend).unwrap();
        let source = weights(&config, Architecture::PreTraining);
        let options = LoadOptions::default();
        let (model, _) =
            VideoMAEForPreTraining::from_weights(config.clone(), &source, backend, &options).unwrap();
        let mut session = model.session().unwrap();
        // Numbers between two runs of levels, which share the memory.
        let inputs = [VideoInputs::from_levels(&levels, &table, shape), VideoInputs::new(&values, shape)]
            .map(|i| masked(i, &mask));
        let [first, expected, second] =
            [inputs[0], inputs[1], inputs[0]].map(|inputs| model.forward(&mut session, &inputs).unwrap());
        assert_eq!((first.loss, &first.logits), (expected.loss, &expected.logits));
        assert_eq!((second.loss, &second.logits), (expected.loss, &expected.logits));
    }
    let model = pretraining(&config);
    let gradients = |inputs: VideoInputs<'_>| {
        let mut session = model.training_session(0).unwrap();
        model.loss_and_gradients(&mut session, &masked(inputs, &mask)).unwrap()
    };
    let (loss, found) = gradients(VideoInputs::from_levels(&levels, &table, shape));
    let (expected_loss, expected) = gradients(VideoInputs::new(&values, shape));
    assert_eq!((loss, &found.pixel_values), (expected_loss, &expected.pixel_values));
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let config = tiny();
    let shape = shape(&config, 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let (a, b) = (classifier(&config), classifier(&config));
    let run = || a.forward(&mut a.session().unwrap(), &inputs).unwrap();
    assert_eq!(run(), run());
    assert_eq!(run(), b.forward(&mut b.session().unwrap(), &inputs).unwrap());
    let (a, b) = (pretraining(&config), pretraining(&config));
    let run = || a.forward(&mut a.session().unwrap(), &inputs).unwrap();
    assert_eq!(run(), run());
    assert_eq!(run(), b.forward(&mut b.session().unwrap(), &inputs).unwrap());
}

#[test]
fn outputs_have_the_documented_shapes() {
    let config = VideoMAEConfig { use_mean_pooling: false, ..tiny() };
    let shape = shape(&config, 2);
    let (pixels, mask) = (pixels(shape, 1), masks(2));
    let inputs = recorded(VideoInputs::new(&pixels, shape));
    for (inputs, seen) in [(inputs, TOKENS), (masked(inputs, &mask), 5)] {
        let model = model(&config);
        let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        assert_eq!(output.last_hidden_state.shape[..], [2, seen, 12]);
        assert_eq!(output.hidden_states.len(), 3);
        assert!(output.hidden_states.iter().all(|h| h.shape[..] == [2, seen, 12]));
        assert_eq!(output.attentions.len(), 2);
        assert!(output.attentions.iter().all(|a| a.shape[..] == [2, 3, seen, seen]));
        let model = classifier(&config);
        let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        assert_eq!(output.logits.shape[..], [2, 5]);
        assert_eq!((output.hidden_states.len(), output.attentions.len()), (3, 2));
        assert_eq!(output.loss, None);
    }
    let model = pretraining(&config);
    let output = model.forward(&mut model.session().unwrap(), &masked(inputs, &mask)).unwrap();
    assert_eq!(output.logits.shape[..], [2, 7, 48]);
    assert_eq!(
        (output.hidden_states.len(), output.attentions.len()),
        (3, 2),
        "the encoder's, not the decoder's"
    );
    assert!(output.hidden_states.iter().all(|h| h.shape[..] == [2, 5, 12]));
}

#[test]
fn hidden_states_and_attentions_come_on_request_or_by_config() {
    let asking = VideoMAEConfig { output_hidden_states: true, output_attentions: true, ..tiny() };
    let shape = shape(&asking, 1);
    let pixels = pixels(shape, 1);
    let plain = VideoInputs::new(&pixels, shape);
    let refusing = VideoInputs { output_hidden_states: Some(false), output_attentions: Some(false), ..plain };
    let cases = [
        (tiny(), plain, (0, 0)),
        (tiny(), recorded(plain), (3, 2)),
        (asking.clone(), plain, (3, 2)),
        (asking, refusing, (0, 0)),
    ];
    for (config, inputs, expected) in cases {
        let model = model(&config);
        let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        assert_eq!((output.hidden_states.len(), output.attentions.len()), expected);
    }
}

#[test]
fn the_last_hidden_state_is_normed_only_without_mean_pooling() {
    for use_mean_pooling in [true, false] {
        let config = VideoMAEConfig { use_mean_pooling, ..tiny() };
        let shape = shape(&config, 1);
        let pixels = pixels(shape, 1);
        let model = model(&config);
        let inputs = recorded(VideoInputs::new(&pixels, shape));
        let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        assert_eq!(output.hidden_states[2] == output.last_hidden_state, use_mean_pooling);
    }
}

#[test]
fn attention_probabilities_are_returned_beside_fused_attention_and_sum_to_one() {
    let config = tiny();
    let shape = shape(&config, 2);
    let pixels = pixels(shape, 1);
    let model = model(&config);
    let inputs = recorded(VideoInputs::new(&pixels, shape));
    let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
    for attention in &output.attentions {
        for row in attention.data.chunks(TOKENS) {
            assert!(row.iter().all(|p| *p > 0.0));
            assert_close("a row of probabilities", &[row.iter().sum()], &[1.0]);
        }
    }
    assert_ne!(output.attentions[0], output.attentions[1]);
}

#[test]
fn a_mask_that_hides_nothing_changes_nothing() {
    let config = tiny();
    let shape = shape(&config, 2);
    let pixels = pixels(shape, 1);
    let model = classifier(&config);
    let mut session = model.session().unwrap();
    let inputs = recorded(VideoInputs::new(&pixels, shape));
    let whole = model.forward(&mut session, &inputs).unwrap();
    let masked = model.forward(&mut session, &masked(inputs, &[false; 2 * TOKENS])).unwrap();
    assert_eq!(whole, masked);
}

#[test]
fn masked_pixels_reach_nothing() {
    let config = tiny();
    let shape = shape(&config, 1);
    let mut pixels = pixels(shape, 1);
    // Token 0 is the top-left patch of the first two frames.
    let mask: Vec<bool> = (0..TOKENS).map(|token| token == 0).collect();
    let model = classifier(&config);
    let mut session = model.session().unwrap();
    let before = model.forward(&mut session, &masked(VideoInputs::new(&pixels, shape), &mask)).unwrap();
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let [frame, row, column] = [i / (3 * 8 * 6), i / 6 % 8, i % 6];
        if frame < 2 && row < 4 && column < 2 {
            *pixel = f32::NAN;
        }
    }
    let after = model.forward(&mut session, &masked(VideoInputs::new(&pixels, shape), &mask)).unwrap();
    assert_eq!(before, after);
    let whole = model.forward(&mut session, &VideoInputs::new(&pixels, shape)).unwrap();
    assert!(whole.logits.data.iter().all(|x| x.is_nan()));
}

#[test]
fn nan_pixels_give_nan_logits_and_no_panic() {
    let config = tiny();
    let shape = shape(&config, 2);
    let mut pixels = pixels(shape, 1);
    pixels[5] = f32::NAN;
    let model = classifier(&config);
    let inputs = labelled(VideoInputs::new(&pixels, shape), Labels::Classes(&[0, 1]));
    let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
    let (first, second) = output.logits.data.split_at(5);
    assert!(first.iter().all(|x| x.is_nan()));
    assert!(second.iter().all(|x| x.is_finite()), "one clip's NaN stays in that clip");
    assert!(output.loss.unwrap().is_nan());
    let model = pretraining(&config);
    let mask = masks(2);
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
    assert!(output.loss.is_nan());
}

#[test]
fn each_clip_alone_equals_itself_in_a_batch() {
    let config = tiny();
    let whole = shape(&config, 3);
    let (pixels, mask) = (pixels(whole, 1), masks(3));
    let single = shape(&config, 1);
    let size = pixels.len() / 3;
    let part = |tensor: &HostTensor, i: usize| {
        let length = tensor.data.len() / 3;
        tensor.data[i * length..(i + 1) * length].to_vec()
    };
    let (classifier, pretraining) = (classifier(&config), pretraining(&config));
    let inputs = recorded(masked(VideoInputs::new(&pixels, whole), &mask));
    let scores = classifier.forward(&mut classifier.session().unwrap(), &inputs).unwrap();
    let rebuilt = pretraining.forward(&mut pretraining.session().unwrap(), &inputs).unwrap();
    for i in 0..3 {
        let (pixels, mask) = (&pixels[i * size..(i + 1) * size], &mask[i * TOKENS..(i + 1) * TOKENS]);
        let inputs = recorded(masked(VideoInputs::new(pixels, single), mask));
        let alone = classifier.forward(&mut classifier.session().unwrap(), &inputs).unwrap();
        assert_close("logits", &part(&scores.logits, i), &alone.logits.data);
        for (batch, alone) in scores.hidden_states.iter().zip(&alone.hidden_states) {
            assert_close("hidden states", &part(batch, i), &alone.data);
        }
        let alone = pretraining.forward(&mut pretraining.session().unwrap(), &inputs).unwrap();
        assert_close("reconstruction", &part(&rebuilt.logits, i), &alone.logits.data);
    }
}

#[test]
fn a_session_gives_the_same_whatever_shapes_it_ran_before() {
    let config = VideoMAEConfig { use_mean_pooling: false, ..tiny() };
    let model = pretraining(&config);
    let mut session = model.session().unwrap();
    let shapes = [[2, 4, 3, 8, 6], [1, 2, 3, 4, 6], [3, 4, 3, 8, 6], [1, 8, 3, 4, 8], [2, 4, 3, 8, 6]];
    for (i, shape) in shapes.into_iter().enumerate() {
        let [batch, frames, _, height, width] = shape;
        let tokens = frames / 2 * (height / 4) * (width / 2);
        let mask: Vec<bool> = (0..batch * tokens).map(|token| token % tokens % 3 != 0).collect();
        let pixels = pixels(shape, i as u64);
        let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
        let used = model.forward(&mut session, &inputs).unwrap();
        let fresh = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        assert_eq!(used, fresh, "{shape:?}");
    }
}

#[test]
fn two_models_may_take_turns_in_one_session() {
    let (a, b) = (classifier(&tiny()), pretraining(&tiny()));
    let shape = shape(&tiny(), 1);
    let (pixels, mask) = (pixels(shape, 1), masks(1));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let expected = a.forward(&mut a.session().unwrap(), &inputs).unwrap();
    let mut session = b.session().unwrap();
    for _ in 0..2 {
        assert_eq!(a.forward(&mut session, &inputs).unwrap(), expected);
        b.forward(&mut session, &inputs).unwrap();
    }
}

#[test]
fn more_frames_keep_the_places_of_the_first() {
    let config = tiny();
    let model = model(&config);
    let mut session = model.session().unwrap();
    let (short, long) = ([1, 4, 3, 8, 6], [1, 10, 3, 8, 6]);
    let pixels = pixels(long, 1);
    let count = short.iter().product();
    let hidden = |session: &mut _, pixels, shape| {
        let output = model.forward(session, &recorded(VideoInputs::new(pixels, shape))).unwrap();
        output.hidden_states[0].data.clone()
    };
    let (a, b) = (hidden(&mut session, &pixels[..count], short), hidden(&mut session, &pixels, long));
    assert_eq!(a[..], b[..a.len()]);
    assert_eq!(b.len(), 5 * 6 * 12);
}

#[test]
fn any_height_and_width_that_patches_divide_is_taken() {
    let config = tiny();
    assert_eq!(config.image_size, Size { height: 8, width: 6 });
    let model = classifier(&config);
    for shape in [[1, 2, 3, 4, 2], [1, 2, 3, 12, 2], [2, 6, 3, 4, 10]] {
        let pixels = pixels(shape, 1);
        let output = model.forward(&mut model.session().unwrap(), &VideoInputs::new(&pixels, shape)).unwrap();
        assert!(output.logits.data.iter().all(|x| x.is_finite()), "{shape:?}");
    }
}

#[test]
fn without_mean_pooling_token_zero_is_classified() {
    let config = VideoMAEConfig { use_mean_pooling: false, ..tiny() };
    let shape = shape(&config, 2);
    let pixels = pixels(shape, 1);
    let inputs = VideoInputs::new(&pixels, shape);
    let source = weights(&config, Architecture::VideoClassification);
    let (bare, model) = (model_of(&config, &source), classifier(&config));
    let hidden = bare.forward(&mut bare.session().unwrap(), &inputs).unwrap().last_hidden_state;
    let scores = model.forward(&mut model.session().unwrap(), &inputs).unwrap().logits;
    let weight = source.get("classifier.weight").unwrap().unwrap().to_f32().unwrap();
    let bias = source.get("classifier.bias").unwrap().unwrap().to_f32().unwrap();
    for (clip, scores) in scores.data.chunks(5).enumerate() {
        let first = &hidden.data[clip * TOKENS * 12..][..12];
        let dot = |row: &[f32]| row.iter().zip(first).map(|(w, x)| w * x).sum::<f32>();
        let expected: Vec<f32> = weight.chunks(12).zip(&bias).map(|(row, b)| dot(row) + b).collect();
        assert_close("logits", scores, &expected);
    }
}

fn model_of(config: &VideoMAEConfig, source: &dyn WeightSource) -> videomae::VideoMAEModel {
    let options = LoadOptions::default();
    videomae::VideoMAEModel::from_weights(config.clone(), source, crate::support::reference(), &options)
        .unwrap()
        .0
}

#[test]
fn a_model_of_no_labels_returns_the_normed_mean() {
    let config = tiny().with_num_labels(0);
    let shape = shape(&config, 2);
    let pixels = pixels(shape, 1);
    let model = classifier(&config);
    let output = model.forward(&mut model.session().unwrap(), &VideoInputs::new(&pixels, shape)).unwrap();
    assert_eq!(output.logits.shape[..], [2, 12]);
    // The affine part of fc_norm is near the identity, so each row is nearly of mean 0 and variance 1.
    for row in output.logits.data.chunks(12) {
        let square = row.iter().map(|x| x * x).sum::<f32>() / 12.0;
        assert!((0.4..2.0).contains(&square), "{row:?}");
    }
}

/// Mean losses by their definitions, in f64.
fn expected_loss(problem: ProblemType, logits: &[f32], labels: &[f32], classes: usize) -> f32 {
    let logits: Vec<f64> = logits.iter().map(|&x| x.into()).collect();
    let labels: Vec<f64> = labels.iter().map(|&x| x.into()).collect();
    let terms: Vec<f64> = match problem {
        ProblemType::Regression => logits.iter().zip(&labels).map(|(x, y)| (x - y).powi(2)).collect(),
        ProblemType::MultiLabelClassification => {
            let probability = |x: f64| 1.0 / (1.0 + (-x).exp());
            let term = |(&x, &y): (&f64, &f64)| -y * probability(x).ln() - (1.0 - y) * probability(-x).ln();
            logits.iter().zip(&labels).map(term).collect()
        }
        ProblemType::SingleLabelClassification => {
            let term =
                |(row, &y): (&[f64], &f64)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[y as usize];
            logits.chunks(classes).zip(&labels).map(term).collect()
        }
    };
    (terms.iter().sum::<f64>() / terms.len() as f64) as f32
}

#[test]
fn the_problem_is_inferred_from_labels_and_every_loss_is_its_definition() {
    use ProblemType::{MultiLabelClassification, Regression, SingleLabelClassification};
    let values = [0.0, 1.0, 0.5, 1.0, 0.0, 0.25, 1.0, 0.0, 0.0, 1.0];
    let regression =
        |count| VideoMAEConfig { problem_type: Some(Regression), ..tiny().with_num_labels(count) };
    let cases = [
        (tiny(), Labels::Classes(&[4, 0]), SingleLabelClassification, vec![4.0, 0.0]),
        (tiny(), Labels::Values(&values), MultiLabelClassification, values.to_vec()),
        (tiny().with_num_labels(1), Labels::Values(&[0.5, -2.0]), Regression, vec![0.5, -2.0]),
        (tiny().with_num_labels(1), Labels::Classes(&[3, -100]), Regression, vec![3.0, -100.0]),
        (regression(5), Labels::Values(&values), Regression, values.to_vec()),
    ];
    for (config, labels, problem, targets) in cases {
        let shape = shape(&config, 2);
        let pixels = pixels(shape, 1);
        let model = classifier(&config);
        let inputs = labelled(VideoInputs::new(&pixels, shape), labels);
        let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        let expected = expected_loss(problem, &output.logits.data, &targets, config.num_labels());
        assert_close(problem.name(), &[output.loss.unwrap()], &[expected]);
    }
}

#[test]
fn the_inferred_problem_is_not_remembered() {
    // The reference writes its first guess into the config, and the second batch below meets it.
    let model = classifier(&tiny());
    let mut session = model.session().unwrap();
    let shape = shape(&tiny(), 1);
    let pixels = pixels(shape, 1);
    let inputs = VideoInputs::new(&pixels, shape);
    let loss = |session: &mut _, labels| model.forward(session, &labelled(inputs, labels)).unwrap().loss;
    assert!(loss(&mut session, Labels::Classes(&[1])).is_some());
    assert!(loss(&mut session, Labels::Values(&[0.0; 5])).is_some());
    assert_eq!(model.config().problem_type, None);
}

#[test]
fn ignored_labels_leave_the_mean_and_items_divide_the_sum() {
    let model = classifier(&tiny());
    let mut session = model.session().unwrap();
    let shape = shape(&tiny(), 2);
    let pixels = pixels(shape, 1);
    let mut loss = |labels: &[i64], num_items_in_batch| {
        let inputs = labelled(VideoInputs::new(&pixels, shape), Labels::Classes(labels));
        model.forward(&mut session, &VideoInputs { num_items_in_batch, ..inputs }).unwrap().loss.unwrap()
    };
    let (both, first, second) = (loss(&[2, 3], None), loss(&[2, -100], None), loss(&[-100, 3], None));
    assert_close("mean of two", &[both], &[(first + second) / 2.0]);
    assert_close("sum over eight", &[loss(&[2, 3], Some(8.0))], &[(first + second) / 8.0]);
    assert!(loss(&[-100, -100], None).is_nan());
}

/// The target of masked tokens by its definition; tokens in the order time, height, width.
fn targets(config: &VideoMAEConfig, pixels: &[f32], mask: &[bool]) -> Vec<f32> {
    let [mean, deviation] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225f64]];
    let channels = config.num_channels;
    let mut targets = Vec::new();
    for token in (0..TOKENS).filter(|&token| mask[token]) {
        let [t, y, x] = [token / 6, token / 3 % 2, token % 3];
        let mut patch = Vec::new();
        for (dt, dy, dx) in (0..16).map(|i| (i / 8, i / 2 % 4, i % 2)) {
            for c in 0..channels {
                let [frame, row, column] = [2 * t + dt, 4 * y + dy, 2 * x + dx];
                let pixel = f64::from(pixels[((frame * channels + c) * 8 + row) * 6 + column]);
                patch.push(if channels == 3 { pixel * deviation[c] + mean[c] } else { pixel });
            }
        }
        if config.norm_pix_loss {
            for c in 0..channels {
                let channel: Vec<f64> = patch.iter().copied().skip(c).step_by(channels).collect();
                let mean = channel.iter().sum::<f64>() / 16.0;
                let variance = channel.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 15.0;
                let normed = channel.iter().map(|x| (x - mean) / (variance.sqrt() + 1e-6));
                patch.iter_mut().skip(c).step_by(channels).zip(normed).for_each(|(p, n)| *p = n);
            }
        }
        targets.extend(patch.iter().map(|&x| x as f32));
    }
    targets
}

#[test]
fn the_pretraining_loss_is_its_definition_with_imagenet_constants_and_other_channels() {
    for (num_channels, norm_pix_loss) in [(3, true), (3, false), (2, true), (1, true)] {
        let config = VideoMAEConfig { num_channels, norm_pix_loss, ..tiny() };
        let shape = shape(&config, 1);
        let (pixels, mask) = (pixels(shape, 1), masks(1));
        let model = pretraining(&config);
        let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
        let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
        let targets = targets(&config, &pixels, &mask);
        let expected = expected_loss(ProblemType::Regression, &output.logits.data, &targets, 1);
        assert_close(&format!("{num_channels} channels"), &[output.loss], &[expected]);
    }
}

#[test]
fn a_fresh_mask_token_is_zero_not_what_memory_held() {
    let config = tiny();
    let source = weights(&config, Architecture::VideoClassification);
    let load = |fresh_head, backend| {
        let options = LoadOptions { fresh_head, ..LoadOptions::default() };
        VideoMAEForPreTraining::from_weights(config.clone(), &source, backend, &options)
    };
    let message = load(false, crate::support::reference()).unwrap_err().to_string();
    assert!(message.contains("missing: mask_token"), "{message}");
    let (model, report) = load(true, crate::support::reference()).unwrap();
    assert!(report.fresh.contains(&"mask_token".to_owned()));
    let shape = shape(&config, 1);
    let (pixels, mask) = (pixels(shape, 1), masks(1));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let output = model.forward(&mut model.session().unwrap(), &inputs).unwrap();
    // Fresh weights are of the order of 0.02, so the prediction is small and the loss that of the targets.
    assert!(output.logits.data.iter().all(|x| x.abs() < 1.0), "{:?}", output.logits.data);
    assert!(output.loss > 0.5 && output.loss < 1.5, "{}", output.loss);
}

#[test]
fn dropout_is_ignored_in_inference() {
    let dropping = VideoMAEConfig { hidden_dropout_prob: 0.5, attention_probs_dropout_prob: 0.5, ..tiny() };
    let shape = shape(&dropping, 1);
    let (pixels, mask) = (pixels(shape, 1), masks(1));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let (a, b) = (classifier(&tiny()), classifier(&dropping));
    let run = |model: &VideoMAEForVideoClassification| {
        model.forward(&mut model.session().unwrap(), &inputs).unwrap()
    };
    assert_eq!(run(&a), run(&b));
    let (a, b) = (pretraining(&tiny()), pretraining(&dropping));
    let run = |model: &VideoMAEForPreTraining| model.forward(&mut model.session().unwrap(), &inputs).unwrap();
    assert_eq!(run(&a), run(&b));
}

#[test]
fn saved_models_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let shape = shape(&tiny(), 1);
    let (pixels, mask) = (pixels(shape, 1), masks(1));
    let inputs = masked(VideoInputs::new(&pixels, shape), &mask);
    let (load, save) = (LoadOptions::default(), SaveOptions::default());

    let (model, path) = (classifier(&tiny()), directory.path().join("classifier"));
    model.save_pretrained(&path, &weights(&tiny(), Architecture::VideoClassification), &save).unwrap();
    let (loaded, _) =
        VideoMAEForVideoClassification::from_pretrained(&path, crate::support::reference(), &load).unwrap();
    let run = |model: &VideoMAEForVideoClassification| {
        model.forward(&mut model.session().unwrap(), &inputs).unwrap()
    };
    assert_eq!(run(&model), run(&loaded));

    let (model, path) = (pretraining(&tiny()), directory.path().join("pretraining"));
    model.save_pretrained(&path, &weights(&tiny(), Architecture::PreTraining), &save).unwrap();
    let (loaded, _) =
        VideoMAEForPreTraining::from_pretrained(&path, crate::support::reference(), &load).unwrap();
    let run = |model: &VideoMAEForPreTraining| model.forward(&mut model.session().unwrap(), &inputs).unwrap();
    assert_eq!(run(&model), run(&loaded));
}

#[test]
fn noise_is_noise() {
    // The other tests rest on inputs that differ everywhere.
    let numbers = noise(1, 1000);
    assert!(numbers.iter().all(|x| (-1.0..1.0).contains(x)));
    assert!((numbers.iter().sum::<f32>() / 1000.0).abs() < 0.1);
    assert_ne!(numbers, noise(2, 1000));
}
