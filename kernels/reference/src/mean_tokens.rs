//! `mean_tokens`: the mean over the rows of each sample, and its gradient.

use kernels_backend::{Result, Rows, RowsMut, Tensor, Write, check};

use crate::{arithmetic::add_scaled, storage};

pub(crate) fn mean_tokens(x: Rows<'_>, y: &mut Tensor) -> Result<()> {
    const OP: &str = "mean_tokens";
    check::mean_tokens(OP, x.dims, y)?;
    let dims = x.dims;
    let x = storage::rows(OP, "x", x)?;
    let mut y = storage::floats_mut(OP, "mean", y)?;
    for sample in 0..dims.batch {
        let mut sum = vec![0.0; dims.width];
        for row in 0..dims.rows {
            add_scaled(&mut sum, 1.0, x.row(sample * dims.rows + row));
        }
        let mean = sum.into_iter().map(|sum| sum / dims.rows as f64);
        y.store_all(sample * dims.width, Write::Replace, mean);
    }
    Ok(())
}

pub(crate) fn mean_tokens_backward(dy: &Tensor, dx: RowsMut<'_>) -> Result<()> {
    const OP: &str = "mean_tokens_backward";
    check::mean_tokens(OP, dx.dims, dy)?;
    let dims = dx.dims;
    let dy = storage::floats(OP, "mean gradient", dy)?;
    let mut dx = storage::rows_mut(OP, "x gradient", dx)?;
    for i in 0..dims.total() {
        let start = i / dims.rows * dims.width;
        let dy = &dy[start..start + dims.width];
        dx.store(i, Write::Replace, dy.iter().map(|&dy| f64::from(dy) / dims.rows as f64));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Differences, cases, noise, stream, tensor, undefined, values, zeros};

    #[test]
    fn samples_are_averaged_apart_over_the_rows_seen() {
        let x = tensor([2, 3, 1], &[1.0, 2.0, 99.0, 3.0, 5.0, 99.0]);
        let mut y = undefined([2, 1]);
        stream().mean_tokens(Rows::range(&x, 0..2).unwrap(), &mut y).unwrap();
        assert_eq!(values(&y), [1.5, 4.0]);
    }

    #[test]
    fn the_mean_of_no_rows_is_an_error_not_nan() {
        let error = stream().mean_tokens((&undefined([1, 0, 2])).into(), &mut undefined([1, 2])).unwrap_err();
        assert_eq!(error.to_string(), "mean_tokens: expected at least one row in a sample, found none");
    }

    #[test]
    fn nan_spoils_its_column_only() {
        let mut y = undefined([1, 2]);
        stream().mean_tokens((&tensor([1, 2, 2], &[f32::NAN, 1.0, 1.0, 3.0])).into(), &mut y).unwrap();
        let y = values(&y);
        assert!(y[0].is_nan() && y[1] == 2.0, "{y:?}");
    }

    #[test]
    fn backward_writes_the_rows_seen_only() {
        let mut dx = zeros([1, 3, 1]);
        let dy = tensor([1, 1], &[1.0]);
        stream().mean_tokens_backward(&dy, RowsMut::range(&mut dx, 1..3).unwrap()).unwrap();
        assert_eq!(values(&dx), [0.0, 0.5, 0.5]);
    }

    proptest! {
        #![proptest_config(cases(16))]

        #[test]
        fn gradient_agrees_with_differences(
            batch in 0usize..3, rows in 1usize..5, width in 1usize..4, seed: u64,
        ) {
            let (x, dy) = (noise(seed, batch * rows * width), noise(!seed, batch * width));
            let mut dx = undefined([batch, rows, width]);
            stream().mean_tokens_backward(&tensor([batch, width], &dy), (&mut dx).into()).unwrap();
            Differences::POLYNOMIAL.check("dx", &values(&dx), &x, &dy, |x| {
                let mut y = undefined([batch, width]);
                stream().mean_tokens((&tensor([batch, rows, width], x)).into(), &mut y).unwrap();
                values(&y)
            });
        }
    }
}
