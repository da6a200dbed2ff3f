//! `gpu-check one NAME…`: the process of a check. To look at a kernel by hand, run it under a debugger.

use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    arguments::{Options, Plant},
    check::{Entry, trial::Outcome},
};

/// What a check found, as a line of JSON.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Finding {
    pub(crate) name: String,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Finding {
    /// Whether every case passed. A check without cases is none.
    pub(crate) fn passed(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(|outcome| outcome.passed)
    }
}

/// Runs checks one after another in this process; whether all passed.
pub(crate) fn run(options: &Options, names: &[String]) -> Result<bool> {
    let mut passed = true;
    for entry in Entry::all().iter().filter(|entry| names.contains(&entry.name())) {
        let backend = kernels::open(&entry.kernels().backend(options.device))?;
        match options.plant {
            Some(Plant::Hang) => std::thread::sleep(Duration::from_secs(3600)),
            Some(Plant::Crash) => std::process::abort(),
            Some(Plant::Wrong) | None => {}
        }
        let outcomes = entry.run(&backend, options.size, options.seed, options.plant == Some(Plant::Wrong));
        let finding = Finding { name: entry.name(), outcomes };
        println!("{}", serde_json::to_string(&finding)?);
        passed &= finding.passed();
    }
    Ok(passed)
}
