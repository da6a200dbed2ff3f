//! Every named activation and its derivative, from denormals to infinity.

use std::sync::Arc;

use kernels::{
    Activation, Backend, BackwardStream, Epilogue, LinearBlock, Result, Stream, View, WeightFormat,
};

use super::{Run, filled, unwritten, values};

/// How many copies of an activation a backend computes side by side: more than one vector of any instruction set, and
/// a tail.
const COPIES: usize = 17;

/// The bounds of classes of |x|, which are compared apart so that large values do not hide the errors of small ones.
const CLASSES: [f32; 8] = [1e-30, 1e-8, 1e-3, 1.0, 12.0, 110.0, 1e5, f32::INFINITY];

pub(super) fn on_host(run: &mut Run) {
    pass_over_refused(run);
    let x = run.inputs.get("input").floats().to_vec();
    for (name, activation) in compared() {
        let output: Vec<f32> = x.iter().map(|&x| activation.value(x)).collect();
        let gradient: Vec<f32> = x.iter().map(|&x| activation.derivative(x)).collect();
        compare(run, &format!("{}.output", stored(name)), &x, &output);
        compare(run, &format!("{}.gradient", stored(name)), &x, &gradient);
    }
}

pub(super) fn on_backend(run: &mut Run, backend: &Arc<dyn Backend>) -> Result<()> {
    pass_over_refused(run);
    let x = run.inputs.get("input").floats().to_vec();
    let mut s = Arc::clone(backend).stream()?;
    for (name, activation) in compared() {
        let outputs = through_linear(&mut *s, backend, activation, &x)?;
        for copy in 0..COPIES {
            let found: Vec<f32> = outputs.iter().skip(copy).step_by(COPIES).copied().collect();
            compare(run, &format!("{}.output", stored(name)), &x, &found);
        }
    }
    let Ok(mut s) = Arc::clone(backend).backward_stream() else { return Ok(()) };
    for (name, activation) in compared() {
        let gradient = gradient(&mut *s, activation, &x)?;
        compare(run, &format!("{}.gradient", stored(name)), &x, &gradient);
    }
    Ok(())
}

/// A layer that copies its one input to [`COPIES`] outputs, and the activation of them.
fn through_linear(
    s: &mut dyn Stream,
    backend: &Arc<dyn Backend>,
    activation: Activation,
    x: &[f32],
) -> Result<Vec<f32>> {
    let ones = [1.0; COPIES];
    let block = LinearBlock { weight: View::f32([COPIES, 1], &ones)?, bias: None };
    let linear = backend.pack_linear(&[block], WeightFormat::F32)?;
    let x = filled(s, [x.len(), 1], x)?;
    let mut y = unwritten(s, [x.shape().elements(), COPIES])?;
    s.linear((&x).into(), &linear, Epilogue::activation(activation), (&mut y).into())?;
    values(s, &y)
}

fn gradient(s: &mut dyn BackwardStream, activation: Activation, x: &[f32]) -> Result<Vec<f32>> {
    let shape = [x.len(), 1];
    let x = filled(s.forward(), shape, x)?;
    let mut d = filled(s.forward(), shape, &vec![1.0; shape[0]])?;
    s.activation_backward(activation, &x, &mut d)?;
    values(s.forward(), &d)
}

/// A name in the pinned transformers' table that [`Activation`] does not know, so that a configuration with it is refused.
const REFUSED: &str = "sqrtsoftplus";

fn pass_over_refused(run: &mut Run) {
    assert!(REFUSED.parse::<Activation>().is_err(), "{REFUSED} is known by now, so compare it");
    for part in ["output", "gradient"] {
        run.pass_over(&format!("{REFUSED}.{part}"));
    }
}

/// Every named activation but SELU, which the pinned transformers has no name for.
fn compared() -> impl Iterator<Item = (&'static str, Activation)> {
    Activation::names().iter().copied().filter(|&(name, _)| name != "selu")
}

/// The name under which a function is stored: those equal to the bit have one fixture.
fn stored(name: &str) -> &str {
    match name {
        "swish" => "silu",
        "gelu_new" | "gelu_python_tanh" => "gelu_accurate",
        other => other,
    }
}

/// Class by class of |x|; infinities and NaN belong to the last.
///
/// Where an intermediate result of transformers overflows although x is finite, near the largest numbers there are,
/// any finite value will do: the limit is the better answer. Gradients are compared at finite x only: at infinity and
/// NaN autograd multiplies infinities by zeros, as its formulas happen to be written.
fn compare(run: &mut Run, name: &str, x: &[f32], found: &[f32]) {
    let expected = run.expected(name);
    let class = |x: f32| CLASSES.iter().position(|&bound| x.abs() <= bound).unwrap_or(CLASSES.len() - 1);
    // One adds 1 to an error function, the other subtracts from 1 a sigmoid; both may cancel.
    let terms = if matches!(name, "laplace.output" | "sigmoid.gradient") { 1.0 } else { 0.0 };
    let points =
        || x.iter().zip(found).zip(expected.floats()).map(|((&x, &found), &expected)| (x, found, expected));
    let overflowed =
        |x: f32, found: f32, expected: f32| x.is_finite() && found.is_finite() && !expected.is_finite();
    let gradient = name.ends_with(".gradient");
    for index in 0..CLASSES.len() {
        let kept = points().filter(|&(x, found, expected)| {
            class(x) == index && (x.is_finite() || !gradient) && !overflowed(x, found, expected)
        });
        let (found, expected): (Vec<f32>, Vec<f32>) =
            kept.map(|(_, found, expected)| (found, expected)).unzip();
        run.part(name, 1, terms, &found, &expected);
    }
}
