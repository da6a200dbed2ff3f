//! `gather_rows`: `dst[b, i] [+]= table[indices[b, i]]`.

use kernels_backend::{Result, RowsMut, Tensor, Write, check};

use crate::storage;

pub(crate) fn gather_rows(table: &Tensor, indices: &Tensor, write: Write, dst: RowsMut<'_>) -> Result<()> {
    const OP: &str = "gather_rows";
    let count = check::gather_rows(table, indices, dst.dims)?;
    let indices = storage::integers(OP, "indices", indices)?;
    check::indices(OP, indices, count)?;
    let table = storage::rows(OP, "table", table.into())?;
    let mut dst = storage::rows_mut(OP, "destination", dst)?;
    for (row, &index) in indices.iter().enumerate() {
        dst.store(row, write, table.row(index as usize).iter().map(|&x| f64::from(x)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernels_backend::{DType, Error};

    use super::*;
    use crate::testing::{integers, stream, tensor, typed, undefined, values, zeros};

    fn table() -> Tensor {
        tensor([3, 2], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0])
    }

    #[test]
    fn rows_are_taken_per_sample_and_may_repeat() {
        let mut dst = undefined([2, 2, 2]);
        let indices = integers([2, 2], &[2, 0, 1, 1]);
        stream().gather_rows(&table(), &indices, Write::Replace, (&mut dst).into()).unwrap();
        assert_eq!(values(&dst), [20.0, 21.0, 0.0, 1.0, 10.0, 11.0, 10.0, 11.0]);
    }

    #[test]
    fn accumulating_into_a_range_leaves_the_other_rows() {
        let mut dst = tensor([2, 2, 2], &[1.0; 8]);
        let rows = RowsMut::range(&mut dst, 1..2).unwrap();
        stream().gather_rows(&table(), &integers([2, 1], &[1, 2]), Write::Accumulate, rows).unwrap();
        assert_eq!(values(&dst), [1.0, 1.0, 11.0, 12.0, 1.0, 1.0, 21.0, 22.0]);
    }

    #[test]
    fn the_sum_is_rounded_to_the_destination() {
        let mut dst = typed([1, 1], DType::Bf16, &[256.0]);
        // bf16 has eight bits: 257 is a tie that goes to 256, and 259 one that goes to 260.
        for (row, expected) in [(0, 256.0), (1, 260.0)] {
            let table = tensor([2, 1], &[1.0, 3.0]);
            let indices = integers([1, 1], &[row]);
            stream().gather_rows(&table, &indices, Write::Accumulate, (&mut dst).into()).unwrap();
            assert_eq!(values(&dst), [expected]);
        }
    }

    #[test]
    fn an_index_outside_the_table_is_named_and_nothing_is_written() {
        for bad in [3, -1, i32::MIN] {
            let mut dst = zeros([1, 2, 2]);
            let indices = integers([1, 2], &[1, bad]);
            let error =
                stream().gather_rows(&table(), &indices, Write::Replace, (&mut dst).into()).unwrap_err();
            assert_eq!(error, Error::Index { op: "gather_rows", index: bad.into(), bound: 3 });
            assert_eq!(values(&dst), [0.0; 4]);
        }
    }

    #[test]
    fn no_indices_write_nothing() {
        let mut dst = undefined([2, 0, 2]);
        stream().gather_rows(&table(), &integers([2, 0], &[]), Write::Replace, (&mut dst).into()).unwrap();
    }
}
