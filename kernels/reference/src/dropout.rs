//! `dropout`: in place, forward and backward alike.

use kernels_backend::{Dropout, Result, Tensor, Write, check};

use crate::storage;

pub(crate) fn dropout(x: &mut Tensor, dropout: Dropout) -> Result<()> {
    const OP: &str = "dropout";
    check::dropout(OP, dropout)?;
    let mut x = storage::floats_mut(OP, "x", x)?;
    for i in 0..x.elements.len() {
        x.store(i, Write::Replace, f64::from(x.elements[i]) * f64::from(dropout.factor(i as u64)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{noise, stream, tensor, values};

    #[test]
    fn elements_are_multiplied_by_their_factor_forward_and_backward_alike() {
        let dropout = Dropout { probability: 0.5, seed: 3 };
        let x = noise(1, 100);
        let mut forward = tensor([10, 10], &x);
        stream().dropout(&mut forward, dropout).unwrap();
        let expected: Vec<f32> = x.iter().enumerate().map(|(i, x)| x * dropout.factor(i as u64)).collect();
        assert_eq!(values(&forward), expected);

        // The gradient of a sum of the outputs is the mask.
        let mut gradient = tensor([100], &[1.0; 100]);
        stream().dropout(&mut gradient, dropout).unwrap();
        let mask: Vec<f32> = (0..100).map(|i| dropout.factor(i)).collect();
        assert_eq!(values(&gradient), mask);
        assert!(mask.contains(&0.0) && mask.contains(&2.0));
    }

    #[test]
    fn probability_zero_changes_nothing_and_one_is_refused() {
        let mut x = tensor([3], &[1.0, f32::INFINITY, -0.1]);
        stream().dropout(&mut x, Dropout { probability: 0.0, seed: 1 }).unwrap();
        assert_eq!(values(&x), [1.0, f32::INFINITY, -0.1]);
        for probability in [1.0, -0.1, f32::NAN] {
            let error = stream().dropout(&mut x, Dropout { probability, seed: 1 }).unwrap_err();
            assert!(
                error.to_string().starts_with("dropout: expected a dropout probability in [0, 1)"),
                "{error}"
            );
        }
    }
}
