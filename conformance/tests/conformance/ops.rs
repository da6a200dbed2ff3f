//! `ops/<operation>/<backend>`: single operations on awkward values.

use std::sync::Arc;

use conformance::{fixtures, suites::ops};
use libtest_mimic::{Failed, Trial};

use crate::Context;

pub(crate) fn trials(context: &Context) -> Vec<Trial> {
    let mut trials = vec![Trial::test("every_operation_is_run", every_operation_is_run)];
    for operation in ops::ON_BACKENDS {
        for backend in &context.backends {
            let name = format!("ops/{operation}/{}", backend.name());
            let backend = Arc::clone(backend);
            trials.push(context.trial(name, move || ops::rows(operation, &backend)));
        }
    }
    for operation in ops::ON_HOST {
        trials.push(context.trial(format!("ops/{operation}/host"), || ops::rows_on_host(operation)));
    }
    trials
}

/// Nothing lies in `fixtures/ops/` that no suite looks at.
fn every_operation_is_run() -> Result<(), Failed> {
    let known = |name: &str| ops::ON_BACKENDS.contains(&name) || ops::ON_HOST.contains(&name);
    match fixtures::cases("ops").into_iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(format!("{name} is compared with nothing").into()),
    }
}
