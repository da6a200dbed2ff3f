//! `models/<case>/<backend>`: every tensor and loss; `gradients/…` where the backend trains.

use std::sync::Arc;

use conformance::{
    case::Case,
    fixtures,
    report::Row,
    suites::{gradients, models},
};
use kernels::DType;
use libtest_mimic::{Failed, Trial};

use crate::Context;

pub(crate) fn trials(context: &Context) -> Vec<Trial> {
    let mut trials = vec![Trial::test("every_fixture_is_compared", every_fixture_is_compared)];
    for name in fixtures::cases("models") {
        let case = Arc::new(Case::read("models", &name));
        let hopper = context.hopper.iter().filter(|_| case.dtype != DType::F32);
        for backend in context.backends.iter().chain(hopper) {
            if case.dtype == DType::F16 && backend.name().starts_with("cpu") {
                continue; // It has no f16; the reference says what it should give.
            }
            let title = format!("{name}/{}", backend.name());
            let (of, on) = (Arc::clone(&case), Arc::clone(backend));
            trials.push(context.trial(format!("models/{title}"), move || models::rows(&of, &on)));
            if case.has_gradients && Arc::clone(backend).backward_stream().is_ok() {
                let (of, on) = (Arc::clone(&case), Arc::clone(backend));
                trials.push(context.trial(format!("gradients/{title}"), move || gradients::rows(&of, &on)));
            }
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
            let is_it = |row: &Row| case.stored_name(&row.name) == tensor;
            let compared = rows.iter().any(is_it);
            let excepted = models::NOT_IN_MEMORY.iter().any(|name| tensor.ends_with(name));
            if !compared && !excepted {
                return Err(format!("{name}: {tensor} is compared with nothing").into());
            }
        }
    }
    Ok(())
}
