//! Single operations on awkward values: what whole models, whose activations are of order one, never reach.

mod activations;
mod attention;
mod layer_norm;
mod losses;
mod numbers;

use std::{collections::BTreeSet, sync::Arc};

use kernels::{Backend, DType, Layout, Shape, Stream, Tensor, View};

use crate::{
    fixtures::{self, Array, Arrays},
    report::Row,
};

/// The operations a backend runs, as their folders are called.
pub const ON_BACKENDS: [&str; 4] = ["activations", "attention", "layer_norm", "losses"];

/// What is computed on the host: the scalar activations, the position tables and the numbers of the hash.
pub const ON_HOST: [&str; 3] = ["activations", "hashed_numbers", "positions"];

/// Runs one of [`ON_BACKENDS`].
///
/// # Errors
/// What an op says; a fixture that nothing was compared with.
pub fn rows(operation: &str, backend: &Arc<dyn Backend>) -> Result<Vec<Row>, String> {
    let mut run = Run::new(operation, backend.name());
    let done = match operation {
        "activations" => activations::on_backend(&mut run, backend),
        "attention" => attention::compare(&mut run, backend),
        "layer_norm" => layer_norm::compare(&mut run, backend),
        "losses" => losses::compare(&mut run, backend),
        other => return Err(format!("no operation is called {other}")),
    };
    done.map_err(|e| format!("{operation}: {e}"))?;
    // What is not compared here, a backend without gradients does not have.
    let trains = Arc::clone(backend).backward_stream().is_ok();
    run.finish(|name| !trains && name.ends_with("gradient") && operation != "losses")
}

/// Runs one of [`ON_HOST`].
///
/// # Errors
/// As [`rows`].
pub fn rows_on_host(operation: &str) -> Result<Vec<Row>, String> {
    let mut run = Run::new(operation, "host");
    match operation {
        "activations" => activations::on_host(&mut run),
        "hashed_numbers" => numbers::hashed(&mut run)?,
        "positions" => numbers::positions(&mut run),
        other => return Err(format!("no operation is called {other}")),
    }
    run.finish(|_| false)
}

/// The fixtures of one operation, and what was compared with them.
struct Run {
    operation: String,
    backend: String,
    inputs: Arrays,
    expected: Arrays,
    compared: BTreeSet<String>,
    rows: Vec<Row>,
}

impl Run {
    fn new(operation: &str, backend: &str) -> Self {
        let folder = fixtures::root().join("ops").join(operation);
        let inputs = folder.join("inputs.safetensors");
        Self {
            operation: operation.to_owned(),
            backend: backend.to_owned(),
            inputs: if inputs.exists() { Arrays::read(&inputs) } else { Arrays::default() },
            expected: Arrays::read(&folder.join("expected.safetensors")),
            compared: BTreeSet::new(),
            rows: Vec::new(),
        }
    }

    /// A tensor of the fixtures, which from now on counts as compared.
    fn expected(&mut self, name: &str) -> Array {
        self.compared.insert(name.to_owned());
        self.expected.get(name).clone()
    }

    /// Compares a whole tensor. `terms` is the size of what is added up on the way to it, if that may be larger than
    /// the result: terms that cancel leave their rounding errors behind.
    fn compare(&mut self, name: &str, sums: usize, terms: f32, found: &[f32]) {
        let expected = self.expected(name);
        self.part(name, sums, terms, found, expected.floats());
    }

    /// As [`Run::compare`], for a part of a tensor.
    fn part(&mut self, name: &str, sums: usize, terms: f32, found: &[f32], expected: &[f32]) {
        let tensor = format!("{}.{name}", self.operation);
        let row = Row::new(&self.operation, &tensor, &self.backend, DType::F32, sums, found, expected);
        let scale = terms.max(row.comparison.scale);
        self.rows.push(row.with_scale(sums, scale));
    }

    /// Passes over a fixture, for a reason that the caller gives.
    fn pass_over(&mut self, name: &str) {
        self.compared.insert(name.to_owned());
    }

    /// The rows, provided that every fixture was compared, but for those `excepted`.
    fn finish(self, excepted: impl Fn(&str) -> bool) -> Result<Vec<Row>, String> {
        let left = self.expected.0.keys().find(|name| !self.compared.contains(*name) && !excepted(name));
        match left {
            None => Ok(self.rows),
            Some(name) => Err(format!("{}: {name} is compared with nothing", self.operation)),
        }
    }
}

/// A tensor of a stream, filled.
fn filled(s: &mut dyn Stream, shape: impl Into<Shape>, values: &[f32]) -> kernels::Result<Tensor> {
    let shape = shape.into();
    let mut tensor = s.alloc(shape, DType::F32, Layout::Rows)?;
    s.write(&View::f32(shape, values)?, &mut tensor)?;
    Ok(tensor)
}

/// A tensor that holds NaN until an op writes it.
fn unwritten(s: &mut dyn Stream, shape: impl Into<Shape>) -> kernels::Result<Tensor> {
    let shape = shape.into();
    filled(s, shape, &vec![f32::NAN; shape.elements()])
}

fn values(s: &mut dyn Stream, tensor: &Tensor) -> kernels::Result<Vec<f32>> {
    let mut values = vec![0.0; tensor.shape().elements()];
    s.read(tensor, &mut values)?;
    Ok(values)
}

/// The largest magnitude.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()))
}
