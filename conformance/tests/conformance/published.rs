//! `published/<case>`: the published sizes on the fastest backend; large and huge only if asked for.

use std::env;

use conformance::{case::Case, fixtures, suites::published};
use libtest_mimic::Trial;

use crate::Context;

/// The sizes that take minutes and gigabytes.
const LARGE: [&str; 2] = ["large-", "huge-"];

pub(crate) fn trials(context: &Context) -> Vec<Trial> {
    let all = env::var_os("VIDEOMAE_CONFORMANCE_ALL").is_some();
    let trial = |name: String| {
        let ignored = !all && LARGE.iter().any(|size| name.starts_with(size));
        let trial = context.trial(format!("published/{name}"), move || {
            let backend = kernels::open("auto").map_err(|e| e.to_string())?;
            published::rows(&Case::read("published", &name), &backend)
        });
        trial.with_ignored_flag(ignored)
    };
    fixtures::cases("published").into_iter().map(trial).collect()
}
