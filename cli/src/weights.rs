//! From the name of a model to its tensors and configuration, whatever layout they are in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use videomae::{ConfigOverrides, Size, VideoMAEConfig, checkpoint::Checkpoint};

use crate::{demo, hub};

/// What neither shapes nor a config.json may tell. Given, it comes before both.
#[derive(Args)]
pub(crate) struct Overrides {
    /// Attention heads of the encoder
    #[arg(long, value_name = "N")]
    num_heads: Option<usize>,

    /// Attention heads of the decoder
    #[arg(long, value_name = "N")]
    decoder_num_heads: Option<usize>,

    /// Frames of a clip
    #[arg(long, value_name = "N")]
    num_frames: Option<usize>,

    /// Height and width of a frame
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
}

impl Overrides {
    /// The options of the library.
    pub(crate) fn options(&self) -> ConfigOverrides {
        ConfigOverrides {
            num_attention_heads: self.num_heads,
            decoder_num_attention_heads: self.decoder_num_heads,
            image_size: self.image_size.map(Size::square),
            num_frames: self.num_frames,
        }
    }
}

/// A model that has been opened, and not yet understood.
pub(crate) struct Opened {
    pub(crate) checkpoint: Checkpoint,
    /// `config.json`, if there is one of transformers.
    pub(crate) config: Option<VideoMAEConfig>,
    /// What another `config.json` tells.
    pub(crate) told: ConfigOverrides,
    /// Where files beside the weights are; the model in this program has none.
    pub(crate) folder: Option<PathBuf>,
}

/// Opens the demo, a folder, a file of weights, or a model on the hub.
pub(crate) fn open(name: &str) -> Result<Opened> {
    if name == demo::NAME {
        let (config, checkpoint) = demo::open()?;
        let told = ConfigOverrides::default();
        return Ok(Opened { checkpoint, config: Some(config), told, folder: None });
    }
    let path = Path::new(name);
    let path =
        if path.exists() { path.to_owned() } else { hub::folder(name, None, &ProgressBar::no_length())? };
    let checkpoint = Checkpoint::open(&path)?;
    let folder = match path.is_dir() {
        true => path,
        false => path.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let (config, told) = configuration(&folder.join(VideoMAEConfig::FILE_NAME))?;
    Ok(Opened { checkpoint, config, told, folder: Some(folder) })
}

/// Reads `config.json` if there is one, of transformers or of a VideoMAE V2 on the hub.
fn configuration(path: &Path) -> Result<(Option<VideoMAEConfig>, ConfigOverrides)> {
    if !path.exists() {
        return Ok((None, ConfigOverrides::default()));
    }
    let error = match VideoMAEConfig::from_file(path) {
        Ok(config) => return Ok((Some(config), ConfigOverrides::default())),
        Err(error) => error,
    };
    // Only a file that is not one of ours is worth a second look.
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    match ConfigOverrides::from_v2_json(&text) {
        Ok(Some(told)) => Ok((None, told)),
        Ok(None) | Err(videomae::Error::Json { .. }) => Err(error.into()),
        Err(other) => Err(other.into()),
    }
}
