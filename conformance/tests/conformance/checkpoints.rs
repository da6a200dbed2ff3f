//! `checkpoints/<case>/<backend>`: loaded from disk and compared; `round_trips/…`: saved, loaded again, the same bits.

use std::sync::Arc;

use conformance::{case::Case, fixtures, suites::checkpoints};
use libtest_mimic::{Failed, Trial};

use crate::Context;

pub(crate) fn trials(context: &Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for name in fixtures::cases("checkpoints") {
        let case = Arc::new(Case::read("checkpoints", &name));
        // The loader is the same for all backends: the exact one and the one users get will do.
        for backend in ["reference", "auto"] {
            let backend = kernels::open(backend).expect("a backend every machine has");
            let title = format!("{name}/{}", backend.name());
            let (of, on) = (Arc::clone(&case), Arc::clone(&backend));
            trials.push(context.trial(format!("checkpoints/{title}"), move || checkpoints::rows(&of, &on)));
            let (of, on) = (Arc::clone(&case), backend);
            trials.push(Trial::test(format!("round_trips/{title}"), move || {
                checkpoints::round_trip(&of, &on).map_err(Failed::from)
            }));
        }
    }
    trials
}
