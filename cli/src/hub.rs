//! Models by their names on the hub.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::{HumanBytes, ProgressBar};
use videomae::hub::{self, HubEvent, HubOptions};

/// The folder of a model: `name` itself, or where a download of it lies.
///
/// A folder comes before a model of the same name, as everywhere in the Hugging Face world.
pub(crate) fn folder(name: &str, revision: Option<&str>, progress: &ProgressBar) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.is_dir() {
        return match revision {
            Some(_) => {
                bail!("--revision: expected the name of a model on the hub, found the folder {name:?}")
            }
            None => Ok(path.to_owned()),
        };
    }
    let is_on_hub =
        name.split('/').count() == 2 && !name.starts_with(['.', '/', '~']) && !name.ends_with('/');
    if path.exists() || !is_on_hub {
        let found = if path.exists() { "a file" } else { "nothing" };
        bail!(
            "model {name:?}: expected \"demo\", a folder with config.json, or a name on the hub such as \
             MCG-NJU/videomae-base, found {found} at that path"
        );
    }
    let mut options = HubOptions::from_env()?;
    if let Some(revision) = revision {
        revision.clone_into(&mut options.revision);
    }
    let mut shown = Shown::default();
    let snapshot = hub::snapshot(name, &options, &mut |event| shown.update(event, progress))
        .with_context(|| format!("there is no folder {name:?}, and the hub was no help"))?;
    if let (true, true, Some(license)) =
        (snapshot.downloaded, snapshot.is_non_commercial(), &snapshot.license)
    {
        progress.suspend(|| eprintln!("note: {name} is licensed {license}: not for commercial use"));
    }
    Ok(snapshot.path)
}

/// The file that is on its way.
#[derive(Default)]
struct Shown {
    name: String,
    done: u64,
    bytes: u64,
}

impl Shown {
    fn update(&mut self, event: HubEvent<'_>, progress: &ProgressBar) {
        match event {
            HubEvent::File { name, done, bytes } => *self = Self { name: name.to_owned(), done, bytes },
            HubEvent::Bytes(count) => self.done += count,
            HubEvent::Retry { reason } => {
                progress.suspend(|| eprintln!("note: {reason}; trying again"));
            }
            HubEvent::Cached { reason } => {
                progress.suspend(|| eprintln!("note: {reason}; taking what is in the cache"));
            }
            _ => {}
        }
        let percent = (self.done * 100).checked_div(self.bytes).unwrap_or(100);
        let (done, bytes) = (HumanBytes(self.done), HumanBytes(self.bytes));
        progress.set_message(format!("{}: {done} of {bytes} ({percent} %)", self.name));
    }
}
