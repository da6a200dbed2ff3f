//! `write`, `read` and `zero`: between host and tensor.

use kernels_backend::{DType, Error, Result, Tensor, View, check};

use crate::{arithmetic::round, storage};

pub(crate) fn write(src: &View<'_>, dst: &mut Tensor) -> Result<()> {
    const OP: &str = "write";
    check::shape(OP, "destination", dst, src.shape())?;
    let dtype = dst.dtype();
    check::converts(OP, "source", src.dtype(), dtype)?;
    if !dtype.is_float() {
        let elements = storage::integers_mut(OP, "destination", dst)?;
        match src.to_i32() {
            Some(values) => elements.copy_from_slice(&values),
            None => elements.iter_mut().zip(src.bytes()).for_each(|(to, &level)| *to = level.into()),
        }
        return Ok(());
    }
    let dst = storage::floats_mut(OP, "destination", dst)?;
    src.read_f32(0, dst.elements);
    for element in dst.elements {
        *element = round(dtype, f64::from(*element));
    }
    Ok(())
}

pub(crate) fn read(src: &Tensor, dst: &mut [f32]) -> Result<()> {
    const OP: &str = "read";
    let elements = src.shape().elements();
    if dst.len() != elements {
        return Err(Error::Shape {
            op: OP,
            expected: format!("a destination of {elements} elements"),
            found: dst.len().to_string(),
        });
    }
    match src.dtype() {
        DType::I32 | DType::U8 => {
            let src = storage::integers(OP, "source", src)?;
            dst.iter_mut().zip(src).for_each(|(dst, &src)| *dst = src as f32);
        }
        _ => dst.copy_from_slice(storage::floats(OP, "source", src)?),
    }
    Ok(())
}

pub(crate) fn zero(tensor: &mut Tensor) -> Result<()> {
    const OP: &str = "zero";
    match tensor.dtype() {
        DType::I32 | DType::U8 => storage::integers_mut(OP, "tensor", tensor)?.fill(0),
        _ => storage::floats_mut(OP, "tensor", tensor)?.elements.fill(0.0),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernels_backend::{Backend as _, Layout, Shape};

    use super::*;
    use crate::{
        ReferenceBackend,
        testing::{integers, stream, tensor, typed, undefined, values},
    };

    #[test]
    fn write_converts_between_float_types_and_read_widens() {
        let halves: Vec<u8> =
            [0.5f32, -2.0].iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
        let mut t = undefined([2]);
        stream().write(&View::new([2], DType::F16, &halves).unwrap(), &mut t).unwrap();
        assert_eq!(values(&t), [0.5, -2.0]);
        // 0.1 in bf16 has eight bits: 205/2048.
        assert_eq!(values(&typed([1], DType::Bf16, &[0.1])), [205.0 / 2048.0]);
    }

    #[test]
    fn integers_and_floats_do_not_mix() {
        let mut floats = undefined([1]);
        let error = stream().write(&View::i32([1], &[1]).unwrap(), &mut floats).unwrap_err();
        assert_eq!(error.to_string(), "write: expected source of type f32, found i32");
        let error = stream().write(&View::f32([1], &[1.0]).unwrap(), &mut integers([1], &[0])).unwrap_err();
        assert_eq!(error.to_string(), "write: expected source of type i32, found f32");
        assert_eq!(values(&integers([2], &[-100, 7])), [-100.0, 7.0]);
    }

    #[test]
    fn upload_keeps_the_type() {
        let view = View::new([1], DType::Bf16, &[0x80, 0x3f]).unwrap();
        let t = ReferenceBackend.upload(&view).unwrap();
        assert_eq!((t.dtype(), values(&t)), (DType::Bf16, vec![1.0]));
    }

    #[test]
    fn sizes_that_differ_are_refused() {
        let error =
            stream().write(&View::f32([2], &[1.0, 2.0]).unwrap(), &mut undefined([1, 2])).unwrap_err();
        assert_eq!(error.to_string(), "write: expected destination of shape (2), found (1, 2)");
        let error = stream().read(&undefined([3]), &mut [0.0; 2]).unwrap_err();
        assert_eq!(error.to_string(), "read: expected a destination of 3 elements, found 2");
    }

    #[test]
    fn resize_stays_within_the_memory_and_leaves_nothing_to_read() {
        let mut t = tensor([2, 3], &[1.0; 6]);
        stream().resize(&mut t, [4].into()).unwrap();
        assert_eq!(t.shape(), &Shape::from([4]));
        assert!(values(&t).iter().all(|x| x.is_nan()));
        // Shrinking loses no memory.
        stream().resize(&mut t, [3, 2].into()).unwrap();
        let error = stream().resize(&mut t, [7].into()).unwrap_err();
        assert_eq!(error.to_string(), "resize: expected at most 6 elements, found (7)");
        let error = stream().resize(&mut t, [usize::MAX, 2].into()).unwrap_err();
        assert!(matches!(error, Error::Shape { op: "resize", .. }));
        assert_eq!(t.shape(), &Shape::from([3, 2]));
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        for shape in [Shape::from([usize::MAX]), Shape::from([usize::MAX, usize::MAX])] {
            let error = stream().alloc(shape, DType::F32, Layout::Rows).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory { bytes: usize::MAX, .. }), "{error}");
        }
    }

    #[test]
    fn undefined_contents_show_when_they_are_read() {
        assert!(values(&undefined([1]))[0].is_nan());
        let mut t = undefined([2]);
        stream().zero(&mut t).unwrap();
        assert_eq!(values(&t), [0.0, 0.0]);
        let mut t = integers([2], &[3, 4]);
        stream().zero(&mut t).unwrap();
        assert_eq!(values(&t), [0.0, 0.0]);
    }
}
