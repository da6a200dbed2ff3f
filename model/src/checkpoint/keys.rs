//! The dialects: one name inside for each tensor, whatever a file calls it.

/// The prefix of the encoder in every file but that of a bare `VideoMAEModel`.
const PREFIX: &str = "videomae.";

/// What the first name after the prefix can be.
const BARE: [&str; 3] = ["embeddings.", "encoder.", "layernorm."];

/// `(v4 and saved files, transformers 5 in memory)`; the second is used here.
const BIASES: [(&str, &str); 2] = [
    (".attention.attention.q_bias", ".attention.attention.query.bias"),
    (".attention.attention.v_bias", ".attention.attention.value.bias"),
];

/// Transformers 5.6 to 5.17 wrote a bias for keys. It adds the same number to every score of a query, which
/// the softmax takes out again.
const INERT: &str = ".attention.attention.key.bias";

/// The key a model asks for.
pub(super) fn canonical(stored: &str) -> String {
    let mut key = match BARE.iter().any(|bare| stored.starts_with(bare)) {
        true => format!("{PREFIX}{stored}"),
        false => stored.to_owned(),
    };
    for (old, new) in BIASES {
        if let Some(layer) = key.strip_suffix(old) {
            key = format!("{layer}{new}");
        }
    }
    key
}

/// Whether a tensor changes nothing and may be left out.
pub(super) fn is_inert(key: &str) -> bool {
    key.ends_with(INERT)
}

/// The key in a file that every generation of transformers reads; `prefixed` is false for a bare model.
pub(super) fn stored(canonical: &str, prefixed: bool) -> String {
    let mut key = canonical.to_owned();
    for (old, new) in BIASES {
        if let Some(layer) = key.strip_suffix(new) {
            key = format!("{layer}{old}");
        }
    }
    match key.strip_prefix(PREFIX) {
        Some(bare) if !prefixed => bare.to_owned(),
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_one_name_inside_and_writing_is_its_inverse() {
        let query = "videomae.encoder.layer.3.attention.attention.query.bias";
        for stored_key in [
            "videomae.encoder.layer.3.attention.attention.q_bias",
            "encoder.layer.3.attention.attention.q_bias",
            "encoder.layer.3.attention.attention.query.bias",
            query,
        ] {
            assert_eq!(canonical(stored_key), query);
        }
        assert_eq!(stored(query, true), "videomae.encoder.layer.3.attention.attention.q_bias");
        assert_eq!(stored(query, false), "encoder.layer.3.attention.attention.q_bias");
        let decoder = "decoder.decoder_layers.0.attention.attention.v_bias";
        assert_eq!(canonical(decoder), "decoder.decoder_layers.0.attention.attention.value.bias");
        assert_eq!(stored(&canonical(decoder), true), decoder);
    }

    #[test]
    fn heads_keep_their_names() {
        for key in ["encoder_to_decoder.weight", "mask_token", "fc_norm.bias", "classifier.weight"] {
            assert_eq!(canonical(key), key);
            assert_eq!(stored(key, true), key);
        }
    }
}
