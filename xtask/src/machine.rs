//! What a figure has to stand beside: processor, compiler, commit, day.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Where and with what something was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Machine {
    /// Name of the processor, as the system has it.
    pub(crate) processor: String,
    /// Physical cores.
    pub(crate) cores: usize,
    /// Those instruction sets that matter here.
    pub(crate) instructions: Vec<String>,
    /// `rustc --version`
    pub(crate) rustc: String,
    /// Of the workspace; with `+` if something was changed after it.
    pub(crate) commit: String,
    /// Year, month and day, UTC.
    pub(crate) date: String,
}

/// Flags of /proc/cpuinfo that decide which kernels run.
const INSTRUCTIONS: [&str; 9] =
    ["avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd"];

impl Machine {
    /// This one, now. What the system does not tell is "unknown".
    pub(crate) fn here(root: &Path) -> Result<Self> {
        // Absent where there is no Linux.
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            processor: field(&cpuinfo, "model name").next().unwrap_or("unknown processor").to_owned(),
            cores: physical_cores()?,
            instructions: instructions(&cpuinfo),
            rustc: output(Command::new("rustc").arg("--version"))?,
            commit: commit(root)?,
            date: date(SystemTime::now())?,
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { processor, cores, instructions, rustc, commit, .. } = self;
        let cores = if *cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
        write!(f, "{processor}, {cores} ({}); {rustc}; commit {commit}", instructions.join(", "))
    }
}

/// Cores of this machine, not counting twice those that run two threads.
pub(crate) fn physical_cores() -> Result<usize> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    match count_cores(&cpuinfo) {
        0 => Ok(std::thread::available_parallelism().context("counting cores")?.get()),
        cores => Ok(cores),
    }
}

/// Distinct pairs of socket and core; zero if the text does not tell them.
fn count_cores(cpuinfo: &str) -> usize {
    field(cpuinfo, "physical id").zip(field(cpuinfo, "core id")).collect::<BTreeSet<_>>().len()
}

fn instructions(cpuinfo: &str) -> Vec<String> {
    let flags = field(cpuinfo, "flags").chain(field(cpuinfo, "Features")).next().unwrap_or_default();
    let flags: BTreeSet<_> = flags.split_whitespace().collect();
    INSTRUCTIONS.iter().filter(|&flag| flags.contains(flag)).map(|&flag| flag.to_owned()).collect()
}

/// The values of the lines `name : value`.
fn field<'a>(cpuinfo: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    cpuinfo.lines().filter_map(move |line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn commit(root: &Path) -> Result<String> {
    let git = |arguments: &[&str]| output(Command::new("git").current_dir(root).args(arguments));
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(if changed { format!("{commit}+") } else { commit })
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The day of a time in the Gregorian calendar, UTC.
fn date(time: SystemTime) -> Result<String> {
    let days = time.duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_secs() / 86_400;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut day) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    Ok(format!("{year}-{month:02}-{:02}", day + 1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |days: u64| date(UNIX_EPOCH + Duration::from_secs(days * 86_400 + 86_399)).unwrap();
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(11_016), "2000-02-29");
        assert_eq!(day(11_017), "2000-03-01");
        assert_eq!(day(20_453), "2025-12-31");
        assert_eq!(day(20_454), "2026-01-01");
    }

    #[test]
    fn two_threads_of_a_core_are_one_core() {
        let threads = [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 0)];
        let cpuinfo: String = threads
            .iter()
            .map(|(socket, core)| format!("physical id\t: {socket}\ncpu cores\t: 2\ncore id\t\t: {core}\n\n"))
            .collect();
        assert_eq!(count_cores(&cpuinfo), 3);
        assert_eq!(count_cores("processor : 0\n"), 0);
    }

    #[test]
    fn only_known_instructions_are_named_and_names_are_whole() {
        assert_eq!(instructions("flags\t\t: fpu avx2 avx512fp16 fma\n"), ["avx2", "fma"]);
        assert!(instructions("").is_empty());
    }
}
