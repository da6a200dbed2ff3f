//! Somebody who can be told to prepare a task and to run it.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

use super::{
    task::{Subject, Task},
    worker::{Reply, Request},
};
use crate::{arguments::Options, child::Process, clock::Deadline, machine::Machine};

/// Everybody there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Cuda,
    Hopper,
    PyTorch,
    Compiled,
    Cublaslt,
}

/// Importing PyTorch takes seconds, of a cold disk tens of them.
const START: Duration = Duration::from_secs(120);

/// torch.compile tries many kernels for every layer, which takes a minute or two.
const COMPILE: Duration = Duration::from_secs(360);

/// The script, which needs nothing beside it.
const SCRIPT: &str = include_str!("../../python/torch_worker.py");

impl Who {
    pub(crate) const ALL: [Self; 5] =
        [Self::Cuda, Self::Hopper, Self::PyTorch, Self::Compiled, Self::Cublaslt];

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Hopper => "cuda 90a",
            Self::PyTorch => "PyTorch",
            Self::Compiled => "compiled",
            Self::Cublaslt => "cuBLASLt",
        }
    }

    /// Whether it is this project.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Cuda | Self::Hopper)
    }

    /// Whether it can do such a thing at all. torch.compile would only call the same libraries for a single op.
    pub(crate) fn takes_part(self, subject: &Subject) -> bool {
        match self {
            Self::Cuda | Self::Hopper | Self::PyTorch => true,
            Self::Compiled => matches!(subject, Subject::Forward { .. }),
            Self::Cublaslt => matches!(subject, Subject::Op(Task::Linear { .. })),
        }
    }
}

/// One of them, running or not.
pub(crate) struct Contestant {
    pub(crate) who: Who,
    /// What it said of itself, or why it is not there.
    state: std::result::Result<String, String>,
    process: Option<Process>,
    /// The script that its process reads.
    script: Option<NamedTempFile>,
}

impl Contestant {
    /// Starts a process, unless it is known that it could do nothing.
    pub(crate) fn start(who: Who, options: &Options, machine: &Machine, deadline: Deadline) -> Self {
        let mut contestant = Self { who, state: Err(String::new()), process: None, script: None };
        let ability = match who {
            Who::Hopper => machine.runs_hopper(),
            Who::PyTorch | Who::Compiled if options.python.as_os_str() == "none" => {
                Err("left out by --python none".to_owned())
            }
            _ => Ok(()),
        };
        contestant.state = match ability {
            Ok(()) => contestant.open(options, deadline).map_err(|error| format!("{error:#}")),
            Err(reason) => Err(reason),
        };
        contestant
    }

    /// What it is, or why it is not there.
    pub(crate) fn opening(&self) -> std::result::Result<&str, &str> {
        self.state.as_deref().map_err(String::as_str)
    }

    /// Starts again a process that was given up, so that one bench cannot take the next with it.
    pub(crate) fn revive(&mut self, options: &Options, deadline: Deadline) -> Result<()> {
        if self.state.is_ok() && self.process.is_none() {
            self.open(options, deadline)?;
        }
        Ok(())
    }

    fn open(&mut self, options: &Options, deadline: Deadline) -> Result<String> {
        let mut command = self.command(options)?;
        let mut process = Process::start(&mut command)?;
        let opening = process.opening(deadline.within(START))?;
        match opening {
            Reply::Ready(text) => {
                self.process = Some(process);
                Ok(text)
            }
            Reply::Unavailable(reason) => bail!("{reason}"),
            other => bail!("expected an opening, found {other:?}"),
        }
    }

    fn command(&mut self, options: &Options) -> Result<Command> {
        let ours = match self.who {
            Who::Cuda => "cuda",
            Who::Hopper => "hopper",
            Who::Cublaslt => "cublaslt",
            Who::PyTorch | Who::Compiled => {
                let mut script = NamedTempFile::with_suffix(".py").context("writing a script")?;
                std::io::Write::write_all(&mut script, SCRIPT.as_bytes()).context("writing a script")?;
                let mode = if self.who == Who::Compiled { "compiled" } else { "eager" };
                let mut command = Command::new(&options.python);
                command.arg(script.path()).args([mode, &format!("cuda:{}", options.device)]);
                self.script = Some(script);
                return Ok(command);
            }
        };
        let mut command = options.child("worker")?;
        command.arg(ours);
        Ok(command)
    }

    /// Prepares a task; `Ok(Err)` is the reason why it cannot.
    pub(crate) fn prepare(
        &mut self,
        task: &Task,
        options: &Options,
        deadline: Deadline,
    ) -> Result<std::result::Result<(), String>> {
        let limit = if self.who == Who::Compiled { COMPILE } else { options.timeout };
        match self.ask(&Request::Prepare(task.clone()), deadline.within(limit))? {
            Reply::Ready(_) => Ok(Ok(())),
            Reply::Unavailable(reason) => Ok(Err(reason)),
            other => bail!("expected a task to be ready, found {other:?}"),
        }
    }

    /// Seconds of so many repetitions.
    pub(crate) fn run(&mut self, times: u32, options: &Options, deadline: Deadline) -> Result<f64> {
        match self.ask(&Request::Run(times), deadline.within(options.timeout))? {
            Reply::Seconds(seconds) => Ok(seconds),
            other => bail!("expected seconds, found {other:?}"),
        }
    }

    /// The logits of the last forward.
    pub(crate) fn logits(&mut self, options: &Options, deadline: Deadline) -> Result<Vec<f32>> {
        match self.ask(&Request::Logits, deadline.within(options.timeout))? {
            Reply::Logits(logits) => Ok(logits),
            other => bail!("expected logits, found {other:?}"),
        }
    }

    /// A process that failed to answer is given up.
    fn ask(&mut self, request: &Request, deadline: Deadline) -> Result<Reply> {
        let question = serde_json::to_string(request)?;
        let process = self.process.as_mut().context("not running")?;
        let reply = process.ask(&question, deadline);
        if reply.is_err() {
            self.process = None;
        }
        reply
    }
}
