//! Class names: two maps that must agree, and a count that follows from them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::limits::refuse;
use crate::Result;

/// `id2label` and `label2id`.
pub(super) type Labels = (BTreeMap<usize, String>, BTreeMap<String, usize>);

/// The name of a class that nobody named.
pub(super) fn default_name(id: usize) -> String {
    format!("LABEL_{id}")
}

/// Maps of `count` classes that nobody named.
pub(super) fn numbered(count: usize) -> Labels {
    let id2label: BTreeMap<_, _> = (0..count).map(|id| (id, default_name(id))).collect();
    let label2id = inverse(&id2label);
    (id2label, label2id)
}

/// `label2id` of an `id2label`. Where two classes share a name the later wins, as in the reference's `dict`.
pub(super) fn inverse(id2label: &BTreeMap<usize, String>) -> BTreeMap<String, usize> {
    id2label.iter().map(|(id, label)| (label.clone(), *id)).collect()
}

/// Settles the three keys of a file. `num_labels` that contradicts `id2label` is an error here, because the
/// two generations of the reference disagree on which of them wins.
pub(super) fn settle(
    file: &str,
    num_labels: Option<usize>,
    id2label: Option<BTreeMap<usize, String>>,
    label2id: Option<BTreeMap<String, usize>>,
) -> Result<Labels> {
    let (id2label, label2id) = match (id2label, label2id) {
        (Some(id2label), label2id) => {
            let label2id = label2id.unwrap_or_else(|| inverse(&id2label));
            (id2label, label2id)
        }
        (None, Some(label2id)) => (inverted(file, &label2id)?, label2id),
        (None, None) => numbered(num_labels.unwrap_or(2)),
    };
    match num_labels {
        Some(count) if count != id2label.len() => {
            let expected = format!("{}, the number of classes that the file names", id2label.len());
            Err(refuse(file, "num_labels", expected, count))
        }
        _ => Ok((id2label, label2id)),
    }
}

/// An `id2label` that a file left out.
fn inverted(file: &str, label2id: &BTreeMap<String, usize>) -> Result<BTreeMap<usize, String>> {
    let id2label: BTreeMap<_, _> = label2id.iter().map(|(label, id)| (*id, label.clone())).collect();
    if id2label.keys().copied().eq(0..label2id.len()) {
        return Ok(id2label);
    }
    let expected = format!("each of 0 to {} once, as id2label is missing", label2id.len().saturating_sub(1));
    Err(refuse(file, "label2id", expected, format!("{:?}", label2id.values().collect::<Vec<_>>())))
}

/// Reads `{"0": "label"}`: JSON has no integer keys.
pub(super) fn id2label(file: &str, map: Map<String, Value>) -> Result<BTreeMap<usize, String>> {
    let mut out = BTreeMap::new();
    for (key, value) in map {
        let field = || format!("id2label[{key:?}]");
        let Ok(id) = key.parse::<usize>() else {
            return Err(refuse(file, field(), "a class number as key", format!("{key:?}")));
        };
        let Value::String(label) = value else {
            return Err(refuse(file, field(), "a string", value));
        };
        if out.insert(id, label).is_some() {
            return Err(refuse(file, field(), "every class once", format!("a second name of class {id}")));
        }
    }
    Ok(out)
}

/// Reads `{"label": 0}`. Some files spell the number as a string.
pub(super) fn label2id(file: &str, map: Map<String, Value>) -> Result<BTreeMap<String, usize>> {
    map.into_iter()
        .map(|(label, value)| {
            let id = match &value {
                Value::Number(number) => number.as_u64().and_then(|id| usize::try_from(id).ok()),
                Value::String(digits) => digits.parse().ok(),
                _ => None,
            };
            match id {
                Some(id) => Ok((label, id)),
                None => Err(refuse(file, format!("label2id[{label:?}]"), "a class number", value)),
            }
        })
        .collect()
}
