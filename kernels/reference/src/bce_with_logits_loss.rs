//! `bce_with_logits_loss`: the mean of `−t·ln σ(x) − (1 − t)·ln(1 − σ(x))`, with gradient `(σ(x) − t)/n`.

use kernels_backend::{Activation, Result, Tensor, Write, check};

use crate::storage;

pub(crate) fn bce_with_logits_loss(
    logits: &Tensor,
    targets: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "bce_with_logits_loss";
    check::loss(OP, logits, targets.shape(), loss, gradient.as_deref())?;
    let logits = storage::floats(OP, "logits", logits)?;
    let targets = storage::floats(OP, "targets", targets)?;
    let mut loss = storage::floats_mut(OP, "loss", loss)?;
    let gradient = gradient.map(|gradient| storage::floats_mut(OP, "gradient", gradient)).transpose()?;

    let count = logits.len() as f64;
    let pairs = logits.iter().zip(targets).map(|(&x, &t)| (f64::from(x), f64::from(t)));
    loss.store(0, Write::Replace, pairs.clone().map(|(x, t)| entropy(x, t)).sum::<f64>() / count);
    if let Some(mut gradient) = gradient {
        let sigmoid = |x| Activation::Sigmoid.value_f64(x);
        gradient.store_all(0, Write::Replace, pairs.map(|(x, t)| (sigmoid(x) - t) / count));
    }
    Ok(())
}

/// The formula above, in a form that neither overflows nor cancels: `(1 − t)·x − ln σ(x)`, where
/// `ln σ(x) = min(x, 0) − ln(1 + e^−|x|)`.
fn entropy(x: f64, t: f64) -> f64 {
    let negative_part = if x > 0.0 { 0.0 } else { x };
    (1.0 - t) * x - (negative_part - libm::log1p(libm::exp(-x.abs())))
}
