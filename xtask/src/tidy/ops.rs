//! Rule `ops`: an op is one name everywhere. What the `Stream` trait declares after its line `// Ops.` exists as a
//! function of each backend, and its name occurs in the tests, in the benches and in `gpu-check`. What `BackwardStream`
//! declares exists in the backends that train.

use super::Problem;
use super::sources::Source;

/// The line of the trait after which ops begin; what is before moves memory.
const FIRST_OP: &str = "// Ops.";

/// Where the ops of a trait must occur.
struct Trait {
    /// The file that declares it, and the line that opens it.
    file: &'static str,
    opening: &'static str,
    /// Whether ops begin at [`FIRST_OP`] only.
    marked: bool,
    places: &'static [Place],
}

/// Files that must name every op.
struct Place {
    /// What to call it in a message.
    name: &'static str,
    holds: fn(&Source) -> bool,
    /// Whether the name must be that of a function.
    defined: bool,
}

const REFERENCE: Place =
    Place { name: "kernels/reference", holds: |s| is_code_of(s, "kernels/reference"), defined: true };
const CPU: Place = Place { name: "kernels/cpu", holds: |s| is_code_of(s, "kernels/cpu"), defined: true };
const CUDA: Place = Place { name: "kernels/cuda", holds: |s| is_code_of(s, "kernels/cuda"), defined: true };
const TESTS: Place = Place { name: "the tests of kernels", holds: is_test, defined: false };
const BENCHES: Place =
    Place { name: "kernels/benches", holds: |s| s.is_below("kernels/benches"), defined: false };
const GPU_CHECK: Place =
    Place { name: "gpu-check", holds: |s| s.is_below("gpu-check/src/check"), defined: false };

const TRAITS: [Trait; 2] = [
    Trait {
        file: "kernels/backend/src/stream.rs",
        opening: "pub trait Stream",
        marked: true,
        places: &[REFERENCE, CPU, CUDA, TESTS, BENCHES, GPU_CHECK],
    },
    Trait {
        file: "kernels/backend/src/backward.rs",
        opening: "pub trait BackwardStream",
        marked: false,
        places: &[REFERENCE, TESTS],
    },
];

/// Checks every op of both traits.
pub(super) fn check(sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for declaring in TRAITS {
        let mut problem = |line, message| {
            problems.push(Problem { file: declaring.file.to_owned(), line, rule: "ops", message });
        };
        let text =
            sources.iter().find(|source| source.path == declaring.file).map(|source| source.text.as_str());
        let ops = methods(text.unwrap_or_default(), declaring.opening, declaring.marked);
        if ops.is_empty() {
            problem(1, format!("expected `{}` with methods, found none", declaring.opening));
        }
        for (line, op) in ops {
            for place in declaring.places {
                let wanted = if place.defined { format!("fn {op}") } else { op.to_owned() };
                if !sources.iter().filter(|source| (place.holds)(source)).any(|s| has_word(&s.text, &wanted))
                {
                    problem(line, format!("{op} is missing in {}", place.name));
                }
            }
        }
    }
    problems
}

/// The methods a trait declares, with their lines.
fn methods<'a>(text: &'a str, opening: &str, marked: bool) -> Vec<(usize, &'a str)> {
    let mut methods = Vec::new();
    let mut inside = false;
    let mut listed = !marked;
    for (index, line) in text.lines().enumerate() {
        inside |= line.starts_with(opening);
        if inside && line == "}" {
            break;
        }
        listed |= line.trim() == FIRST_OP;
        let name = line.trim_start().strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        methods.extend(name.filter(|_| inside && listed).map(|name| (index + 1, name)));
    }
    methods
}

/// Rust files of a crate that are not tests.
fn is_code_of(source: &Source, folder: &str) -> bool {
    source.is_below(folder) && source.path.ends_with(".rs") && !is_test(source)
}

/// Test files of the kernels: the tests of all backends, a folder `tests`, or a file `tests.rs`.
fn is_test(source: &Source) -> bool {
    let own = || source.path.contains("/tests/") || source.path.ends_with("/tests.rs");
    source.is_below("kernels/testing") || source.is_below("kernels") && own()
}

/// Whether a text holds a word, bounded by what cannot be part of a name.
fn has_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIT: &str = "pub trait Stream: Send {\n    fn alloc(&mut self);\n    // Ops.\n    fn cast(\n        &mut self,\n    );\n}\nfn enter<R>() {}\n";

    #[test]
    fn ops_are_the_methods_after_the_mark() {
        assert_eq!(methods(TRAIT, "pub trait Stream", true), [(4, "cast")]);
        assert_eq!(methods(TRAIT, "pub trait Stream", false), [(2, "alloc"), (4, "cast")]);
    }

    #[test]
    fn an_op_that_is_nowhere_is_missed_everywhere() {
        let sources = [Source { path: TRAITS[0].file.to_owned(), text: TRAIT.to_owned() }];
        let messages: Vec<_> = check(&sources).into_iter().map(|problem| problem.message).collect();
        for place in TRAITS[0].places {
            assert!(messages.contains(&format!("cast is missing in {}", place.name)), "{messages:?}");
        }
    }

    #[test]
    fn words_are_whole() {
        assert!(
            has_word("fn cast(", "fn cast")
                && !has_word("fn casting(", "fn cast")
                && !has_word("upcast", "cast")
        );
    }
}
