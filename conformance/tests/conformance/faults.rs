//! `faults/<fault>/<backend>`: passes when the suite of models fails.

use std::sync::Arc;

use conformance::{case::Case, report::verdict, suites::faults::Fault};
use libtest_mimic::{Failed, Trial};

use crate::Context;

pub(crate) fn trials(context: &Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (fault, case) in Fault::ALL {
        for backend in &context.backends {
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
