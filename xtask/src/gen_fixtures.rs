//! `cargo xtask gen-fixtures`: what transformers computes, written down for the tests.
//!
//! Python (`xtask/python/gen_fixtures.py`) computes; this side decides what is stale, moves finished sets into
//! `fixtures/`, keeps the manifest and, with `--check`, compares instead of moving. A run that is interrupted
//! keeps the sets it finished. Last comes a check that makes nothing, [`converted`].

mod compare;
mod converted;
mod kinds;
pub(crate) mod manifest;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::python::Environment;
use crate::workspace::Workspace;
use compare::Difference;
use kinds::{KINDS, Kind};
use manifest::{KindRecord, Manifest, SetRecord};

/// What to make.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare freshly made fixtures with the committed ones instead of replacing them
    #[arg(long, conflicts_with = "force")]
    check: bool,
    /// Make also what is up to date
    #[arg(long)]
    force: bool,
    /// Only these: a kind (`models`), one set (`models/mean-pooling`), or `converted`, the check that transformers
    /// loads what `videomae convert` writes; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// Makes or checks what `options` ask for.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let started = Instant::now();
    let fixtures = workspace.root.join("fixtures");
    let mut session = Session {
        workspace,
        manifest: Manifest::load(&fixtures)?,
        fixtures,
        scratch: workspace.scratch().join(format!("fixtures-{}", std::process::id())),
        environment: None,
        differences: Vec::new(),
        made: 0,
    };
    let outcome = session.run(options);
    if session.scratch.exists() {
        fs::remove_dir_all(&session.scratch)?;
    }
    outcome?;
    let verb = if options.check { "checked" } else { "made" };
    eprintln!("{verb} {} fixture sets in {:.0} s", session.made, started.elapsed().as_secs_f64());
    compare::report(&session.differences)
}

/// One run of the command.
struct Session<'a> {
    workspace: &'a Workspace,
    fixtures: PathBuf,
    manifest: Manifest,
    /// Where Python writes; removed at the end.
    scratch: PathBuf,
    /// Opened by the first set that needs it, so that a run with nothing to do needs no Python.
    environment: Option<Environment>,
    differences: Vec<Difference>,
    made: usize,
}

impl Session<'_> {
    fn run(&mut self, options: &Options) -> Result<()> {
        let mut unmatched = options.only.clone();
        for kind in KINDS {
            let of_kind = |name: &str| name == kind.name || name.starts_with(&format!("{}/", kind.name));
            let asked: Vec<_> = options.only.iter().filter(|name| of_kind(name)).collect();
            if !options.only.is_empty() && asked.is_empty() {
                continue;
            }
            let sources = kind.hash_sources(&self.workspace.root)?;
            let names = self.names(kind, &sources, options.check)?;
            let ids: Vec<_> = names.iter().map(|name| kind.id(name)).collect();
            unmatched.retain(|name| *name != kind.name && !ids.contains(name));
            let wanted =
                |id: &String| asked.is_empty() || asked.iter().any(|name| *name == kind.name || *name == id);
            let mut stale = Vec::new();
            for (name, id) in names.iter().zip(&ids) {
                if wanted(id)
                    && (options.check
                        || options.force
                        || !self.manifest.is_fresh(&self.fixtures, id, &sources)?)
                {
                    stale.push(name.clone());
                }
            }
            if !stale.is_empty() {
                self.make(kind, &sources, &stale, options.check)?;
            }
        }
        if options.only.is_empty() || options.only.iter().any(|name| name == converted::NAME) {
            unmatched.retain(|name| name != converted::NAME);
            let sets: Vec<_> = self.manifest.sets.keys().cloned().collect();
            let folder = self.scratch.join(converted::NAME);
            converted::check(self.workspace, self.environment()?, &folder, &sets)?;
        }
        ensure!(unmatched.is_empty(), "--only: no fixtures named {}", unmatched.join(", "));
        Ok(())
    }

    /// The sets of a kind: from the manifest if the scripts are those that wrote it, else from the scripts.
    fn names(&mut self, kind: &Kind, sources: &str, check: bool) -> Result<Vec<String>> {
        if let Some(record) = self.manifest.kinds.get(kind.key)
            && record.sources == sources
        {
            return Ok(record.names.clone());
        }
        let mut command = self.script(kind)?;
        let output = command.arg("--list").stderr(Stdio::inherit()).output().context("starting Python")?;
        ensure!(output.status.success(), "listing the fixtures of kind {}: {}", kind.key, output.status);
        let names: Vec<String> = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("reading the list of fixtures of kind {}", kind.key))?;
        if !check {
            let record = KindRecord { sources: sources.to_owned(), names: names.clone() };
            let previous = self.manifest.kinds.insert(kind.key.to_owned(), record);
            // Sets that the scripts no longer know.
            for name in previous.map(|record| record.names).unwrap_or_default() {
                if !names.contains(&name) {
                    self.manifest.remove(&self.fixtures, &kind.id(&name))?;
                }
            }
            self.manifest.versions = kinds::versions(&self.workspace.root)?;
            self.manifest.save(&self.fixtures)?;
        }
        Ok(names)
    }

    /// Runs Python on some sets of a kind, and takes each as it is done.
    fn make(&mut self, kind: &Kind, sources: &str, names: &[String], check: bool) -> Result<()> {
        let out = self.scratch.join(kind.key);
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        let mut command = self.script(kind)?;
        command.arg("--out").arg(&out).args(names).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting Python")?;
        let lines = BufReader::new(child.stdout.take().context("the output of Python is piped")?).lines();
        let mut done = 0;
        let mut taken = Ok(());
        for line in lines {
            let line = line.context("reading what Python prints")?;
            let Some(name) = line.strip_prefix("done ") else {
                eprintln!("{line}");
                continue;
            };
            done += 1;
            eprintln!("[{done}/{}] {}", names.len(), kind.id(name));
            taken = self.take(&out.join(name), &kind.id(name), sources, check);
            if taken.is_err() {
                child.kill().context("stopping Python")?;
                break;
            }
        }
        let status = child.wait().context("waiting for Python")?;
        taken?;
        ensure!(status.success(), "making fixtures of kind {}: {status}", kind.key);
        if done != names.len() {
            bail!("fixtures of kind {}: expected {} sets, found {done}", kind.key, names.len());
        }
        self.made += done;
        Ok(())
    }

    /// Compares a finished set with the committed one, or puts it in its place.
    fn take(&mut self, made: &Path, id: &str, sources: &str, check: bool) -> Result<()> {
        let files = manifest::files_below(made)?;
        ensure!(!files.is_empty(), "{id}: expected files in {}, found none", made.display());
        if check {
            let none = BTreeMap::new();
            let recorded = self.manifest.sets.get(id).map_or(&none, |set| &set.files);
            self.differences.extend(compare::sets(&self.fixtures, recorded, made, &files)?);
        } else {
            self.manifest.remove(&self.fixtures, id)?;
            let mut record = SetRecord { sources: sources.to_owned(), ..SetRecord::default() };
            for path in files {
                let hash = manifest::hash_file(&made.join(&path))?;
                manifest::move_file(&made.join(&path), &self.fixtures.join(&path))?;
                record.files.insert(path, hash);
            }
            self.manifest.sets.insert(id.to_owned(), record);
            self.manifest.save(&self.fixtures)?;
        }
        fs::remove_dir_all(made).with_context(|| format!("removing {}", made.display()))
    }

    /// The script with the arguments that every call shares.
    fn script(&mut self, kind: &Kind) -> Result<Command> {
        let environment = self.environment()?;
        let script = "gen_fixtures.py";
        let mut command = match kind.transformers_4 {
            true => environment.script_with_transformers_4(script)?,
            false => environment.script(script),
        };
        command.args(["--kind", kind.name]);
        Ok(command)
    }

    fn environment(&mut self) -> Result<&Environment> {
        if self.environment.is_none() {
            self.environment = Some(Environment::open(self.workspace)?);
        }
        self.environment.as_ref().context("the environment was just opened")
    }
}
