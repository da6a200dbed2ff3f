//! The whole comparison as one program: a test per case and backend, then the table of all of them.

use std::{process::ExitCode, sync::Arc};

use conformance::{
    case::Case,
    fixtures,
    report::{Report, Row, verdict},
    suites::{faults::Fault, gradients, models},
};
use kernels::{Backend, DType};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let report = Arc::new(Report::default());
    let backends = backends();
    let trials = [
        model_trials(&backends, &report),
        fault_trials(&backends),
        vec![Trial::test("every_fixture_is_compared", every_fixture_is_compared)],
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    if !arguments.list {
        println!("{report}");
    }
    conclusion.exit_code()
}

/// Every backend this machine can run, once.
fn backends() -> Vec<Arc<dyn Backend>> {
    let concrete = |name: &str| name == "reference" || name.contains(':');
    kernels::available()
        .into_iter()
        .filter(|info| concrete(&info.name) && info.runnable.is_ok())
        .map(|info| kernels::open(&info.name).expect("a backend that is available can be opened"))
        .collect()
}

fn trial(
    name: String,
    report: &Arc<Report>,
    rows: impl FnOnce() -> Result<Vec<Row>, String> + Send + 'static,
) -> Trial {
    let report = Arc::clone(report);
    Trial::test(name, move || {
        let rows = rows().map_err(Failed::from)?;
        let verdict = verdict(&rows).map_err(Failed::from);
        report.extend(rows);
        verdict
    })
}

/// `models/<case>/<backend>`, and `gradients/…` where the backend trains.
fn model_trials(backends: &[Arc<dyn Backend>], report: &Arc<Report>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for name in fixtures::cases("models") {
        let case = Arc::new(Case::read("models", &name));
        for backend in backends {
            if case.dtype != DType::F32 && backend.name() != "reference" {
                continue; // The SIMD kernels are f32; the reference says what half precision should give.
            }
            let title = format!("{name}/{}", backend.name());
            let (for_model, on) = (Arc::clone(&case), Arc::clone(backend));
            trials.push(trial(format!("models/{title}"), report, move || models::rows(&for_model, &on)));
            if case.has_gradients && Arc::clone(backend).backward_stream().is_ok() {
                let (case, on) = (Arc::clone(&case), Arc::clone(backend));
                trials.push(trial(format!("gradients/{title}"), report, move || gradients::rows(&case, &on)));
            }
        }
    }
    trials
}

/// `faults/<fault>/<backend>`: passes when the suite fails.
fn fault_trials(backends: &[Arc<dyn Backend>]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (fault, case) in Fault::ALL {
        for backend in backends {
            let backend = Arc::clone(backend);
            trials.push(Trial::test(format!("faults/{fault:?}/{}", backend.name()), move || {
                let rows = fault.rows(&Case::read("models", case), &backend).map_err(Failed::from)?;
                match verdict(&rows) {
                    Err(_) => Ok(()),
                    Ok(()) => {
                        Err(format!("{fault:?} went unnoticed in {} comparisons of {case}", rows.len())
                            .into())
                    }
                }
            }));
        }
    }
    trials
}

/// Nothing lies in `fixtures/models/` that no suite looks at.
fn every_fixture_is_compared() -> Result<(), Failed> {
    let backend = kernels::open("reference").map_err(|e| e.to_string())?;
    for name in fixtures::cases("models") {
        let case = Case::read("models", &name);
        let rows = models::rows(&case, &backend)?;
        for tensor in case.expected_names() {
            let compared = rows.iter().any(|row| row.case.ends_with(&format!(": {tensor}")));
            let excepted = models::NOT_IN_MEMORY.iter().any(|name| tensor.ends_with(name));
            if !compared && !excepted {
                return Err(format!("{name}: {tensor} is compared with nothing").into());
            }
        }
    }
    Ok(())
}
