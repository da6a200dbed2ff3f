//! One case of a check: run on the backend under test and on the reference, and compared.

use std::sync::Arc;

use anyhow::{Result, ensure};
use kernels::{
    Backend, DType,
    tolerance::{Comparison, bound},
};
use serde::{Deserialize, Serialize};

use super::lab::Lab;

/// Something an op computed, and the row of the tolerance table that it must keep to.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// The type it was rounded to last; `I32` for what must be equal to the bit.
    pub(crate) dtype: DType,
    /// The longest sum.
    pub(crate) length: usize,
    /// The size of its terms, where they may be larger than what they sum to; otherwise zero.
    pub(crate) terms: f32,
    pub(crate) values: Vec<f32>,
}

impl Part {
    /// A result whose terms are no larger than it is.
    pub(crate) fn new(name: &'static str, dtype: DType, length: usize, values: Vec<f32>) -> Self {
        Self { name, dtype, length, terms: 0.0, values }
    }

    /// A result that no rounding may change.
    pub(crate) fn exact(name: &'static str, values: Vec<f32>) -> Self {
        Self::new(name, DType::I32, 1, values)
    }
}

/// Shapes, types and data, and the op on them.
pub(crate) struct Case {
    pub(crate) label: String,
    pub(crate) run: Run,
}

/// Runs an op where it is told to.
pub(crate) type Run = Box<dyn Fn(&mut Lab) -> Result<Vec<Part>>>;

impl Case {
    pub(crate) fn new(
        label: impl Into<String>,
        run: impl Fn(&mut Lab) -> Result<Vec<Part>> + 'static,
    ) -> Self {
        Self { label: label.into(), run: Box::new(run) }
    }
}

/// What a case came to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) case: String,
    /// Whether everything was within its bound.
    pub(crate) passed: bool,
    /// The error that came nearest to its bound, or went furthest beyond it; absent where the case could not be run.
    pub(crate) error: Option<f32>,
    pub(crate) bound: Option<f32>,
    /// The worst place, or why there is none.
    pub(crate) text: String,
}

impl Outcome {
    /// A case that could not be run.
    pub(crate) fn failed(case: impl Into<String>, error: &anyhow::Error) -> Self {
        let text = format!("{error:#}");
        Self { case: case.into(), passed: false, error: None, bound: None, text }
    }

    /// What was found beside what was expected.
    pub(crate) fn of(case: &str, found: &[Part], expected: &[Part]) -> Result<Self> {
        ensure!(found.len() == expected.len(), "expected {} results, found {}", expected.len(), found.len());
        let mut worst: Option<(f32, Self)> = None;
        for (found, expected) in found.iter().zip(expected) {
            let Part { name, dtype, length, terms, .. } = *found;
            let count = expected.values.len();
            ensure!(
                found.values.len() == count,
                "{name}: expected {count} elements, found {}",
                found.values.len()
            );
            let comparison = Comparison::of(&found.values, &expected.values);
            let bound = bound(dtype, length, comparison.scale.max(terms));
            let passed = comparison.error <= bound;
            // Zero errors of zero bounds are as good as it gets.
            let used = if comparison.error == 0.0 { 0.0 } else { comparison.error / bound };
            if worst.as_ref().is_none_or(|(most, _)| used > *most) {
                let text = match (passed, comparison.error) {
                    (true, 0.0) => "equal".to_owned(),
                    (true, error) => format!("{name}: error {error:.1e} of {bound:.1e} allowed"),
                    (false, _) => format!("{name}: {comparison}, bound {bound:.3e}"),
                };
                let outcome = Self {
                    case: case.to_owned(),
                    passed,
                    error: Some(comparison.error),
                    bound: Some(bound),
                    text,
                };
                worst = Some((used, outcome));
            }
        }
        ensure!(worst.is_some(), "computed nothing");
        Ok(worst.map(|(_, outcome)| outcome).expect("was just asked for"))
    }
}

/// Runs a case; `spoil` changes what it expects, to prove that it can fail.
pub(crate) fn run(case: &Case, backend: &Arc<dyn Backend>, spoil: bool) -> Outcome {
    compare(case, backend, spoil).unwrap_or_else(|error| Outcome::failed(&case.label, &error))
}

fn compare(case: &Case, backend: &Arc<dyn Backend>, spoil: bool) -> Result<Outcome> {
    let found = (case.run)(&mut Lab::tested(backend)?)?;
    let again = (case.run)(&mut Lab::tested(backend)?)?;
    for (first, second) in found.iter().zip(&again) {
        let differs = first.values.iter().zip(&second.values).position(|(a, b)| a.to_bits() != b.to_bits());
        if let Some(at) = differs {
            let (a, b) = (first.values[at], second.values[at]);
            anyhow::bail!("{}: two runs differ at {at}: {a} and {b}", first.name);
        }
    }
    let mut expected = (case.run)(&mut Lab::reference()?)?;
    if spoil && let Some(first) = expected.iter_mut().find_map(|part| part.values.first_mut()) {
        // Far from what any op gives here, and so large that no bound reaches it.
        *first = 1e4;
    }
    Outcome::of(&case.label, &found, &expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(values: &[f32], dtype: DType) -> Part {
        Part::new("y", dtype, 4, values.to_vec())
    }

    #[test]
    fn the_part_that_uses_most_of_its_bound_is_told() {
        let expected = [part(&[1.0, 2.0], DType::F32), part(&[1.0], DType::Bf16)];
        let near = Outcome::of("c", &[part(&[1.0, 2.0], DType::F32), part(&[1.004], DType::Bf16)], &expected);
        let near = near.unwrap();
        assert!(near.passed && near.bound > Some(0.01), "{near:?}");
        let far = Outcome::of("c", &[part(&[1.0, 2.004], DType::F32), part(&[1.0], DType::Bf16)], &expected);
        assert!(!far.unwrap().passed);
    }

    #[test]
    fn nan_in_place_of_a_number_fails_and_so_does_a_missing_one() {
        let expected = [Part::exact("y", vec![1.0])];
        assert!(!Outcome::of("c", &[Part::exact("y", vec![f32::NAN])], &expected).unwrap().passed);
        assert!(Outcome::of("c", &[Part::exact("y", Vec::new())], &expected).is_err());
        assert!(Outcome::of("c", &[], &expected).is_err());
    }

    #[test]
    fn a_spoilt_expectation_fails_also_on_the_reference_itself() {
        let case = Case::new("copy", |lab| {
            let x = lab.input([1, 2, 3], DType::F32, false, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])?;
            let mut y = lab.output(&super::super::lab::Spec::new([1, 2, 3], DType::F32))?;
            lab.stream.cast(x.rows()?, y.rows()?)?;
            Ok(vec![Part::exact("y", lab.result(&mut y)?)])
        });
        let reference = kernels::open("reference").unwrap();
        assert!(run(&case, &reference, false).passed);
        assert!(!run(&case, &reference, true).passed);
    }
}
