// Made by `cargo xtask cuda`.

/// The name of each kernel file, and its PTX as a zlib stream.
pub(crate) const PTX: &[(&str, &[u8])] = &[
    ("attention", include_bytes!("attention.compute_80.ptx.z")),
    ("attention_bf16_90a", include_bytes!("attention_bf16_90a.compute_90a.ptx.z")),
    ("attention_f16_90a", include_bytes!("attention_f16_90a.compute_90a.ptx.z")),
    ("attention_mma_bf16", include_bytes!("attention_mma_bf16.compute_80.ptx.z")),
    ("attention_mma_f16", include_bytes!("attention_mma_f16.compute_80.ptx.z")),
    ("attention_probabilities", include_bytes!("attention_probabilities.compute_80.ptx.z")),
    ("bce_with_logits_loss", include_bytes!("bce_with_logits_loss.compute_80.ptx.z")),
    ("broadcast_rows", include_bytes!("broadcast_rows.compute_80.ptx.z")),
    ("cast", include_bytes!("cast.compute_80.ptx.z")),
    ("cross_entropy_loss", include_bytes!("cross_entropy_loss.compute_80.ptx.z")),
    ("gather_rows", include_bytes!("gather_rows.compute_80.ptx.z")),
    ("layer_norm", include_bytes!("layer_norm.compute_80.ptx.z")),
    ("linear", include_bytes!("linear.compute_80.ptx.z")),
    ("linear_90a", include_bytes!("linear_90a.compute_90a.ptx.z")),
    ("linear_mma", include_bytes!("linear_mma.compute_80.ptx.z")),
    ("mean_loss", include_bytes!("mean_loss.compute_80.ptx.z")),
    ("mean_tokens", include_bytes!("mean_tokens.compute_80.ptx.z")),
    ("mse_loss", include_bytes!("mse_loss.compute_80.ptx.z")),
    ("normalize_levels", include_bytes!("normalize_levels.compute_80.ptx.z")),
    ("patch_targets", include_bytes!("patch_targets.compute_80.ptx.z")),
    ("patchify", include_bytes!("patchify.compute_80.ptx.z")),
    ("primitives", include_bytes!("primitives.compute_80.ptx.z")),
];
