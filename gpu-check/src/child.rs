//! A process that answers in lines, and may crash or hang.

use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::clock::Deadline;

/// The longest that a killed process may take to end: the driver takes a hung GPU back first.
const KILL: Duration = Duration::from_secs(20);

/// A running process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
    /// What it wrote to its standard error.
    log: NamedTempFile,
}

/// The next line of a process.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Line(String),
    /// It has ended.
    End,
    /// Nothing came in time.
    Late,
}

impl Process {
    /// Starts a process.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let log = NamedTempFile::new().context("making a temporary file")?;
        let file = log.reopen().context("opening a temporary file")?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let requests = child.stdin.take();
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
        Ok(Self { child, requests, answers, log })
    }

    /// Sends a line. A process that has ended cannot be told anything; the wait for its answer then says how it ended.
    pub(crate) fn tell(&mut self, line: &str) {
        if let Some(requests) = &mut self.requests {
            let _told = writeln!(requests, "{line}").and_then(|()| requests.flush());
        }
    }

    /// The next line.
    pub(crate) fn answer(&mut self, deadline: Deadline) -> Answer {
        match self.answers.recv_timeout(deadline.left()) {
            Ok(line) => Answer::Line(line),
            Err(RecvTimeoutError::Timeout) => Answer::Late,
            Err(RecvTimeoutError::Disconnected) => Answer::End,
        }
    }

    /// Asks a question and reads the answer as JSON.
    ///
    /// # Errors
    /// Where the process ended or did not answer in time; what it said, where that is no answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, question: &str, deadline: Deadline) -> Result<T> {
        self.tell(question);
        self.opening(deadline)
    }

    /// As [`Process::ask`], of what a process says without being asked.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn opening<T: DeserializeOwned>(&mut self, deadline: Deadline) -> Result<T> {
        let limit = deadline.left();
        match self.answer(deadline) {
            Answer::Line(line) => {
                serde_json::from_str(&line).with_context(|| format!("expected an answer, found `{line}`"))
            }
            Answer::End => bail!("{}", self.end(deadline)?),
            Answer::Late => bail!("no answer within {:.0} s", limit.as_secs_f64()),
        }
    }

    /// How a process that has closed its output ended, with its last words.
    pub(crate) fn end(&mut self, deadline: Deadline) -> Result<Ended> {
        // A process that reads its input to the end waits for that.
        self.requests = None;
        let status = self.wait(deadline.left().max(Duration::from_secs(1)));
        let status = match status? {
            Some(status) => status,
            None => bail!("closed its output and did not end"),
        };
        Ok(Ended { status, last_words: last_words(&self.text()?) })
    }

    /// All that it wrote to its standard error.
    fn text(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        self.log.seek(SeekFrom::Start(0)).context("reading a temporary file")?;
        self.log.read_to_end(&mut bytes).context("reading a temporary file")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().context("waiting for a process")? {
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing left to do.
        let _killed = self.child.kill();
        if !matches!(self.wait(KILL), Ok(Some(_))) {
            eprintln!("process {} does not end; what follows may be disturbed by it", self.child.id());
        }
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    last_words: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        if self.last_words.is_empty() { Ok(()) } else { write!(f, ": {}", self.last_words) }
    }
}

/// The last lines of a message, as one.
fn last_words(text: &str) -> String {
    const LINES: usize = 3;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note: "));
    let lines: Vec<_> = lines.collect();
    lines[lines.len().saturating_sub(LINES)..].join("; ")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn start(script: &str) -> Process {
        Process::start(Command::new("sh").args(["-c", script])).expect("a shell")
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn questions_are_answered_line_by_line() {
        let mut process = start("while read -r number; do echo \"[$number]\"; done");
        for number in [3, 4] {
            let answer: Vec<i32> = process.ask(&number.to_string(), soon()).unwrap();
            assert_eq!(answer, [number]);
        }
        assert!(process.end(soon()).unwrap().status.success());
    }

    #[test]
    fn a_process_that_dies_is_an_error_with_its_last_words() {
        let error = start("echo first >&2; echo 'no luck' >&2; exit 3").ask::<i32>("", soon()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains('3') && text.ends_with("first; no luck"), "{text}");
        let error = start("kill -ABRT $$").ask::<i32>("", soon()).unwrap_err();
        assert!(error.to_string().contains("SIGABRT"), "{error}");
    }

    #[test]
    fn a_process_that_says_nothing_is_given_up_and_killed() {
        let start_time = Instant::now();
        let mut process = start("sleep 600");
        assert_eq!(process.answer(Deadline::after(Duration::from_millis(50))), Answer::Late);
        drop(process);
        assert!(start_time.elapsed() < KILL);
    }

    #[test]
    fn an_answer_that_is_none_is_quoted() {
        let error = start("echo hello").ask::<i32>("", soon()).unwrap_err();
        assert!(error.to_string().contains("`hello`"), "{error}");
    }
}
