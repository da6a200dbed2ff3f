//! What is asked of the hub, and how its answers are read.

use std::io::Read;

use serde::Deserialize;
use ureq::{
    Agent, Body,
    config::RedirectAuthHeaders,
    http::{HeaderMap, Response, Uri},
};

use super::{HubOptions, Kind};
use crate::Error;

/// The list of a repository's files; the largest repositories have some thousand.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// A renamed repository sends us on once.
const MAX_MOVES: usize = 5;

/// Speaks HTTP with one hub.
pub(super) struct Client {
    /// Stops at a redirect, because the headers beside it describe the file.
    asking: Agent,
    /// Goes where a redirect leads, without the token if that is another host.
    fetching: Agent,
    endpoint: String,
    token: Option<String>,
}

/// A revision of a repository.
pub(super) struct Revision {
    /// 40 hexadecimal digits.
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

/// What the hub says of a file before it sends it.
pub(super) struct Metadata {
    pub(super) bytes: u64,
    /// The name of the file's contents: a hash, of letters and digits only.
    pub(super) etag: String,
}

impl Metadata {
    /// The SHA-256 of the contents, where the name is one. Small files go by the hash that git gives them.
    pub(super) fn sha256(&self) -> Option<&str> {
        (self.etag.len() == 64 && self.etag.bytes().all(|c| c.is_ascii_hexdigit())).then_some(&*self.etag)
    }
}

/// An answer that is of no use.
pub(super) struct Failure {
    address: String,
    pub(super) problem: String,
    /// Whether the next try may do better.
    pub(super) is_transient: bool,
}

impl Failure {
    /// One that the next try may not meet.
    pub(super) fn transient(address: &str, problem: String) -> Self {
        Self { address: address.to_owned(), problem, is_transient: true }
    }

    pub(super) fn into_error(self) -> Error {
        Error::Hub { address: self.address, problem: self.problem }
    }
}

type Answer<T> = Result<T, Failure>;

impl Client {
    pub(super) fn new(options: &HubOptions) -> Self {
        let agent = |redirects: u32| {
            let config = Agent::config_builder()
                .user_agent(concat!("videomae/", env!("CARGO_PKG_VERSION")))
                .http_status_as_error(false)
                .max_redirects(redirects)
                .max_redirects_will_error(redirects > 0)
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .timeout_connect(Some(options.timeout))
                .timeout_recv_response(Some(options.timeout))
                // Between two pieces of a body, not for all of it: weights take as long as they take.
                .timeout_per_read(Some(options.timeout));
            Agent::from(config.build())
        };
        let (endpoint, token) = (options.endpoint.clone(), options.token.clone());
        Self { asking: agent(0), fetching: agent(10), endpoint, token }
    }

    /// The commit and the files of a branch, a tag or a commit.
    pub(super) fn revision(&self, kind: Kind, name: &str, revision: &str) -> Answer<Revision> {
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            siblings: Vec<Sibling>,
        }

        let kind = match kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        let url = format!("{}/api/{kind}/{name}/revision/{}", self.endpoint, revision.replace('/', "%2F"));
        let response = self.call(&self.fetching, "GET", &url, None)?;
        let body = response.into_body().into_with_config().limit(MAX_LISTING_BYTES).read_to_vec();
        let bytes = body.map_err(|error| transport(&url, &error))?;
        let info: Info =
            serde_json::from_slice(&bytes).map_err(|error| strange(&url, "JSON of a repository", &error))?;
        if info.sha.len() != 40 || !info.sha.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(strange(&url, "a commit of 40 hexadecimal digits", &format!("{:?}", info.sha)));
        }
        let files = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Revision { commit: info.sha, files })
    }

    /// Where a file is. Its name must be a plain one.
    pub(super) fn file_url(&self, kind: Kind, name: &str, commit: &str, file: &str) -> String {
        let kind = match kind {
            Kind::Model => "",
            Kind::Dataset => "datasets/",
        };
        format!("{}/{kind}{name}/resolve/{commit}/{file}", self.endpoint)
    }

    /// The size and the name of a file's contents.
    pub(super) fn metadata(&self, url: &str) -> Answer<Metadata> {
        let mut at = url.to_owned();
        for _ in 0..MAX_MOVES {
            let response = self.call(&self.asking, "HEAD", &at, None)?;
            let location = header(response.headers(), "location").filter(|to| to.starts_with('/'));
            match location {
                // Renamed: the same hub under another path. A redirect to a store elsewhere comes with the headers.
                Some(path) if response.status().is_redirection() => at = on_same_host(&at, path)?,
                _ => return Metadata::read(url, response.headers()),
            }
        }
        Err(strange(url, "a file", &format!("more than {MAX_MOVES} redirects")))
    }

    /// The contents of a file from byte `start` on, or from its beginning if the hub prefers: the second number
    /// says where.
    pub(super) fn contents(&self, url: &str, start: u64, bytes: u64) -> Answer<(impl Read + use<>, u64)> {
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let response = self.call(&self.fetching, "GET", url, range.as_deref())?;
        let from = match response.status().as_u16() {
            206 => {
                let range = header(response.headers(), "content-range").unwrap_or_default();
                let expected = format!("bytes {start}-{}/{bytes}", bytes - 1);
                if range != expected {
                    return Err(strange(url, &format!("Content-Range {expected:?}"), &format!("{range:?}")));
                }
                start
            }
            _ => 0,
        };
        // A byte more than there should be is enough to notice that there are too many.
        Ok((response.into_body().into_reader().take(bytes - from + 1), from))
    }

    fn call(&self, agent: &Agent, method: &str, url: &str, range: Option<&str>) -> Answer<Response<Body>> {
        let mut request = if method == "HEAD" { agent.head(url) } else { agent.get(url) };
        // Compressed on the way, sizes and ranges would mean something else.
        request = request.header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        let response = request.call().map_err(|error| transport(url, &error))?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        let advice = match status.as_u16() {
            401 => "check the name; a private or gated model needs a token in HF_TOKEN",
            403 => "accept the conditions on the model's page, and set HF_TOKEN to a token of that account",
            404 => "check the name and the revision",
            429 => "the hub asks for a pause; a token in HF_TOKEN raises the limit",
            500.. => "the hub has trouble; try again later",
            _ => "check HF_ENDPOINT",
        };
        Err(Failure {
            address: url.to_owned(),
            problem: format!("expected status 200, found {status}; {advice}"),
            is_transient: matches!(status.as_u16(), 408 | 429 | 500..),
        })
    }
}

impl Metadata {
    fn read(url: &str, headers: &HeaderMap) -> Answer<Self> {
        let first = |names: [&str; 2]| names.into_iter().find_map(|name| header(headers, name));
        let etag = first(["x-linked-etag", "etag"]).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        // It becomes the name of a file.
        if etag.is_empty()
            || etag.len() > 128
            || !etag.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        {
            return Err(strange(url, "an ETag of letters and digits", &format!("{etag:?}")));
        }
        let size = first(["x-linked-size", "content-length"]).unwrap_or_default();
        let bytes = size.parse().map_err(|_| strange(url, "the size of a file", &format!("{size:?}")))?;
        Ok(Self { bytes, etag: etag.to_owned() })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn on_same_host(url: &str, path: &str) -> Answer<String> {
    let uri: Uri = url.parse().map_err(|error| strange(url, "an address", &error))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => Ok(format!("{scheme}://{authority}{path}")),
        _ => Err(strange(url, "an address with a host", &url)),
    }
}

/// No answer, or half of one.
fn transport(url: &str, error: &ureq::Error) -> Failure {
    let advice = match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "; check HF_ENDPOINT",
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            "; check the network, or set HF_HUB_OFFLINE=1 to use what is in the cache"
        }
        _ => "",
    };
    let is_transient = !matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_));
    Failure { address: url.to_owned(), problem: format!("{error}{advice}"), is_transient }
}

fn strange(url: &str, expected: &str, found: &dyn std::fmt::Display) -> Failure {
    Failure {
        address: url.to_owned(),
        problem: format!("expected {expected}, found {found}; is this a Hugging Face hub?"),
        is_transient: false,
    }
}
