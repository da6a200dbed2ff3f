//! Which files of a repository a model is made of.

use std::path::Path;

use crate::{Error, Result, checkpoint::read_index};

/// Without it nothing else is of use.
pub(super) const CONFIG: &str = "config.json";

/// The model card.
pub(super) const CARD: &str = "README.md";

/// Of use if they are there.
const OPTIONAL: [&str; 3] = ["preprocessor_config.json", "video_preprocessor_config.json", CARD];

/// The forms of weights, best first; an index names shards.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// The files to get, the large one last. Shards follow once their index is here: see [`shards`].
pub(super) fn choose(model: &str, files: &[String]) -> Result<Vec<String>> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let missing = |expected: &str| Error::Hub {
        address: model.to_owned(),
        problem: format!("expected {expected}, found {}", summary(files)),
    };
    if !has(CONFIG) {
        return Err(missing("a model with config.json"));
    }
    let Some(weights) = WEIGHTS.into_iter().find(|name| has(name)) else {
        return Err(missing("weights in model.safetensors or pytorch_model.bin, or their index"));
    };
    let small = [CONFIG].into_iter().chain(OPTIONAL.into_iter().filter(|name| has(name)));
    Ok(small.chain([weights]).map(str::to_owned).collect())
}

/// The files an index names; none for a file that is no index.
pub(super) fn shards(folder: &Path, weights: &str) -> Result<Vec<String>> {
    if !weights.ends_with(".index.json") {
        return Ok(Vec::new());
    }
    let mut shards: Vec<String> = read_index(&folder.join(weights))?.into_values().collect();
    shards.sort_unstable();
    shards.dedup();
    // The index is the hub's word, and each name becomes a part of an address.
    match shards.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(Error::Hub {
            address: folder.join(weights).display().to_string(),
            problem: format!("expected {PLAIN}, found {name:?}"),
        }),
        None => Ok(shards),
    }
}

/// What [`is_plain`] takes, for messages.
pub(super) const PLAIN: &str = "a name of letters, digits, '-', '_' and '.'";

/// Whether a file's name can neither leave a folder nor change the meaning of an address.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
}

/// Whether a folder has a configuration and one form of weights, with all its shards.
pub(super) fn is_complete(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).exists();
    let weights = WEIGHTS.into_iter().find(|name| has(name));
    has(CONFIG)
        && weights.is_some_and(|weights| {
            shards(folder, weights).is_ok_and(|shards| shards.iter().all(|shard| has(shard)))
        })
}

/// A few names, for a message.
fn summary(files: &[String]) -> String {
    const SHOWN: usize = 8;
    match files.len() {
        0 => "no files".to_owned(),
        count @ ..=SHOWN => format!("{count} files: {}", files.join(", ")),
        count => format!("{count} files, among them {}", files[..SHOWN].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[&str]) -> Result<Vec<String>> {
        choose("owner/model", &files.iter().map(|&file| file.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn one_form_of_weights_is_taken_and_strangers_are_left() {
        let all = ["pytorch_model.bin", "README.md", "model.safetensors", "config.json", "training_args.bin"];
        assert_eq!(chosen(&all).unwrap(), ["config.json", "README.md", "model.safetensors"]);
        let pickled = ["config.json", "preprocessor_config.json", "pytorch_model.bin"];
        assert_eq!(chosen(&pickled).unwrap(), pickled);
    }

    #[test]
    fn a_repository_without_a_model_says_what_it_has() {
        let message = chosen(&["README.md", "model.safetensors"]).unwrap_err().to_string();
        assert!(message.contains("config.json") && message.contains("README.md"), "{message}");
        let message = chosen(&["config.json", "tf_model.h5"]).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("tf_model.h5"), "{message}");
    }
}
