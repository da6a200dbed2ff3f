//! Several filters, which Criterion does not take.

use std::process::{Command, exit};

/// What the bench itself wants to know.
pub(crate) struct Arguments {
    /// Whether figures are printed; not when benches only run once as a test, or are listed.
    pub(crate) report: bool,
}

/// Criterion's options that take a value, which is therefore not a filter.
const WITH_VALUE: [&str; 19] = [
    "-b",
    "--baseline",
    "--baseline-lenient",
    "-c",
    "--color",
    "--confidence-level",
    "--format",
    "--load-baseline",
    "--measurement-time",
    "--noise-threshold",
    "--nresamples",
    "--output-format",
    "--plotting-backend",
    "--profile-time",
    "-s",
    "--sample-size",
    "--save-baseline",
    "--significance-level",
    "--warm-up-time",
];

/// Leaves at most one filter for Criterion. Several become one that matches any of them, for which the program
/// starts itself again, as Criterion reads the command line itself; the result is then `None`.
///
/// `kernels`, which every id begins with, is what makes cargo find this bench: beside other filters it
/// does not count.
pub(crate) fn of_criterion() -> Option<Arguments> {
    let mut options = Vec::new();
    let mut filters = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument.starts_with('-') {
            let takes_value = WITH_VALUE.contains(&argument.as_str());
            options.push(argument);
            options.extend(takes_value.then(|| arguments.next()).flatten());
        } else {
            filters.push(argument);
        }
    }
    if filters.len() <= 1 {
        let report = !options.iter().any(|option| option == "--test" || option == "--list");
        return Some(Arguments { report });
    }
    filters.retain(|filter| filter != "kernels");
    if filters.is_empty() {
        filters.push("kernels".to_owned());
    }
    let any = filters.iter().map(|filter| format!("(?:{filter})")).collect::<Vec<_>>().join("|");
    let again = std::env::current_exe().and_then(|exe| Command::new(exe).args(options).arg(any).status());
    match again {
        Ok(status) if status.success() => None,
        Ok(status) => exit(status.code().unwrap_or(1)),
        Err(error) => {
            eprintln!("cannot start the bench again with its filters joined: {error}");
            exit(1);
        }
    }
}
