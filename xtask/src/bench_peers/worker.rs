//! A process that holds one model and runs it when told; `xtask/python/peer_worker.py` says in which words.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};

/// The longest start: a compiler at work on a busy machine takes minutes.
const START_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The longest forward, ten times the slowest seen: bf16 on a processor that does not know it.
const FORWARD_LIMIT: Duration = Duration::from_secs(4 * 60);

/// A running worker. It ends when this is dropped.
pub(super) struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
    /// What it wrote to its standard error.
    log: PathBuf,
}

/// The first answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Opening {
    Ready(Ready),
    Unavailable(String),
}

/// What a worker says of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Ready {
    /// Seconds from the checkpoint to a model that is ready for its first forward.
    pub(super) load: f64,
    /// Multiplications and additions of a forward, which only ours counts.
    pub(super) operations: Option<f64>,
}

/// What a worker says of a forward.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Forward {
    pub(super) seconds: f64,
    /// Operations per second, in the answers of the meter of the peak.
    #[serde(default)]
    pub(super) peak: Option<f64>,
}

/// A worker, or why there is none.
pub(super) enum Started {
    Ready(Worker, Ready),
    Unavailable(String),
}

impl Worker {
    /// Starts a process, and waits until it is ready or says that it will never be.
    pub(super) fn start(command: &mut Command, log: PathBuf) -> Result<Started> {
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let requests = child.stdin.take().context("a piped child has a standard input")?;
        let output = child.stdout.take().context("a piped child has a standard output")?;
        let (sender, answers) = channel();
        // Ends with the output of the child, or when nobody listens any more.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut worker = Self { child, requests, answers, log };
        Ok(match worker.answer(START_LIMIT)? {
            Opening::Ready(ready) => Started::Ready(worker, ready),
            Opening::Unavailable(why) => Started::Unavailable(why),
        })
    }

    /// Runs one forward on the batch that begins with `clip`; its logits go to a file, if one is named.
    pub(super) fn forward(&mut self, clip: usize, logits: Option<&Path>) -> Result<Forward> {
        let file = logits.map_or_else(String::new, |path| format!(" {}", path.display()));
        // A worker that has ended cannot be written to; the wait for its answer then says how it ended.
        let written = writeln!(self.requests, "forward {clip}{file}").and_then(|()| self.requests.flush());
        let answer = self.answer(FORWARD_LIMIT)?;
        written.context("asking a worker")?;
        Ok(answer)
    }

    /// The most memory that the process has had at once, in bytes, where the system tells it.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }

    fn answer<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T> {
        let log = self.log.display();
        match self.answers.recv_timeout(limit) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("a worker answered `{line}`")),
            Err(RecvTimeoutError::Timeout) => {
                bail!("no answer within {} s; its messages are in {log}", limit.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().context("waiting for a worker")?;
                let text = fs::read_to_string(&self.log).with_context(|| format!("reading {log}"))?;
                let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message").trim();
                bail!("{status}: {last}")
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing left to do.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A worker whose process is a line of shell; its messages are in the file.
    fn start(script: &str) -> (Result<Started>, tempfile::NamedTempFile) {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        (Worker::start(Command::new("sh").args(["-c", script]), log.path().to_owned()), log)
    }

    #[test]
    fn a_worker_answers_line_by_line() {
        let script = r#"echo '{"ready":{"load":0.5}}'; while read -r word clip file; do
            echo "{\"seconds\":$clip}"; done"#;
        let (Ok(Started::Ready(mut worker, ready)), _log) = start(script) else {
            panic!("expected a worker")
        };
        assert_eq!((ready.load, ready.operations), (0.5, None));
        for clip in [3, 4] {
            let forward = worker.forward(clip, Some(Path::new("anywhere"))).unwrap();
            assert_eq!((forward.seconds, forward.peak), (clip as f64, None));
            // A shell takes more than a page and less than a gigabyte.
            assert!(
                !cfg!(target_os = "linux")
                    || worker.peak_memory().is_some_and(|b| (4096..1 << 30).contains(&b))
            );
        }
    }

    #[test]
    fn a_worker_that_cannot_run_here_says_why() {
        let script = r#"echo '{"unavailable":"no such instructions"}'"#;
        let (Ok(Started::Unavailable(why)), _log) = start(script) else { panic!("expected a reason") };
        assert_eq!(why, "no such instructions");
    }

    #[test]
    fn a_worker_that_dies_is_an_error_with_its_last_words() {
        let script = "echo first >&2; echo 'ImportError: no torch' >&2; echo >&2; exit 3";
        let (Err(error), _log) = start(script) else { panic!("expected an error") };
        let text = error.to_string();
        assert!(text.contains('3') && text.ends_with("ImportError: no torch"), "{text}");
    }

    #[test]
    fn an_answer_that_is_none_is_quoted() {
        let (Err(error), _log) = start("echo hello") else { panic!("expected an error") };
        assert!(error.to_string().contains("`hello`"), "{error}");
    }
}
