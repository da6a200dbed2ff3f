//! Every tensor of a small model, op by op, and everything the model returns.

use std::sync::Arc;

use kernels::{Backend, Epilogue, Layout, Tensor, View, WeightFormat};
use videomae::checkpoint::WeightSource;

use crate::{
    case::{Case, Loss},
    report::Row,
    tap::Tap,
};

/// Runs a case on a backend, with each of its losses.
///
/// # Errors
/// What the model says, an op in the wrong place, or a fixture that nothing was compared with.
pub fn rows(case: &Case, backend: &Arc<dyn Backend>) -> Result<Vec<Row>, String> {
    let weights = case.weights();
    let (tap, watched) = Tap::on(Arc::clone(backend));
    let losses: Vec<Option<&Loss>> = match case.losses.is_empty() {
        true => vec![None],
        false => case.losses.iter().map(Some).collect(),
    };
    let mut rows = Vec::new();
    for (run, loss) in losses.into_iter().enumerate() {
        let outputs = case.run(&weights, Arc::clone(&watched), loss).map_err(|e| e.to_string())?;
        let traced = tap.take(case.model, &case.config)?;
        // Further runs differ in the loss alone.
        let named = match run {
            0 => [traced, outputs.0].concat(),
            _ => outputs.0.into_iter().filter(|(name, _)| name.starts_with("loss.")).collect(),
        };
        for (name, found) in named {
            rows.extend(compare(case, backend, &name, &found)?);
        }
    }
    rows.extend(compare(case, backend, PROJECTION, &projection(case, backend)?)?);
    Ok(rows)
}

const PROJECTION: &str = "embeddings.projection";

/// A row, unless transformers has no such tensor: not every model keeps all of them.
fn compare(
    case: &Case,
    backend: &Arc<dyn Backend>,
    name: &str,
    found: &[f32],
) -> Result<Option<Row>, String> {
    let Some(expected) = case.expected(name) else { return Ok(None) };
    let expected = expected.floats();
    if found.len() != expected.len() {
        return Err(format!(
            "{}: {name}: expected {} elements, found {}",
            case.name,
            expected.len(),
            found.len()
        ));
    }
    Ok(Some(Row::new(&case.name, name, backend.name(), case.dtype, case.sums, found, expected)))
}

/// The patch projection of all tokens, which the model itself never makes: it adds positions in the same op, and leaves
/// out masked tokens.
fn projection(case: &Case, backend: &Arc<dyn Backend>) -> Result<Vec<f32>, String> {
    let text = |e: kernels::Error| e.to_string();
    let weights = case.weights();
    let find = |end: &str| {
        let key = weights.keys().into_iter().find(|key| key.ends_with(end)).ok_or(format!("no {end}"))?;
        weights.get(&key).map_err(|e| e.to_string())?.ok_or(format!("no {key}"))
    };
    let (weight, bias) = (find("projection.weight")?, find("projection.bias")?);
    let (pixels, shape) = case.pixel_values();
    let config = &case.config;
    let grid = config.grid(shape[1], shape[3], shape[4]).map_err(|e| e.to_string())?;
    let tokens = grid.iter().product();
    let view = weight.view().and_then(|v| Ok(v.reshape([config.hidden_size, config.patch_dim()])?));
    let weight = view.map_err(|e| e.to_string())?;
    let block = kernels::LinearBlock { weight, bias: Some(bias.view().map_err(|e| e.to_string())?) };
    let format = WeightFormat::of(case.dtype).ok_or_else(|| format!("no weights of {}", case.dtype))?;
    let linear = backend.pack_linear(&[block], format).map_err(text)?;

    let mut s = Arc::clone(backend).stream().map_err(text)?;
    let mut alloc = |shape: &[usize]| -> Result<Tensor, String> {
        s.alloc(kernels::Shape::new(shape), backend.activations(format), Layout::Rows).map_err(text)
    };
    let mut pixel_values = alloc(&shape)?;
    let mut patches = alloc(&[shape[0], tokens, config.patch_dim()])?;
    let mut projected = alloc(&[shape[0], tokens, config.hidden_size])?;
    s.write(&View::f32(shape, pixels).map_err(text)?, &mut pixel_values).map_err(text)?;
    s.patchify(&pixel_values, config.patch_geometry(), None, (&mut patches).into()).map_err(text)?;
    s.linear((&patches).into(), &linear, Epilogue::none(), (&mut projected).into()).map_err(text)?;
    let mut values = vec![0.0; projected.shape().elements()];
    s.read(&projected, &mut values).map_err(text)?;
    Ok(values)
}

/// The names of fixtures that no run of [`rows`] compares: what the fused ops never write to memory.
///
/// A fixture outside this list must have been compared; the test of coverage sees to it.
pub const NOT_IN_MEMORY: [&str; 4] = [
    // Inside `linear` with a residual.
    "attention_output",
    "mlp_output",
    // Inside `linear` with an activation.
    "intermediate",
    // Inside `linear`, before positions.
    "encoder_to_decoder",
];
