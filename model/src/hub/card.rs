//! The licence in a model card.

use std::path::Path;

use super::listing::CARD;
use crate::files;

/// A model card is a page of text.
const MAX_CARD_BYTES: u64 = 4 << 20;

/// The field `license` of the card's front matter. A card that is missing or cannot be read states none.
pub(super) fn license(folder: &Path) -> Option<String> {
    let text = files::read_text(&folder.join(CARD), MAX_CARD_BYTES).ok()?;
    of_card(&text)
}

fn of_card(text: &str) -> Option<String> {
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let field = |line: &str, name: &str| -> Option<String> {
        let value = line.strip_prefix(name)?.strip_prefix(':')?.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let front: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
    let find = |name: &str| front.iter().find_map(|line| field(line, name));
    // "other" only points to the name that follows.
    find("license").filter(|license| license != "other").or_else(|| find("license_name"))
}

/// Licences for non-commercial use carry the letters in their tag: `cc-by-nc-4.0`, `fair-noncommercial-…`.
pub(super) fn is_non_commercial(license: &str) -> bool {
    let license = license.to_lowercase();
    license.split(['-', '_', '.', ' ']).any(|part| part == "nc")
        || license.replace(['-', '_', ' '], "").contains("noncommercial")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_is_a_field_of_the_front_matter() {
        let card = "---\nlicense: \"cc-by-nc-4.0\"\ntags:\n- vision\n---\n# Title\nlicense: mit\n";
        assert_eq!(of_card(card).as_deref(), Some("cc-by-nc-4.0"));
        let other = "---\nlicense: other\nlicense_name: house-rules\n---\n";
        assert_eq!(of_card(other).as_deref(), Some("house-rules"));
        for none in ["", "license: mit", "---\ntags:\n- a\n---\nlicense: mit\n", "---\nlicense:\n---\n"] {
            assert_eq!(of_card(none), None, "{none:?}");
        }
    }

    #[test]
    fn non_commercial_licences_are_known_by_their_names() {
        for license in ["cc-by-nc-4.0", "CC-BY-NC-SA-3.0", "fair-noncommercial-research-license"] {
            assert!(is_non_commercial(license), "{license}");
        }
        for license in ["mit", "apache-2.0", "cc-by-4.0", "ncsa", "bsd-3-clause"] {
            assert!(!is_non_commercial(license), "{license}");
        }
    }
}
