//! What a configuration may hold, so that no later arithmetic overflows and nothing absurd is allocated.

use std::fmt::Display;

use super::{ProblemType, VideoMAEConfig};
use crate::{Error, Result};

/// One side of a frame or a patch, or the frames of a clip: eight times the width of 8K video, and an hour of
/// video at 18 frames per second.
const MAX_PIXELS: usize = 1 << 16;
/// Channels: hyperspectral cameras have hundreds.
const MAX_CHANNELS: usize = 1 << 12;
/// Widths: the widest vision transformers published have 6144 and 24576 (ViT-22B), a tenth of this.
const MAX_WIDTH: usize = 1 << 18;
/// Layers: twenty times the deepest published vision transformer (ViT-22B has 48).
const MAX_LAYERS: usize = 1 << 10;
/// Classes: fifty times those of ImageNet-21k.
pub(super) const MAX_LABELS: usize = 1 << 20;
/// Elements of one position table, N·D: 16 GiB of f32.
const MAX_TABLE: u128 = 1 << 32;
/// Parameters of one stack of layers: 1 TiB of f32, ten times ViT-22B.
const MAX_PARAMETERS: u128 = 1 << 38;

/// A field that cannot be right.
pub(super) fn refuse(
    file: impl Into<String>,
    field: impl Into<String>,
    expected: impl Into<String>,
    found: impl Display,
) -> Error {
    Error::Config {
        file: file.into(),
        field: field.into(),
        expected: expected.into(),
        found: shortened(found.to_string()),
    }
}

/// A hostile value must not flood the message.
fn shortened(found: String) -> String {
    const LONGEST: usize = 200;
    match found.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}... ({} bytes)", &found[..end], found.len()),
        None => found,
    }
}

/// Every check of a whole config; `file` opens the messages.
pub(super) fn check(config: &VideoMAEConfig, file: &str) -> Result<()> {
    check_sizes(config, file)?;
    check_divisibility(config, file)?;
    check_products(config, file)?;
    check_numbers(config, file)?;
    check_labels(config, file)
}

/// The reference's "The hidden size D is not a multiple of the number of attention heads h."
pub(super) fn check_heads(file: &str, width: (&str, usize), heads: (&str, usize)) -> Result<()> {
    if heads.1 == 0 {
        return Err(refuse(file, heads.0, "at least 1", 0));
    }
    if width.1.is_multiple_of(heads.1) {
        return Ok(());
    }
    Err(refuse(file, width.0, format!("a multiple of {} {}", heads.0, heads.1), width.1))
}

fn check_sizes(c: &VideoMAEConfig, file: &str) -> Result<()> {
    let sizes = [
        ("image_size", c.image_size.height, MAX_PIXELS),
        ("image_size", c.image_size.width, MAX_PIXELS),
        ("patch_size", c.patch_size.height, MAX_PIXELS),
        ("patch_size", c.patch_size.width, MAX_PIXELS),
        ("num_channels", c.num_channels, MAX_CHANNELS),
        ("num_frames", c.num_frames, MAX_PIXELS),
        ("tubelet_size", c.tubelet_size, MAX_PIXELS),
        ("hidden_size", c.hidden_size, MAX_WIDTH),
        ("num_hidden_layers", c.num_hidden_layers, MAX_LAYERS),
        ("num_attention_heads", c.num_attention_heads, MAX_WIDTH),
        ("intermediate_size", c.intermediate_size, MAX_WIDTH),
        ("decoder_num_attention_heads", c.decoder_num_attention_heads, MAX_WIDTH),
        ("decoder_hidden_size", c.decoder_hidden_size, MAX_WIDTH),
        ("decoder_num_hidden_layers", c.decoder_num_hidden_layers, MAX_LAYERS),
        ("decoder_intermediate_size", c.decoder_intermediate_size, MAX_WIDTH),
    ];
    match sizes.into_iter().find(|&(_, size, largest)| size == 0 || size > largest) {
        Some((field, size, largest)) => Err(refuse(file, field, format!("1 to {largest}"), size)),
        None => Ok(()),
    }
}

/// The reference drops what does not divide, without a word.
fn check_divisibility(c: &VideoMAEConfig, file: &str) -> Result<()> {
    let (image, patch) = (c.image_size, c.patch_size);
    if !image.height.is_multiple_of(patch.height) || !image.width.is_multiple_of(patch.width) {
        return Err(refuse(file, "image_size", format!("multiples of patch_size {patch}"), image));
    }
    if !c.num_frames.is_multiple_of(c.tubelet_size) {
        let expected = format!("a multiple of tubelet_size {}", c.tubelet_size);
        return Err(refuse(file, "num_frames", expected, c.num_frames));
    }
    check_heads(file, ("hidden_size", c.hidden_size), ("num_attention_heads", c.num_attention_heads))
}

/// The sizes passed [`check_sizes`], so no product of four of them overflows 128 bits.
fn check_products(c: &VideoMAEConfig, file: &str) -> Result<()> {
    let wide = |size: usize| size as u128;
    let (frames, tubelet) = (wide(c.num_frames), wide(c.tubelet_size));
    let tokens = (frames / tubelet)
        * (wide(c.image_size.height) / wide(c.patch_size.height))
        * (wide(c.image_size.width) / wide(c.patch_size.width));
    let patch = wide(c.num_channels) * tubelet * wide(c.patch_size.height) * wide(c.patch_size.width);
    let encoder = (c.hidden_size, c.intermediate_size, c.num_hidden_layers);
    let decoder = (c.decoder_hidden_size, c.decoder_intermediate_size, c.decoder_num_hidden_layers);
    for (field, (width, inner, layers)) in [("hidden_size", encoder), ("decoder_hidden_size", decoder)] {
        let (width, inner, layers) = (wide(width), wide(inner), wide(layers));
        let table = tokens * width;
        if table > MAX_TABLE {
            let expected = format!("at most {MAX_TABLE} numbers in the position table");
            return Err(refuse(file, field, expected, format!("{tokens} tokens of {width}")));
        }
        let parameters = layers * (4 * width * width + 2 * width * inner) + patch * width;
        if parameters > MAX_PARAMETERS {
            let expected = format!("at most {MAX_PARAMETERS} parameters");
            return Err(refuse(file, field, expected, parameters));
        }
    }
    // What was counted must also be addressable here: a 32-bit target has less room than the caps above.
    let largest = wide(c.hidden_size).max(wide(c.decoder_hidden_size)) * tokens.max(patch) * 4;
    if largest > wide(isize::MAX as usize) {
        let expected = format!("tensors of at most {} bytes", isize::MAX);
        return Err(refuse(file, "hidden_size", expected, largest));
    }
    Ok(())
}

fn check_numbers(c: &VideoMAEConfig, file: &str) -> Result<()> {
    for (field, p) in [
        ("hidden_dropout_prob", c.hidden_dropout_prob),
        ("attention_probs_dropout_prob", c.attention_probs_dropout_prob),
    ] {
        if !(0.0..1.0).contains(&p) {
            return Err(refuse(file, field, "a probability of at least 0 and below 1", p));
        }
    }
    for (field, x) in [("initializer_range", c.initializer_range), ("layer_norm_eps", c.layer_norm_eps)] {
        if !(0.0..=1.0).contains(&x) {
            return Err(refuse(file, field, "a number from 0 to 1", x));
        }
    }
    Ok(())
}

fn check_labels(c: &VideoMAEConfig, file: &str) -> Result<()> {
    let labels = c.num_labels();
    if labels > MAX_LABELS {
        return Err(refuse(file, "num_labels", format!("at most {MAX_LABELS}"), labels));
    }
    if c.problem_type == Some(ProblemType::SingleLabelClassification) && labels == 1 {
        let expected = "regression, or at least 2 labels: one exclusive class has nothing to learn";
        return Err(refuse(file, "problem_type", expected, "single_label_classification with 1 label"));
    }
    Ok(())
}
