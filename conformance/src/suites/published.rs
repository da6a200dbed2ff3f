//! The published sizes, with hashed weights and pixels. Of large outputs only samples are known, and their magnitude.

use std::sync::{Arc, Mutex, PoisonError};

use kernels::{
    Backend, PatchTargets, Stream, Tensor,
    intercept::{Intercept, Intercepted},
};
use videomae::VideoInputs;

use crate::{case::Case, fixtures::Array, hash, report::Row};

/// Runs a case on a backend.
///
/// # Errors
/// What the model says; an output of another size; a fixture that nothing was compared with.
pub fn rows(case: &Case, backend: &Arc<dyn Backend>) -> Result<Vec<Row>, String> {
    let targets = Arc::new(Targets::default());
    let watched = Intercepted::around(Arc::clone(backend), Arc::<Targets>::clone(&targets));
    let config = &case.config;
    let (height, width) = (config.image_size.height, config.image_size.width);
    let shape = [1, config.num_frames, config.num_channels, height, width];
    let pixel_values = hash::pixel_values(shape.iter().product());
    let mask = case.bool_masked_pos();
    let mut inputs = VideoInputs::new(&pixel_values, shape);
    inputs.bool_masked_pos = mask.as_deref();
    inputs.output_hidden_states = Some(true);
    let outputs = case.forward(config.clone(), &case.weights(), watched, &inputs, None);
    let mut outputs = outputs.map_err(|e| e.to_string())?.0;
    outputs.push(("targets".to_owned(), targets.take()));

    let mut rows = Vec::new();
    let mut compared = 0;
    for (name, found) in &outputs {
        if let Some(expected) = case.expected(name) {
            rows.push(row(case, backend, name, found, expected.floats())?);
            compared += 1;
        } else if let Some(index) = case.expected(&format!("{name}.index")) {
            rows.extend(sampled(case, backend, name, found, index)?);
            compared += 3;
        }
    }
    let count = case.expected_names().count();
    match compared == count {
        true => Ok(rows),
        false => Err(format!("{}: {count} fixtures, compared {compared}", case.name)),
    }
}

/// Two rows: the samples, and the largest magnitude of all elements.
fn sampled(
    case: &Case,
    backend: &Arc<dyn Backend>,
    name: &str,
    found: &[f32],
    index: &Array,
) -> Result<[Row; 2], String> {
    let part = |part: &str| {
        let stored = case.expected(&format!("{name}.{part}"));
        stored.map(Array::floats).ok_or_else(|| format!("{}: no {name}.{part}", case.name))
    };
    let (value, max_abs) = (part("value")?, part("max_abs")?);
    let at = |&i: &i64| usize::try_from(i).ok().and_then(|i| found.get(i)).copied();
    let samples: Option<Vec<f32>> = index.integers().iter().map(at).collect();
    let samples =
        samples.ok_or_else(|| format!("{}: {name} has {} elements only", case.name, found.len()))?;
    let largest = found.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    Ok([
        row(case, backend, name, &samples, value)?.with_scale(case.sums, max_abs[0]),
        row(case, backend, &format!("{name}.max_abs"), &[largest], max_abs)?,
    ])
}

fn row(
    case: &Case,
    backend: &Arc<dyn Backend>,
    name: &str,
    found: &[f32],
    expected: &[f32],
) -> Result<Row, String> {
    if found.len() != expected.len() {
        let lengths = format!("expected {} elements, found {}", expected.len(), found.len());
        return Err(format!("{}: {name}: {lengths}", case.name));
    }
    let size = case.name.split('-').next().unwrap_or(&case.name);
    let tensor = format!("published {size} {name}");
    Ok(Row::new(&case.name, &tensor, backend.name(), case.dtype, case.sums, found, expected))
}

/// Keeps what pre-training is trained on, which no output shows.
#[derive(Debug, Default)]
struct Targets(Mutex<Vec<f32>>);

impl Targets {
    fn take(&self) -> Vec<f32> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for Targets {
    fn patch_targets(
        &self,
        s: &mut dyn Stream,
        pixel_values: &Tensor,
        targets: &PatchTargets<'_>,
        indices: &Tensor,
        labels: &mut Tensor,
    ) -> kernels::Result<()> {
        s.patch_targets(pixel_values, targets, indices, labels)?;
        let mut values = vec![0.0; labels.shape().elements()];
        s.read(labels, &mut values)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = values;
        Ok(())
    }
}
