//! `mse_loss`: the mean of `(x − target)²`, with gradient `2·(x − target)/n`.

use kernels_backend::{Result, Tensor, Write, check};

use crate::storage;

pub(crate) fn mse_loss(
    x: &Tensor,
    target: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "mse_loss";
    check::loss(OP, x, target.shape(), loss, gradient.as_deref())?;
    let x = storage::floats(OP, "x", x)?;
    let target = storage::floats(OP, "target", target)?;
    let mut loss = storage::floats_mut(OP, "loss", loss)?;
    let gradient = gradient.map(|gradient| storage::floats_mut(OP, "gradient", gradient)).transpose()?;

    let count = x.len() as f64;
    let differences = x.iter().zip(target).map(|(&x, &target)| f64::from(x) - f64::from(target));
    loss.store(0, Write::Replace, differences.clone().map(|d| d * d).sum::<f64>() / count);
    if let Some(mut gradient) = gradient {
        gradient.store_all(0, Write::Replace, differences.map(|d| 2.0 * d / count));
    }
    Ok(())
}
