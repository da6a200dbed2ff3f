//! `activation_backward`: `d *= activation′(pre_activation)`. The forward is a part of `linear`.

use kernels_backend::{Activation, Result, Tensor, Write, check};

use crate::storage;

pub(crate) fn activation_backward(
    activation: Activation,
    pre_activation: &Tensor,
    d: &mut Tensor,
) -> Result<()> {
    const OP: &str = "activation_backward";
    check::same_shape(OP, "gradient", pre_activation, d)?;
    let pre_activation = storage::floats(OP, "pre_activation", pre_activation)?;
    let mut d = storage::floats_mut(OP, "gradient", d)?;
    for (i, &x) in pre_activation.iter().enumerate() {
        let slope = activation.derivative_f64(x.into());
        d.store(i, Write::Replace, f64::from(d.elements[i]) * slope);
    }
    Ok(())
}
