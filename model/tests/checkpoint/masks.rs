//! Masks in files of their own, as `torch.save` wrote them, and files that hold something else.

use std::{fs, path::PathBuf};

use serde_json::Value;
use videomae::{
    Error,
    checkpoint::{Architecture, StoredMask, read_mask},
};

use super::{
    tiny,
    torch_files::{Pickle, Tensor, file, save},
    weights,
};

fn fixture(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/masks").join(case)
}

/// The message for a file of these bytes.
fn message(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.pt");
    fs::write(&path, bytes).unwrap();
    read_mask(path).unwrap_err().to_string()
}

#[test]
fn masks_that_torch_saved_are_read() {
    for case in ["one-row", "before-zip", "transposed"] {
        let text = fs::read_to_string(fixture(case).join("case.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let list = |name: &str| expected[name].as_array().unwrap().clone();
        let StoredMask { bool_masked_pos, shape } = read_mask(fixture(case).join("mask.pt")).unwrap();
        let shape: Vec<Value> = shape.into_iter().map(Value::from).collect();
        let values: Vec<Value> = bool_masked_pos.into_iter().map(Value::from).collect();
        assert_eq!((shape, values), (list("shape"), list("values")), "{case}");
    }
}

#[test]
fn what_is_no_mask_is_refused_by_what_it_is() {
    let numbers = read_mask(fixture("not-bool").join("mask.pt")).unwrap_err().to_string();
    assert!(numbers.contains("expected type bool, found int64"), "{numbers}");
    let map = weights(&tiny(), Architecture::VideoClassification);
    let dictionary = message(&save(&map, None));
    assert!(dictionary.contains("expected one tensor, found another object"), "{dictionary}");
    assert!(message(b"{}").contains("expected a file of torch.save"));
    assert!(matches!(read_mask("nowhere/mask.pt"), Err(Error::Io { .. })));
}

#[test]
fn masks_that_lie_about_themselves_are_refused() {
    let of = |tensor: &Tensor<'_>, storage: &[u8]| {
        message(&file(&Pickle::new().tensor(tensor).stop(), &[storage]))
    };
    let tensor = Tensor::whole("BoolStorage", "0", &[2, 2]);
    let other = of(&tensor, &[0, 1, 2, 1]);
    assert!(other.contains("expected bytes 0 and 1, found 2"), "{other}");
    let short = of(&tensor, &[0, 1, 1]);
    assert!(short.contains("expected a storage of 4 elements, found 3 bytes"), "{short}");
    let beyond = of(&Tensor { offset: 1, ..tensor }, &[0, 1, 1, 0]);
    assert!(beyond.contains("expected elements within the 4 of its storage"), "{beyond}");
}
