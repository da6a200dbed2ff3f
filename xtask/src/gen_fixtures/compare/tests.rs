use std::collections::HashMap;

use super::*;

/// A set of one case: sixteen floats, two integers, and an input.
fn set(floats: &[f32], labels: [i64; 2], pixel: f32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, bytes: &[u8]| fs::write(folder.path().join(file), bytes).unwrap();
    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    let integers: Vec<u8> = labels.iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensors = HashMap::from([
        ("logits", TensorView::new(Dtype::F32, vec![floats.len()], &bytes).unwrap()),
        ("index", TensorView::new(Dtype::I64, vec![2], &integers).unwrap()),
    ]);
    write("expected.safetensors", &safetensors::serialize(&tensors, None).unwrap());
    let pixel = pixel.to_le_bytes();
    let inputs = HashMap::from([("pixel_values", TensorView::new(Dtype::F32, vec![1], &pixel).unwrap())]);
    write("inputs.safetensors", &safetensors::serialize(&inputs, None).unwrap());
    write("case.json", br#"{"longest_sum": 64, "chained_sums": 4}"#);
    folder
}

/// The differences between two sets, each as `file tensor`.
fn compare(committed: &tempfile::TempDir, made: &tempfile::TempDir) -> Vec<String> {
    let files = super::super::manifest::files_below(made.path()).unwrap();
    let recorded = files.iter().map(|file| {
        let hash = super::super::manifest::hash_file(&committed.path().join(file)).unwrap();
        (file.clone(), hash)
    });
    let differences = sets(committed.path(), &recorded.collect(), made.path(), &files).unwrap();
    differences.into_iter().map(|difference| format!("{} {}", difference.file, difference.tensor)).collect()
}

#[test]
fn equal_sets_have_no_difference() {
    assert!(compare(&set(&[1.0; 16], [1, 2], 0.5), &set(&[1.0; 16], [1, 2], 0.5)).is_empty());
}

#[test]
fn results_may_differ_by_a_tenth_of_the_tolerance() {
    // ε·(8 + √64)·√4 for values up to 2, and a tenth of it.
    let allowed = 0.1 * f32::EPSILON * 16.0 * 2.0 * 2.0;
    let with = |error: f32| {
        let mut floats = [2.0; 16];
        floats[3] = 1.0 + error;
        set(&floats, [1, 2], 0.5)
    };
    assert!(compare(&with(0.0), &with(0.9 * allowed)).is_empty());
    assert_eq!(compare(&with(0.0), &with(1.2 * allowed)), ["expected.safetensors logits"]);
    assert_eq!(compare(&with(0.0), &with(f32::NAN)), ["expected.safetensors logits"]);
}

#[test]
fn integers_and_inputs_may_not_differ() {
    let committed = set(&[1.0; 16], [1, 2], 0.5);
    assert_eq!(compare(&committed, &set(&[1.0; 16], [1, 3], 0.5)), ["expected.safetensors index"]);
    let next_up = f32::from_bits(0.5_f32.to_bits() + 1);
    assert_eq!(compare(&committed, &set(&[1.0; 16], [1, 2], next_up)), ["inputs.safetensors "]);
}

#[test]
fn files_that_come_or_go_are_differences() {
    let (committed, made) = (set(&[1.0; 16], [1, 2], 0.5), set(&[1.0; 16], [1, 2], 0.5));
    let files = super::super::manifest::files_below(made.path()).unwrap();
    let recorded = BTreeMap::from([("gone.json".to_owned(), String::new())]);
    let differences = sets(committed.path(), &recorded, made.path(), &files).unwrap();
    assert_eq!(differences.len(), files.len() + 1);
}

#[test]
fn a_committed_file_that_was_changed_is_a_difference() {
    let (committed, made) = (set(&[1.0; 16], [1, 2], 0.5), set(&[1.0; 16], [1, 2], 0.5));
    let files = super::super::manifest::files_below(made.path()).unwrap();
    let recorded = files.iter().map(|file| (file.clone(), "0".repeat(64))).collect();
    // Equal to what is made now, yet not what the manifest says.
    let differences = sets(committed.path(), &recorded, made.path(), &files).unwrap();
    assert_eq!(differences.len(), files.len());
}
