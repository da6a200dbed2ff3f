//! `cast` and `add`: rows to rows, `dst [+]= src`.

use kernels_backend::{Result, Rows, RowsMut, Write, check};

use crate::storage;

pub(crate) fn cast(src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
    copy("cast", src, Write::Replace, dst)
}

pub(crate) fn add(src: Rows<'_>, dst: RowsMut<'_>) -> Result<()> {
    copy("add", src, Write::Accumulate, dst)
}

fn copy(op: &'static str, src: Rows<'_>, write: Write, dst: RowsMut<'_>) -> Result<()> {
    check::same_rows(op, src.dims, dst.dims)?;
    let total = src.dims.total();
    let src = storage::rows(op, "source", src)?;
    let mut dst = storage::rows_mut(op, "destination", dst)?;
    for row in 0..total {
        dst.store(row, write, src.row(row).iter().map(|&x| f64::from(x)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernels_backend::{DType, Error, Rows, RowsMut};

    use crate::testing::{integers, stream, tensor, typed, undefined, values, zeros};

    #[test]
    fn cast_rounds_to_the_destination_and_add_rounds_the_sum_once() {
        let src = tensor([2], &[1.0 + 1.0 / 256.0 + 1.0 / 4096.0, -3.0]);
        let mut dst = typed([2], DType::Bf16, &[1.0, 2.0]);
        stream().add((&src).into(), (&mut dst).into()).unwrap();
        assert_eq!(values(&dst), [2.0, -1.0]);
        stream().cast((&src).into(), (&mut dst).into()).unwrap();
        assert_eq!(values(&dst), [1.0 + 1.0 / 128.0, -3.0]);
    }

    #[test]
    fn ranges_of_rows_are_moved_and_the_rest_is_left_alone() {
        // Two samples of three rows of one element; the last two rows go to the first two of four.
        let src = tensor([2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut dst = zeros([2, 4, 1]);
        let range = Rows::range(&src, 1..3).unwrap();
        stream().cast(range, RowsMut::range(&mut dst, 0..2).unwrap()).unwrap();
        assert_eq!(values(&dst), [2.0, 3.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0]);
    }

    #[test]
    fn samples_may_be_split_differently() {
        let src = tensor([3, 1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut dst = undefined([3, 2]);
        stream().cast((&src).into(), (&mut dst).into()).unwrap();
        assert_eq!(values(&dst), values(&src));
    }

    #[test]
    fn a_video_is_cast_whole_although_it_has_five_dimensions() {
        let video = tensor([1, 2, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let mut copy = undefined([1, 2, 1, 2, 2]);
        stream().cast((&video).into(), (&mut copy).into()).unwrap();
        assert_eq!(values(&copy), values(&video));
    }

    #[test]
    fn integers_are_refused() {
        let error = stream().cast((&integers([1], &[1])).into(), (&mut zeros([1])).into()).unwrap_err();
        assert_eq!(
            error,
            Error::DType { op: "cast", operand: "source", expected: DType::F32, found: DType::I32 }
        );
    }
}
