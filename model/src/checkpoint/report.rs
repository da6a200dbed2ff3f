//! What became of every tensor.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What a load found. Keys are canonical: with the `videomae.` prefix, biases as `query.bias` and `value.bias`;
/// those of no use to the model are given as the source spells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// The file, directory or other source.
    pub source: String,
    /// The class that was loaded.
    pub architecture: String,
    /// How many tensors came from the source.
    pub loaded: usize,
    /// The model needs them, the source lacks them: an error.
    pub missing: Vec<String>,
    /// Of another shape than the model's: an error, unless replaced.
    pub mismatched: Vec<Mismatch>,
    /// Absent or mismatched, and drawn afresh because the options allow it.
    pub fresh: Vec<String>,
    /// Loaded, and zero in every element. Normal for biases of a model that has not been trained; in a trained
    /// one a sign of damage: transformers 5.6 to 5.17 read q and v biases as zeros and saved them so.
    pub all_zero: Vec<String>,
    /// Known parts of VideoMAE that this architecture or config has no use for, as a decoder beside a classifier.
    pub unused: Vec<String>,
    /// Tensors that change nothing: biases of keys.
    pub ignored: Vec<String>,
    /// Not part of any VideoMAE, or of one with more layers or other options.
    pub unexpected: Vec<String>,
}

/// A tensor of another shape than the model's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Its key.
    pub key: String,
    /// The model's shape.
    pub expected: Vec<usize>,
    /// The source's shape.
    pub found: Vec<usize>,
    /// Whether a fresh tensor took its place.
    pub replaced: bool,
}

impl LoadReport {
    /// Whether the model cannot be built.
    pub fn is_error(&self) -> bool {
        !self.missing.is_empty() || self.mismatched.iter().any(|m| !m.replaced)
    }

    /// Whether a user should see this: anything but tensors known to be of no use here.
    pub fn is_notable(&self) -> bool {
        self.is_error()
            || !(self.mismatched.is_empty()
                && self.fresh.is_empty()
                && self.all_zero.is_empty()
                && self.unexpected.is_empty())
    }
}

impl fmt::Display for LoadReport {
    /// One line of summary, then one per finding. Layers are folded: `layer.{0-3,5}.output.dense.bias`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, architecture, loaded, .. } = self;
        match self.is_error() {
            true => write!(f, "{source}: not the weights of this {architecture}")?,
            false => write!(f, "{source}: {loaded} tensors of {architecture}")?,
        }
        section(f, "missing", &self.missing)?;
        for m in &self.mismatched {
            let Mismatch { key, expected, found, replaced } = m;
            let outcome = if *replaced { ", replaced by a fresh one" } else { "" };
            write!(f, "\n  mismatched: {key}: expected {expected:?}, found {found:?}{outcome}")?;
        }
        section(f, "fresh", &self.fresh)?;
        section(f, "all zero", &self.all_zero)?;
        section(f, "unexpected", &self.unexpected)?;
        section(f, "unused", &self.unused)?;
        section(f, "ignored", &self.ignored)
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, keys: &[String]) -> fmt::Result {
    folded(keys).iter().try_for_each(|key| write!(f, "\n  {title}: {key}"))
}

/// Keys that differ in one number only become one line, in order of first appearance.
fn folded(keys: &[String]) -> Vec<String> {
    let mut order = Vec::new();
    let mut groups: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for key in keys {
        let (before, index, after) = split_index(key);
        let group = groups.entry((before, after)).or_insert_with(|| {
            order.push((before, after));
            Vec::new()
        });
        group.extend(index);
    }
    let line = |&(before, after): &(&str, &str)| match groups[&(before, after)].as_slice() {
        [] => before.to_owned(),
        [index] => format!("{before}{index}{after}"),
        many => format!("{before}{{{}}}{after}", ranges(many)),
    };
    order.iter().map(line).collect()
}

/// `("a.", Some(3), ".b")` for `a.3.b`; `("a.b", None, "")` without a number.
fn split_index(key: &str) -> (&str, Option<usize>, &str) {
    let mut start = 0;
    for part in key.split('.') {
        let end = start + part.len();
        // Only a number that prints as it was spelled can be folded: "03" cannot.
        if let Some(index) = part.parse::<usize>().ok().filter(|n| n.to_string() == part) {
            return (&key[..start], Some(index), &key[end..]);
        }
        start = end + 1;
    }
    (key, None, "")
}

/// `0-3,5`
fn ranges(indices: &[usize]) -> String {
    let mut sorted = indices.to_vec();
    sorted.sort_unstable();
    sorted
        .chunk_by(|a, b| *b == *a + 1)
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            single => format!("{}", single[0]),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_folded_and_nothing_is_left_out() {
        let key = |i: usize| format!("encoder.layer.{i}.q_bias");
        let keys: Vec<_> =
            [0, 1, 2, 3, 5, 9, 8].map(key).into_iter().chain(["mask_token".to_owned()]).collect();
        assert_eq!(folded(&keys), ["encoder.layer.{0-3,5,8-9}.q_bias", "mask_token"]);
        assert_eq!(folded(&["a.03.b".to_owned(), "a.4.b".to_owned()]), ["a.03.b", "a.4.b"]);
        assert_eq!(folded(&[]), Vec::<String>::new());
    }
}
