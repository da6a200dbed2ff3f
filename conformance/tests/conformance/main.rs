//! The whole comparison as one program: a test per case and backend, then the table of all of them.

mod checkpoints;
mod constants;
mod faults;
mod models;
mod ops;
mod processors;
mod published;
mod upstream;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use conformance::report::{Report, Row, verdict};
use kernels::Backend;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let backends = backends();
    // The stand-in is there by now, if it is to be.
    let hopper = kernels::open("cuda:0:90a").ok();
    let context = Context { backends, hopper, report: Arc::default(), notes: Arc::default() };
    let trials = [
        checkpoints::trials(&context),
        constants::trials(),
        models::trials(&context),
        ops::trials(&context),
        processors::trials(&context),
        published::trials(&context),
        upstream::trials(&context),
        faults::trials(&context),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    if !arguments.list {
        println!("{}", context.report);
        context.notes.print();
    }
    conclusion.exit_code()
}

/// What the trials share.
struct Context {
    /// Every backend this machine can run, once.
    backends: Vec<Arc<dyn Backend>>,
    /// The first GPU with kernels for compute capability 9.0, if it has that. They differ in 16 bits only.
    hopper: Option<Arc<dyn Backend>>,
    report: Arc<Report>,
    notes: Arc<Notes>,
}

/// What trials have to say besides passing; printed below the table.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn add(&self, note: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    fn print(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|note| println!("{note}"));
    }
}

impl Context {
    /// A trial that adds its comparisons to the report, and fails for one out of bounds.
    fn trial(
        &self,
        name: impl Into<String>,
        rows: impl FnOnce() -> Result<Vec<Row>, String> + Send + 'static,
    ) -> Trial {
        let report = Arc::clone(&self.report);
        Trial::test(name, move || {
            let rows = rows().map_err(Failed::from)?;
            let verdict = verdict(&rows).map_err(Failed::from);
            report.extend(rows);
            verdict
        })
    }
}

/// Every backend of this machine. Where it has no GPU, a stand-in for the driver runs the kernels of `cuda:0`.
fn backends() -> Vec<Arc<dyn Backend>> {
    match kernels_cuda_stand_in::install() {
        Ok(driver) => eprintln!("cuda:0 runs on {driver:?}"),
        Err(reason) => eprintln!("cuda:0 is not compared: {reason}"),
    }
    let concrete = |name: &str| name == "reference" || name.contains(':');
    kernels::available()
        .into_iter()
        .filter(|info| concrete(&info.name) && info.runnable.is_ok())
        .map(|info| kernels::open(&info.name).expect("a backend that is available can be opened"))
        .collect()
}
