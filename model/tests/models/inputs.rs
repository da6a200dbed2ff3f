//! Inputs a model refuses, each with a message that says what, where, expected and found.
//!
//! Most of them the reference accepts and answers wrongly, or fails on far from the cause.

use crate::support::{TOKENS, classifier, labelled, masked, masks, model, pixels, pretraining, shape, tiny};
use videomae::{Labels, ProblemType, VideoInputs, VideoMAEConfig};

/// The message of a classification forward that must fail.
fn refusal(config: &VideoMAEConfig, inputs: &VideoInputs<'_>) -> String {
    let model = classifier(config);
    model.forward(&mut model.session().unwrap(), inputs).unwrap_err().to_string()
}

fn pretraining_refusal(config: &VideoMAEConfig, inputs: &VideoInputs<'_>) -> String {
    let model = pretraining(config);
    model.forward(&mut model.session().unwrap(), inputs).unwrap_err().to_string()
}

#[test]
fn sizes_that_patches_do_not_divide_are_refused_not_cropped() {
    let cases = [
        ([1, 5, 3, 8, 6], "a number of frames that the tubelet_size 2 divides, found 5 in (1, 5, 3, 8, 6)"),
        (
            [1, 4, 3, 9, 6],
            "a number of pixel rows that the patch height 4 divides, found 9 in (1, 4, 3, 9, 6)",
        ),
        (
            [1, 4, 3, 8, 7],
            "a number of pixel columns that the patch width 2 divides, found 7 in (1, 4, 3, 8, 7)",
        ),
        ([1, 4, 2, 8, 6], "3 channels, the third size of (B, T, C, H, W), found 2 in (1, 4, 2, 8, 6)"),
        ([0, 4, 3, 8, 6], "no size of zero in (B, T, C, H, W), found (0, 4, 3, 8, 6)"),
        ([1, 0, 3, 8, 6], "no size of zero in (B, T, C, H, W), found (1, 0, 3, 8, 6)"),
    ];
    for (shape, expected) in cases {
        let message = refusal(&tiny(), &VideoInputs::new(&pixels(shape, 1), shape));
        assert_eq!(message, format!("pixel_values: expected {expected}"));
    }
}

#[test]
fn pixels_of_another_length_than_their_shape_are_refused() {
    let message = refusal(&tiny(), &VideoInputs::new(&[0.0; 7], [1, 4, 3, 8, 6]));
    assert_eq!(message, "pixel_values: expected the values of shape (1, 4, 3, 8, 6), found 7 values");
    let message = refusal(&tiny(), &VideoInputs::new(&[], [usize::MAX, 4, 3, 8, 6]));
    assert!(message.ends_with("found 0 values"), "{message}");
}

#[test]
fn levels_without_a_table_for_every_channel_are_refused() {
    let inputs = VideoInputs::from_levels(&[7; 4 * 3 * 8 * 6], &[[0.0; 256]; 2], [1, 4, 3, 8, 6]);
    assert_eq!(
        refusal(&tiny(), &inputs),
        "table: expected 256 numbers for each channel, found 2 for (1, 4, 3, 8, 6)"
    );
}

#[test]
fn rows_with_unequal_masks_are_refused_even_where_the_total_divides() {
    // The first clip hides 6 tokens, the second 8: the reference makes two clips of 7 of them, tokens mixed.
    let mut mask = vec![false; 2 * TOKENS];
    mask[..6].fill(true);
    mask[TOKENS..TOKENS + 8].fill(true);
    let shape = shape(&tiny(), 2);
    let message = refusal(&tiny(), &masked(VideoInputs::new(&pixels(shape, 1), shape), &mask));
    assert_eq!(
        message,
        "bool_masked_pos: expected as many masked tokens in every row as the 6 of row 0, found 8 in row 1"
    );
}

#[test]
fn a_mask_of_another_shape_is_refused_not_broadcast() {
    let shape = shape(&tiny(), 2);
    let pixels = pixels(shape, 1);
    for length in [0, TOKENS, TOKENS + 1, 3 * TOKENS] {
        let mask: Vec<bool> = (0..length).map(|i| i % 2 == 0).collect();
        let message = refusal(&tiny(), &masked(VideoInputs::new(&pixels, shape), &mask));
        assert_eq!(message, format!("bool_masked_pos: expected (2, 12), 24 values, found {length} values"));
    }
}

#[test]
fn a_mask_that_hides_everything_is_refused() {
    let shape = shape(&tiny(), 1);
    let pixels = pixels(shape, 1);
    let inputs = masked(VideoInputs::new(&pixels, shape), &[true; TOKENS]);
    let expected = "bool_masked_pos: expected at least one visible token in every row, found all 12 masked";
    assert_eq!(refusal(&tiny(), &inputs), expected);
    assert_eq!(pretraining_refusal(&tiny(), &inputs), expected);
}

#[test]
fn pretraining_without_a_mask_or_with_nothing_masked_is_refused() {
    let shape = shape(&tiny(), 1);
    let pixels = pixels(shape, 1);
    let inputs = VideoInputs::new(&pixels, shape);
    let expected = "bool_masked_pos: expected a mask for pre-training, found none";
    assert_eq!(pretraining_refusal(&tiny(), &inputs), expected);
    let expected = "bool_masked_pos: expected at least one masked token in every row for pre-training, \
                    found all 12 visible";
    assert_eq!(pretraining_refusal(&tiny(), &masked(inputs, &[false; TOKENS])), expected);
}

#[test]
fn labels_are_refused_where_no_loss_takes_them() {
    let shape = shape(&tiny(), 1);
    let pixels = pixels(shape, 1);
    let inputs = labelled(VideoInputs::new(&pixels, shape), Labels::Classes(&[1]));
    let bare = model(&tiny());
    let message = bare.forward(&mut bare.session().unwrap(), &inputs).unwrap_err().to_string();
    assert_eq!(message, "labels: expected none for the bare model, found labels, or a number of them");
    let message = pretraining_refusal(&tiny(), &masked(inputs, &masks(1)));
    assert!(message.starts_with("labels: expected none for pre-training"), "{message}");
}

#[test]
fn labels_that_fit_no_loss_are_refused() {
    let single = VideoMAEConfig { problem_type: Some(ProblemType::SingleLabelClassification), ..tiny() };
    let multi = VideoMAEConfig { problem_type: Some(ProblemType::MultiLabelClassification), ..tiny() };
    let shape = shape(&tiny(), 2);
    let pixels = pixels(shape, 1);
    let cases = [
        (tiny(), Labels::Classes(&[1]), "the values of shape (2), found 1 values"),
        (tiny(), Labels::Classes(&[1, 5]), "a class in 0..5, or -100 to leave a clip out, found 5 in row 1"),
        (
            tiny(),
            Labels::Classes(&[-1, 0]),
            "a class in 0..5, or -100 to leave a clip out, found -1 in row 0",
        ),
        (tiny(), Labels::Classes(&[0, i64::MAX]), "found 9223372036854775807 in row 1"),
        (tiny(), Labels::Values(&[0.0; 9]), "the values of shape (2, 5), found 9 values"),
        (single, Labels::Values(&[0.0; 10]), "class indices for a single-label problem, found values"),
        (multi, Labels::Classes(&[1, 2]), "values for a multi-label problem, found class indices"),
    ];
    for (config, labels, expected) in cases {
        let message = refusal(&config, &labelled(VideoInputs::new(&pixels, shape), labels));
        assert!(message.starts_with("labels: expected") && message.ends_with(expected), "{message}");
    }
}

#[test]
fn a_number_of_items_is_refused_where_it_would_be_ignored() {
    let shape = shape(&tiny(), 1);
    let pixels = pixels(shape, 1);
    let counted = |inputs| VideoInputs { num_items_in_batch: Some(4.0), ..inputs };
    let message = refusal(&tiny(), &counted(VideoInputs::new(&pixels, shape)));
    assert_eq!(message, "num_items_in_batch: expected labels beside it, found none");
    let values = labelled(VideoInputs::new(&pixels, shape), Labels::Values(&[0.0; 5]));
    let message = refusal(&tiny(), &counted(values));
    assert!(message.ends_with("found 4, multi_label_classification"), "{message}");
    let classes = labelled(VideoInputs::new(&pixels, shape), Labels::Classes(&[0]));
    let message = refusal(&tiny(), &VideoInputs { num_items_in_batch: Some(0.0), ..classes });
    assert!(message.ends_with("found 0, single_label_classification"), "{message}");
}

#[test]
fn plain_pixel_targets_need_rgb_and_the_message_says_so_the_right_way_round() {
    use videomae::{
        VideoMAEForPreTraining,
        checkpoint::{Architecture, LoadOptions},
    };
    let config = VideoMAEConfig { num_channels: 2, norm_pix_loss: false, ..tiny() };
    let source = crate::support::weights(&config, Architecture::PreTraining);
    let options = LoadOptions::default();
    let error = VideoMAEForPreTraining::from_weights(config, &source, crate::support::reference(), &options)
        .unwrap_err();
    let expected = "config: norm_pix_loss: expected true for 2 channels, since only RGB can be unnormalised, \
                    found false";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_error_leaves_the_session_usable() {
    let model = classifier(&tiny());
    let mut session = model.session().unwrap();
    let shape = shape(&tiny(), 1);
    let pixels = pixels(shape, 1);
    let good = VideoInputs::new(&pixels, shape);
    let before = model.forward(&mut session, &good).unwrap();
    model.forward(&mut session, &masked(good, &[true; TOKENS])).unwrap_err();
    model.forward(&mut session, &VideoInputs::new(&[], shape)).unwrap_err();
    assert_eq!(model.forward(&mut session, &good).unwrap(), before);
}
