//! `constants/<checkpoint>`: published checkpoints against published numbers; needs a network, so only if asked for
//! with `VIDEOMAE_CONFORMANCE_HUB=1`. The variables of `videomae::hub` say where from and where to.

use std::env;

use conformance::suites::constants::CONSTANTS;
use libtest_mimic::{Failed, Trial};

pub(crate) fn trials() -> Vec<Trial> {
    let asked_for = env::var_os("VIDEOMAE_CONFORMANCE_HUB").is_some();
    let trials = CONSTANTS.into_iter().map(|constant| {
        let trial = Trial::test(format!("constants/{}", constant.model), move || {
            let backend = kernels::open("auto").map_err(|e| Failed::from(e.to_string()))?;
            constant.check(backend).map_err(Failed::from)
        });
        trial.with_ignored_flag(!asked_for)
    });
    trials.collect()
}
