//! Which rows of a classifier are wanted: by the name of a data set, or listed in a file.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Of the 710 classes that VideoMAE V2 joins from Kinetics-400, 600 and 700, those of each, in the order of each. The
/// numbers are those of `misc/label_710to*.json` in OpenGVLab/VideoMAEv2 (MIT licence, Copyright (c) 2023 OpenGVLab).
const LISTS: &str = include_str!("head_rows.json");

/// The rows of `k400`, `k600` or `k700`, or those that the JSON list in a file names.
pub(crate) fn read(name: &str) -> Result<Vec<usize>> {
    let mut lists: BTreeMap<String, Vec<usize>> =
        serde_json::from_str(LISTS).context("the lists in this program")?;
    if let Some(rows) = lists.remove(name) {
        return Ok(rows);
    }
    let text = std::fs::read_to_string(name).with_context(|| {
        let names: Vec<_> = lists.keys().map(String::as_str).collect();
        format!("--head-rows {name}: expected {} or a file", names.join(", "))
    })?;
    serde_json::from_str(&text).with_context(|| format!("{name}: expected a JSON list of row numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_has_as_many_different_rows_of_710_as_its_name_says() {
        for (name, count) in [("k400", 400), ("k600", 600), ("k700", 700)] {
            let mut rows = read(name).expect("a list in this program");
            assert!(rows.iter().all(|&row| row < 710), "{name}");
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), count, "{name}");
        }
        let error = read("k500").unwrap_err().to_string();
        assert_eq!(error, "--head-rows k500: expected k400, k600, k700 or a file");
    }
}
