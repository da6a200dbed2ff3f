//! `broadcast_rows`: `dst[b, i] [+]= row[i mod R]`, and `sum_rows`, the gradient for one row.

use kernels_backend::{Result, Rows, RowsMut, Tensor, Write, check};

use crate::{arithmetic::add_scaled, storage};

pub(crate) fn broadcast_rows(row: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
    const OP: &str = "broadcast_rows";
    let count = check::broadcast_rows(row, dst.dims)?;
    let (total, rows) = (dst.dims.total(), dst.dims.rows);
    let table = storage::rows(OP, "row", row.into())?;
    let mut dst = storage::rows_mut(OP, "destination", dst)?;
    for i in 0..total {
        dst.store(i, write, table.row(i % rows % count).iter().map(|&x| f64::from(x)));
    }
    Ok(())
}

pub(crate) fn sum_rows(dy: Rows<'_>, drow: &mut Tensor) -> Result<()> {
    const OP: &str = "sum_rows";
    check::shape(OP, "row gradient", drow, &[dy.dims.width])?;
    let (total, width) = (dy.dims.total(), dy.dims.width);
    let dy = storage::rows(OP, "dy", dy)?;
    let mut drow = storage::floats_mut(OP, "row gradient", drow)?;
    let mut sum = vec![0.0; width];
    for i in 0..total {
        add_scaled(&mut sum, 1.0, dy.row(i));
    }
    drow.store_all(0, Write::Accumulate, sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernels_backend::Rows;

    use super::*;
    use crate::testing::{stream, tensor, undefined, values, zeros};

    #[test]
    fn one_row_goes_to_the_last_rows_of_every_sample() {
        let mut dst = zeros([2, 3, 2]);
        let rows = RowsMut::range(&mut dst, 1..3).unwrap();
        stream().broadcast_rows(&tensor([2], &[1.0, 2.0]), Write::Replace, rows).unwrap();
        let sample = [0.0, 0.0, 1.0, 2.0, 1.0, 2.0];
        assert_eq!(values(&dst), [sample, sample].concat());
    }

    #[test]
    fn a_table_is_added_to_every_sample_and_repeated_within_one() {
        let mut dst = tensor([2, 4, 1], &[100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0]);
        let table = tensor([2, 1], &[1.0, 2.0]);
        stream().broadcast_rows(&table, Write::Accumulate, (&mut dst).into()).unwrap();
        assert_eq!(values(&dst), [101.0, 202.0, 301.0, 402.0, 501.0, 602.0, 701.0, 802.0]);
    }

    #[test]
    fn rows_that_do_not_divide_are_refused() {
        let error = stream()
            .broadcast_rows(&tensor([2, 1], &[0.0; 2]), Write::Replace, (&mut zeros([1, 3, 1])).into())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "broadcast_rows: expected rows of 1 whose number divides 3, found (2, 1)"
        );
    }

    #[test]
    fn sum_rows_accumulates_over_samples_and_rows() {
        let dy = tensor([2, 3, 2], &[9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 9.0, 9.0, 5.0, 6.0, 7.0, 8.0]);
        let mut drow = tensor([2], &[100.0, 200.0]);
        stream().sum_rows(Rows::range(&dy, 1..3).unwrap(), &mut drow).unwrap();
        assert_eq!(values(&drow), [116.0, 220.0]);
        stream().sum_rows((&undefined([2, 0, 2])).into(), &mut drow).unwrap();
        assert_eq!(values(&drow), [116.0, 220.0]);
    }
}
