//! Where the hub and the cache are.

use std::{fs, path::PathBuf, time::Duration};

use crate::{Error, Result};

/// How the hub is reached and where files go.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubOptions {
    /// The folder with one `models--owner--name` for each model.
    pub cache: PathBuf,
    /// The hub, without a slash at its end.
    pub endpoint: String,
    /// Proves who asks, for private and gated models. It is sent to the endpoint only, never to where that
    /// redirects.
    pub token: Option<String>,
    /// Take what is in the cache and ask nobody.
    pub offline: bool,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// How long a connection may be silent.
    pub timeout: Duration,
}

impl HubOptions {
    /// Of a cache, with the public hub, its main branch and no token.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            offline: false,
            revision: "main".to_owned(),
            // The default of huggingface_hub.
            timeout: Duration::from_secs(10),
        }
    }

    /// What the environment says, with the variables and the defaults of `huggingface_hub`:
    ///
    /// | variable | meaning | default |
    /// |---|---|---|
    /// | `HF_HOME` | the folder of everything | `$XDG_CACHE_HOME/huggingface`, or `~/.cache/huggingface` |
    /// | `HF_HUB_CACHE` | the cache | `$HF_HOME/hub` |
    /// | `HF_ENDPOINT` | the hub | the public one |
    /// | `HF_TOKEN` | the token | what the file `HF_TOKEN_PATH`, by default `$HF_HOME/token`, holds |
    /// | `HF_HUB_OFFLINE` | `1`, `ON`, `YES` or `TRUE`: ask nobody | no |
    /// | `HF_HUB_DOWNLOAD_TIMEOUT` | seconds a connection may be silent | 10 |
    ///
    /// # Errors
    /// [`Error::Input`] for a time-out that is no number, or if nothing says where the cache is.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let folder = |name| variable(name).map(PathBuf::from);
        let caches = folder("XDG_CACHE_HOME")
            .or_else(|| folder("HOME").or_else(|| folder("USERPROFILE")).map(|home| home.join(".cache")));
        let home = folder("HF_HOME").or_else(|| caches.map(|caches| caches.join("huggingface")));
        let cache = folder("HF_HUB_CACHE").or_else(|| home.as_ref().map(|home| home.join("hub")));
        let cache =
            cache.ok_or_else(|| Error::input("HF_HOME", "a folder for downloads", "neither it nor HOME"))?;
        let mut options = Self::new(cache);
        if let Some(endpoint) = variable("HF_ENDPOINT") {
            options.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        let token_file = folder("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
        options.token = variable("HF_TOKEN")
            .or_else(|| token_file.and_then(|file| fs::read_to_string(file).ok()))
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        options.offline = variable("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()));
        if let Some(seconds) = variable("HF_HUB_DOWNLOAD_TIMEOUT") {
            options.timeout = match seconds.parse() {
                Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
                _ => return Err(Error::input("HF_HUB_DOWNLOAD_TIMEOUT", "1 to 86400 seconds", seconds)),
            };
        }
        Ok(options)
    }
}

/// The token is nobody's business, least of all a log's.
impl std::fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cache, endpoint, token, offline, revision, timeout } = self;
        f.debug_struct("HubOptions")
            .field("cache", cache)
            .field("endpoint", endpoint)
            .field("token", &token.as_ref().map(|_| "hidden"))
            .field("offline", offline)
            .field("revision", revision)
            .field("timeout", timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<HubOptions> {
        HubOptions::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn folders_are_found_in_the_order_of_huggingface_hub() {
        let all = [("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/u")];
        let expected = ["/c", "/h/hub", "/x/huggingface/hub", "/u/.cache/huggingface/hub"];
        for (first, expected) in expected.iter().enumerate() {
            assert_eq!(with(&all[first..]).unwrap().cache, Path::new(expected));
        }
        assert!(with(&[]).unwrap_err().to_string().contains("HF_HOME"));
    }

    #[test]
    fn the_token_comes_from_its_variable_or_its_file_and_is_never_printed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        assert_eq!(with(&[("HF_HOME", path)]).unwrap().token, None);
        fs::write(home.path().join("token"), " of-file\n").unwrap();
        assert_eq!(with(&[("HF_HOME", path)]).unwrap().token.as_deref(), Some("of-file"));
        let options = with(&[("HF_HOME", path), ("HF_TOKEN", "of-variable")]).unwrap();
        assert_eq!(options.token.as_deref(), Some("of-variable"));
        assert!(!format!("{options:?}").contains("of-variable"));
    }

    #[test]
    fn switches_and_times_are_read_as_huggingface_hub_reads_them() {
        let home = ("HOME", "/u");
        for (value, offline) in [("1", true), ("yes", true), ("True", true), ("0", false), ("no", false)] {
            assert_eq!(with(&[home, ("HF_HUB_OFFLINE", value)]).unwrap().offline, offline, "{value}");
        }
        assert_eq!(with(&[home, ("HF_ENDPOINT", "http://x:1/")]).unwrap().endpoint, "http://x:1");
        let time = |value| with(&[home, ("HF_HUB_DOWNLOAD_TIMEOUT", value)]);
        assert_eq!(time("3").unwrap().timeout, Duration::from_secs(3));
        for bad in ["0", "-1", "soon", "1e9"] {
            assert!(time(bad).unwrap_err().to_string().contains("HF_HUB_DOWNLOAD_TIMEOUT"), "{bad}");
        }
    }
}
