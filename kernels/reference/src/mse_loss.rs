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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::testing::{Differences, cases, noise, stream, tensor, undefined, values};

    #[test]
    fn two_elements_by_hand() {
        let (mut loss, mut gradient) = (undefined([1]), undefined([1, 2]));
        let (x, target) = (tensor([1, 2], &[1.0, 5.0]), tensor([1, 2], &[2.0, 2.0]));
        stream().mse_loss(&x, &target, &mut loss, Some(&mut gradient)).unwrap();
        assert_eq!((values(&loss), values(&gradient)), (vec![5.0], vec![-1.0, 3.0]));
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let (mut loss, x) = (undefined([1]), undefined([2]));
        let error = stream().mse_loss(&x, &undefined([1, 2]), &mut loss, None).unwrap_err();
        assert_eq!(error.to_string(), "mse_loss: expected a target of shape (2), found (1, 2)");
        let error = stream().mse_loss(&undefined([0]), &undefined([0]), &mut loss, None).unwrap_err();
        assert_eq!(error.to_string(), "mse_loss: expected at least one element, found (0)");
    }

    proptest! {
        #![proptest_config(cases(16))]

        #[test]
        fn gradient_agrees_with_differences(count in 1usize..9, seed: u64) {
            let (x, target) = (noise(seed, count), tensor([count], &noise(!seed, count)));
            let (mut loss, mut gradient) = (undefined([1]), undefined([count]));
            stream().mse_loss(&tensor([count], &x), &target, &mut loss, Some(&mut gradient)).unwrap();
            Differences::POLYNOMIAL.check("dx", &values(&gradient), &x, &[1.0], |x| {
                let mut loss = undefined([1]);
                stream().mse_loss(&tensor([count], x), &target, &mut loss, None).unwrap();
                values(&loss)
            });
        }
    }
}
