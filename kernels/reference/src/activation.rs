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

#[cfg(test)]
mod tests {
    use kernels_backend::{Epilogue, WeightFormat};

    use super::*;
    use crate::testing::{Differences, noise, packed, stream, tensor, undefined, values};

    #[test]
    fn gradient_agrees_with_differences_of_the_epilogue_for_every_activation() {
        // Away from the kinks at −3, 0, 3 and 6 by more than the two steps of 2⁻⁵ a difference takes.
        let x = [-4.1, -2.8, -1.0, -0.3, 0.2, 0.9, 2.7, 3.4, 6.5];
        let dy = noise(1, x.len());
        let identity = packed([1, 1], &[1.0], None, WeightFormat::F32);
        for &(name, activation) in Activation::names() {
            let mut d = tensor([x.len(), 1], &dy);
            stream().activation_backward(activation, &tensor([x.len(), 1], &x), &mut d).unwrap();
            // The steepest is the Laplace distribution with a width of 0.28: the fourth derivative of its density
            // is at most 3/(√(2π)·0.28⁵) = 695.
            Differences::smooth(700.0).check(name, &values(&d), &x, &dy, |x| {
                let mut y = undefined([x.len(), 1]);
                let x = tensor([x.len(), 1], x);
                let epilogue = Epilogue::activation(activation);
                stream().linear((&x).into(), &identity, epilogue, (&mut y).into()).unwrap();
                values(&y)
            });
        }
    }

    #[test]
    fn nan_reaches_the_gradient() {
        let mut d = tensor([2], &[1.0, f32::NAN]);
        stream().activation_backward(Activation::Gelu, &tensor([2], &[f32::NAN, 1.0]), &mut d).unwrap();
        assert!(values(&d).iter().all(|d| d.is_nan()));
    }
}
