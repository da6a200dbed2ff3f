//! `write`, `read` and `zero`: between host and tensor.

use kernels_backend::{DType, Error, Result, Tensor, View, check};

use crate::{arithmetic::round, storage};

pub(crate) fn write(src: &View<'_>, dst: &mut Tensor) -> Result<()> {
    const OP: &str = "write";
    check::shape(OP, "destination", dst, src.shape())?;
    let dtype = dst.dtype();
    if dtype == DType::I32 {
        let found = src.dtype();
        let Some(values) = src.to_i32() else {
            return Err(Error::DType { op: OP, operand: "source", expected: dtype, found });
        };
        storage::integers_mut(OP, "destination", dst)?.copy_from_slice(&values);
        return Ok(());
    }
    if src.dtype() == DType::I32 {
        return Err(Error::DType { op: OP, operand: "source", expected: dtype, found: DType::I32 });
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
        DType::I32 => {
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
        DType::I32 => storage::integers_mut(OP, "tensor", tensor)?.fill(0),
        _ => storage::floats_mut(OP, "tensor", tensor)?.elements.fill(0.0),
    }
    Ok(())
}
