//! Models by name: `MCG-NJU/videomae-base` instead of a folder.
//!
//! [`snapshot`] downloads what a model is made of into the cache that all Hugging Face programs share, and returns
//! the folder there, which `from_pretrained` takes as any other. A file that is in the cache already is not
//! downloaded again, an interrupted download goes on where it stopped, and nothing gets its final name before its
//! size and hash are right.
//!
//! ```no_run
//! use videomae::{VideoMAEForVideoClassification, checkpoint::LoadOptions, hub};
//!
//! let name = "MCG-NJU/videomae-base-finetuned-kinetics";
//! let snapshot = hub::snapshot(name, &hub::HubOptions::from_env()?, &mut |_| ())?;
//! let backend = kernels::open("auto")?;
//! let loaded = VideoMAEForVideoClassification::from_pretrained(&snapshot.path, backend, &LoadOptions::default())?;
//! # Ok::<(), videomae::Error>(())
//! ```
//!
//! The layout of the cache, the names of its folders and of the environment variables are those of
//! `huggingface_hub`; see [`HubOptions::from_env`].

mod card;
mod client;
mod download;
mod listing;
mod options;

use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

pub use self::options::HubOptions;
use self::{
    client::{Client, Revision},
    download::Downloads,
};
use crate::{Error, Result};

/// What is published under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Dataset,
}

/// Where a model lies now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder with the configuration, the processor's configuration and the weights.
    pub path: PathBuf,
    /// Whether this call downloaded anything; without, all was in the cache.
    pub downloaded: bool,
    /// The licence that the model card states, such as `cc-by-nc-4.0`.
    pub license: Option<String>,
}

impl Snapshot {
    /// Whether the licence says by its name that commercial use is not allowed.
    pub fn is_non_commercial(&self) -> bool {
        self.license.as_deref().is_some_and(card::is_non_commercial)
    }
}

/// What a download is doing, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubEvent<'a> {
    /// A file begins, or goes on after `done` of `bytes`.
    File {
        /// Its name in the repository.
        name: &'a str,
        /// Bytes that are here already.
        done: u64,
        /// Bytes of the whole file.
        bytes: u64,
    },
    /// As many more bytes of that file arrived.
    Bytes(u64),
    /// A connection failed and is tried again.
    Retry {
        /// What went wrong.
        reason: &'a str,
    },
    /// The hub could not be asked, so what the cache holds is taken as it is.
    Cached {
        /// Why it could not.
        reason: &'a str,
    },
}

/// The folder of a model, downloaded as far as it is not in the cache.
///
/// `name` is `owner/model`, or `model` for the hub's oldest ones. Of the weights one form is taken: safetensors
/// before pickled files, one file before shards.
///
/// # Errors
/// [`Error::Hub`], which names the address and says what to do about it; [`Error::Io`] for the cache.
pub fn snapshot(
    name: &str,
    options: &HubOptions,
    progress: &mut dyn FnMut(HubEvent<'_>),
) -> Result<Snapshot> {
    let hub = Hub::new(Kind::Model, name, options)?;
    let download = |revision: &Revision, progress: &mut Progress<'_>| hub.download_model(revision, progress);
    hub.download_or_cached(progress, download, || hub.cached_model())
}

/// The path of one file of a model's repository, downloaded if it is not in the cache. Its name must be a plain one.
///
/// # Errors
/// As [`snapshot`].
pub fn model_file(
    name: &str,
    file: &str,
    options: &HubOptions,
    progress: &mut dyn FnMut(HubEvent<'_>),
) -> Result<PathBuf> {
    Hub::new(Kind::Model, name, options)?.file(file, progress)
}

/// The path of one file of a dataset, downloaded if it is not in the cache. Its name must be a plain one.
///
/// # Errors
/// As [`snapshot`].
pub fn dataset_file(
    name: &str,
    file: &str,
    options: &HubOptions,
    progress: &mut dyn FnMut(HubEvent<'_>),
) -> Result<PathBuf> {
    Hub::new(Kind::Dataset, name, options)?.file(file, progress)
}

/// A model or a dataset at one revision.
struct Hub<'a> {
    kind: Kind,
    name: &'a str,
    options: &'a HubOptions,
    client: Client,
}

/// Told what a download is doing.
type Progress<'a> = dyn FnMut(HubEvent<'_>) + 'a;

impl<'a> Hub<'a> {
    fn new(kind: Kind, name: &'a str, options: &'a HubOptions) -> Result<Self> {
        check_name(name)?;
        check_revision(&options.revision)?;
        Ok(Self { kind, name, options, client: Client::new(options) })
    }

    /// One file, whatever else the repository holds.
    fn file(&self, file: &str, progress: &mut Progress<'_>) -> Result<PathBuf> {
        if !listing::is_plain(file) {
            return Err(Error::input("file", listing::PLAIN, format!("{file:?}")));
        }
        let download = |revision: &Revision, progress: &mut Progress<'_>| {
            let folder = self.repo().pointer_path(&revision.commit);
            self.get(&folder, revision, [file.to_owned()], progress)?;
            self.name_revision(revision)?;
            Ok(folder.join(file))
        };
        self.download_or_cached(progress, download, || self.cached(file))
    }

    /// A hub that answers "no" is believed; one that does not answer may be replaced by what it said before.
    fn download_or_cached<T>(
        &self,
        progress: &mut Progress<'_>,
        download: impl FnOnce(&Revision, &mut Progress<'_>) -> Result<T>,
        cached: impl FnOnce() -> Option<T>,
    ) -> Result<T> {
        if self.options.offline {
            return cached().ok_or_else(|| self.not_cached("HF_HUB_OFFLINE is set"));
        }
        match self.client.revision(self.kind, self.name, &self.options.revision) {
            Ok(revision) => download(&revision, progress),
            Err(failure) if failure.is_transient => match cached() {
                Some(found) => {
                    progress(HubEvent::Cached { reason: &failure.problem });
                    Ok(found)
                }
                None => Err(self.not_cached(&format!("{}: {}", self.options.endpoint, failure.problem))),
            },
            Err(failure) => Err(failure.into_error()),
        }
    }

    fn repo(&self) -> CacheRepo {
        let kind = match self.kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        let repo = Repo::with_revision(self.name.to_owned(), kind, self.options.revision.clone());
        Cache::new(self.options.cache.clone()).repo(repo)
    }

    fn download_model(&self, revision: &Revision, progress: &mut Progress<'_>) -> Result<Snapshot> {
        let path = self.repo().pointer_path(&revision.commit);
        let files = listing::choose(self.name, &revision.files)?;
        let weights = files.last().cloned().unwrap_or_default();
        let mut downloaded = self.get(&path, revision, files, progress)?;
        downloaded |= self.get(&path, revision, listing::shards(&path, &weights)?, progress)?;
        self.name_revision(revision)?;
        Ok(Snapshot { license: card::license(&path), path, downloaded })
    }

    /// Puts files into the folder of a revision; whether any was not there.
    fn get(
        &self,
        folder: &Path,
        revision: &Revision,
        files: impl IntoIterator<Item = String>,
        progress: &mut Progress<'_>,
    ) -> Result<bool> {
        // snapshots/<commit> lies beside blobs.
        let blobs = folder.ancestors().nth(2).unwrap_or(folder).join("blobs");
        // 250 ms before the second try with the usual time-out.
        let downloads = Downloads { client: &self.client, blobs, pause: self.options.timeout / 40 };
        let mut downloaded = false;
        for file in files {
            let pointer = folder.join(&file);
            if !pointer.exists() {
                let url = self.client.file_url(self.kind, self.name, &revision.commit, &file);
                downloads.file(&url, &file, &pointer, progress)?;
                downloaded = true;
            }
        }
        Ok(downloaded)
    }

    /// Lets the revision's name lead to its commit. Done last, so that a folder found by name is complete.
    fn name_revision(&self, revision: &Revision) -> Result<()> {
        if self.options.revision == revision.commit {
            return Ok(());
        }
        let named = self.repo().create_ref(&revision.commit);
        named.map_err(Error::io("write a reference in", &self.options.cache))
    }

    /// A file in the cache, found by the name of the revision or by its commit.
    fn cached(&self, file: &str) -> Option<PathBuf> {
        let by_commit = || {
            let path = self.repo().pointer_path(&self.options.revision).join(file);
            path.exists().then_some(path)
        };
        self.repo().get(file).or_else(by_commit)
    }

    /// What is in the cache, if it is all that a model needs.
    fn cached_model(&self) -> Option<Snapshot> {
        let path = self.cached(listing::CONFIG)?.parent()?.to_owned();
        listing::is_complete(&path).then(|| Snapshot {
            license: card::license(&path),
            path,
            downloaded: false,
        })
    }

    fn not_cached(&self, reason: &str) -> Error {
        Error::Hub {
            address: format!("{} at revision {}", self.name, self.options.revision),
            problem: format!(
                "expected it in the cache {} because {reason}, found no complete copy; download it once with a \
                 network, or give a folder",
                self.options.cache.display()
            ),
        }
    }
}

/// Letters that can neither leave the cache's folder nor change the meaning of an address.
fn check_name(name: &str) -> Result<()> {
    let is_part = |part: &str| {
        listing::is_plain(part) && !part.starts_with('-') && !part.contains("..") && !part.contains("--")
    };
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() <= 2 && name.len() <= 96 && parts.iter().all(|part| is_part(part)) {
        return Ok(());
    }
    Err(Error::input("model", "a name on the hub, such as MCG-NJU/videomae-base", format!("{name:?}")))
}

/// A branch, a tag, a commit or `refs/pr/1`.
fn check_revision(revision: &str) -> Result<()> {
    if revision.len() <= 200 && revision.split('/').all(listing::is_plain) {
        return Ok(());
    }
    Err(Error::input("revision", "a branch, a tag or a commit", format!("{revision:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_cache_are_refused() {
        for good in ["MCG-NJU/videomae-base", "gpt2", "a/b.c_d-e"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/b/c", "../x", "a/..", "a--b/c", "a b", "a?b", "a/b#c", ".a", "ä"]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["main", "v1.0", "refs/pr/1", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(check_revision(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "..", "a/../b", "a b", "a?b", ".git"] {
            assert!(check_revision(bad).is_err(), "{bad}");
        }
    }
}
