//! The tiny model in this program, which tells ten motions of a shape apart.

use anyhow::Result;
use videomae::{VideoMAEConfig, checkpoint::Checkpoint};

/// What it is called.
pub(crate) const NAME: &str = "demo";

/// Its `preprocessor_config.json`.
pub(crate) const PROCESSOR: &str = include_str!("../demo/preprocessor_config.json");

/// Its configuration and its weights.
pub(crate) fn open() -> Result<(VideoMAEConfig, Checkpoint)> {
    let config = VideoMAEConfig::from_json_str(include_str!("../demo/config.json"))?;
    let weights = Checkpoint::from_bytes(NAME, include_bytes!("../demo/model.safetensors").as_slice())?;
    Ok((config, weights))
}
