//! The gradient of every parameter and of the pixels, for every loss.

use std::sync::Arc;

use kernels::Backend;
use videomae::{VideoMAEForPreTraining, VideoMAEForVideoClassification, checkpoint::LoadOptions};

use crate::{
    case::{Case, Loss},
    fixtures::Arrays,
    hash::stored_key,
    report::Row,
    tap::Model,
};

/// Runs a case forward and backward with each of its losses.
///
/// # Errors
/// What the model says; a gradient that is missing on either side.
pub fn rows(case: &Case, backend: &Arc<dyn Backend>) -> Result<Vec<Row>, String> {
    let expected = Arrays::read(&case.path.join("gradients.safetensors"));
    let mut rows = Vec::new();
    let mut compared = 0;
    for loss in &case.losses {
        let prefix = format!("{}.", loss.name);
        let wanted: Vec<&str> = expected.0.keys().filter_map(|key| key.strip_prefix(&prefix)).collect();
        if wanted.is_empty() {
            continue;
        }
        let found = gradients(case, backend, loss).map_err(|e| e.to_string())?;
        for key in &wanted {
            let values = found.iter().find(|(name, _)| name == key).map(|(_, values)| values);
            let values = values.ok_or_else(|| format!("{}: no gradient of {key}", case.name))?;
            let name = format!("{prefix}{key}");
            // A backward pass is about twice the forward's chain of sums.
            let sums = 3 * case.sums;
            let expected = expected.get(&name).floats();
            rows.push(Row::new(
                &case.name,
                &gradient_of(key),
                backend.name(),
                case.dtype,
                sums,
                values,
                expected,
            ));
        }
        if let Some((extra, _)) = found.iter().find(|(name, _)| !wanted.contains(&name.as_str())) {
            return Err(format!("{}: transformers has no gradient of {extra}", case.name));
        }
        compared += wanted.len();
    }
    match compared == expected.0.len() {
        true => Ok(rows),
        false => Err(format!("{}: {} gradients, compared {compared}", case.name, expected.0.len())),
    }
}

fn gradient_of(key: &str) -> String {
    format!("d {}", key.trim_start_matches("videomae."))
}

/// Every gradient under the key its parameter has in a file.
fn gradients(
    case: &Case,
    backend: &Arc<dyn Backend>,
    loss: &Loss,
) -> videomae::Result<Vec<(String, Vec<f32>)>> {
    let mut config = case.config.clone();
    config.problem_type = loss.problem_type();
    // The reference's gradients are those of evaluation mode.
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    let options = LoadOptions::default();
    let (backend, weights) = (Arc::clone(backend), case.weights());
    let mask = case.bool_masked_pos();
    let mut inputs = case.inputs(mask.as_deref(), Some(loss));
    inputs.output_hidden_states = None;
    inputs.output_attentions = None;
    let gradients = match case.model {
        Model::PreTraining => {
            let (model, _) = VideoMAEForPreTraining::from_weights(config, &weights, backend, &options)?;
            model.loss_and_gradients(&mut model.training_session(0)?, &inputs)?.1
        }
        _ => {
            let (model, _) =
                VideoMAEForVideoClassification::from_weights(config, &weights, backend, &options)?;
            model.loss_and_gradients(&mut model.training_session(0)?, &inputs)?.1
        }
    };
    let parameters = gradients.iter().map(|(key, gradient)| (stored_key(key, false), gradient.data.clone()));
    let pixels = ("pixel_values".to_owned(), gradients.pixel_values.data.clone());
    Ok(parameters.chain([pixels]).collect())
}
