//! A hub on a loopback address, and the ways in which it can misbehave.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

/// What the one model of this hub is called.
pub(crate) const MODEL: &str = "owner/tiny-videomae";

/// Its commit.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the weights (every file named in `large`) are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    Whole,
    /// As many bytes of what is asked for, then the connection is cut. Ranges are understood.
    CutAfter(usize),
    /// Ranges are not understood, and the first connection is cut.
    NoRanges,
    /// Cut, and what goes on is another part of the file.
    WrongRange,
    /// A few bytes with a pause before each.
    Slow,
    /// A few bytes, then nothing, but the connection stays.
    Silent,
    /// Other bytes than the hash says.
    Corrupt,
    /// More bytes than announced.
    TooMany,
    /// "503" three times, then the file.
    Busy,
}

/// A server that lives as long as the process.
pub(crate) struct Server {
    pub(crate) address: String,
    state: Arc<State>,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    manner: Mutex<Manner>,
    /// "METHOD path Authorization", in the order they came.
    requests: Mutex<Vec<String>>,
    /// Where contents lie; elsewhere if set, as on the real hub.
    store: Mutex<Option<String>>,
    status: Mutex<Option<u16>>,
    token: Mutex<Option<String>>,
    busy: AtomicU32,
}

impl Server {
    pub(crate) fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            files: files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect(),
            manner: Mutex::new(Manner::Whole),
            requests: Mutex::default(),
            store: Mutex::default(),
            status: Mutex::default(),
            token: Mutex::default(),
            busy: AtomicU32::new(0),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that hangs up is part of the tests.
                thread::spawn(move || _ = state.serve(stream));
            }
        });
        Self { address, state }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// Every request is answered with this.
    pub(crate) fn refuse(&self, status: u16) {
        *self.state.status.lock().unwrap() = Some(status);
    }

    /// Only this token is let in.
    pub(crate) fn require(&self, token: &str) {
        *self.state.token.lock().unwrap() = Some(token.to_owned());
    }

    /// Contents are redirected to another server: by name it is another host, although it is the same machine.
    pub(crate) fn store_in(&self, other: &Self) {
        *self.state.store.lock().unwrap() = Some(other.address.replace("127.0.0.1", "localhost"));
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// How many requests began with this.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.requests().iter().filter(|request| request.starts_with(prefix)).count()
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn empty(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

impl State {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let authorization = headers.get("authorization").cloned().unwrap_or_default();
        self.requests.lock().unwrap().push(format!("{method} {path} {authorization}"));
        let token = self.token.lock().unwrap().clone();
        let refused = token.filter(|token| authorization != format!("Bearer {token}")).map(|_| 401);
        if let Some(status) = refused.or(*self.status.lock().unwrap()) {
            return write!(stream, "{}", empty(&format!("{status} No")));
        }
        let listed = ["models", "datasets"]
            .iter()
            .find_map(|kind| path.strip_prefix(&format!("/api/{kind}/{MODEL}/revision/")));
        if let Some(revision) = listed {
            return match revision {
                "main" | "refs%2Fpr%2F1" | COMMIT => self.list(&mut stream),
                _ => write!(stream, "{}", empty("404 Not Found")),
            };
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some(bytes) = self.files.get(name) else {
            return write!(stream, "{}", empty("404 Not Found"));
        };
        let is_large = name.contains("safetensors");
        let etag = if is_large { sha256(bytes) } else { format!("{:040x}", bytes.len()) };
        let described = format!(
            "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\n",
            bytes.len()
        );
        let store = self.store.lock().unwrap().clone().filter(|_| is_large);
        if let Some(store) = store {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {store}/{name}\r\n{described}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        if method == "HEAD" {
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\n{described}Content-Length: {}\r\nConnection: close\r\n\r\n",
                bytes.len()
            );
        }
        let start = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let start = start.and_then(|start| start.parse().ok()).unwrap_or(0);
        let manner = *self.manner.lock().unwrap();
        self.send(&mut stream, bytes, start, if is_large { manner } else { Manner::Whole })
    }

    fn list(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let siblings: Vec<_> =
            self.files.keys().map(|name| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        let body =
            format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}], \"private\": false}}", siblings.join(","));
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        bytes: &[u8],
        start: usize,
        manner: Manner,
    ) -> std::io::Result<()> {
        let (mut from, mut said) = (start, start);
        match manner {
            Manner::NoRanges if start > 0 => (from, said) = (0, 0),
            Manner::WrongRange if start > 0 => (from, said) = (start / 2, start / 2),
            Manner::Busy if self.busy.fetch_add(1, Ordering::Relaxed) < 3 => {
                return write!(stream, "{}", empty("503 Busy"));
            }
            _ => {}
        }
        let rest = &bytes[from..];
        let status = match said {
            0 => "200 OK".to_owned(),
            _ => format!(
                "206 Partial Content\r\nContent-Range: bytes {said}-{}/{}",
                bytes.len() - 1,
                bytes.len()
            ),
        };
        let announced = if manner == Manner::TooMany { rest.len() + 9 } else { rest.len() };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n")?;
        match manner {
            Manner::CutAfter(count) => stream.write_all(&rest[..count.min(rest.len())]),
            Manner::NoRanges | Manner::WrongRange if start == 0 => stream.write_all(&rest[..rest.len() / 2]),
            Manner::Slow => rest.chunks(rest.len().div_ceil(8)).try_for_each(|chunk| {
                thread::sleep(Duration::from_millis(60));
                stream.write_all(chunk)
            }),
            Manner::Silent => {
                stream.write_all(&rest[..rest.len().min(10)])?;
                thread::sleep(Duration::from_secs(60));
                Ok(())
            }
            Manner::Corrupt => {
                let flipped: Vec<u8> = rest.iter().map(|byte| byte ^ 1).collect();
                stream.write_all(&flipped)
            }
            Manner::TooMany => stream.write_all(rest).and_then(|()| stream.write_all(b"surprise!")),
            _ => stream.write_all(rest),
        }
    }
}
