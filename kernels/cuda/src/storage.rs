//! Tensors in device memory: dense, row-major, in their own element type.

use bytemuck::NoUninit;
use kernels_backend::{DType, Error, Layout, Result, RowDims, Rows, RowsMut, Shape, Storage, Tensor, check};

use crate::{
    device::Device,
    memory::{Address, Memory},
};

/// The memory of a tensor.
pub(crate) struct CudaStorage {
    pub(crate) memory: Memory,
    /// Of integers, a copy on the host: they come from there only, and ops check indices without asking the device.
    pub(crate) integers: Vec<i32>,
}

impl Storage for CudaStorage {}

/// The bytes of a tensor.
pub(crate) fn bytes(shape: &Shape, dtype: DType) -> Option<usize> {
    shape.checked_elements()?.checked_mul(dtype.size())
}

/// Whether a layout suits a shape.
pub(crate) fn check_layout(op: &'static str, shape: &Shape, dtype: DType, layout: Layout) -> Result<()> {
    let Layout::Heads { num_heads } = layout else { return Ok(()) };
    if dtype.is_float() && shape.len() == 3 && num_heads > 0 && shape[2].is_multiple_of(3 * num_heads) {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        expected: format!("floats of shape (B, N, 3·D) with D a multiple of {num_heads} heads"),
        found: format!("{shape} {dtype}"),
    })
}

/// The storage of a tensor of this device.
pub(crate) fn storage<'a>(op: &'static str, tensor: &'a Tensor, device: &Device) -> Result<&'a CudaStorage> {
    let storage = tensor.storage::<CudaStorage>(op, &device.name)?;
    if storage.memory.device.ordinal == device.ordinal {
        return Ok(storage);
    }
    Err(Error::Foreign { op, expected: device.name.clone() })
}

/// As [`storage`], to write to.
pub(crate) fn storage_mut<'a>(
    op: &'static str,
    tensor: &'a mut Tensor,
    device: &Device,
) -> Result<&'a mut CudaStorage> {
    storage(op, tensor, device)?;
    tensor.storage_mut::<CudaStorage>(op, &device.name)
}

/// The number of a float type in `types.h`.
pub(crate) fn type_code(op: &'static str, operand: &'static str, dtype: DType) -> Result<i32> {
    match dtype {
        DType::F32 => Ok(0),
        DType::Bf16 => Ok(1),
        DType::F16 => Ok(2),
        found => Err(Error::DType { op, operand, expected: DType::F32, found }),
    }
}

/// `Rows` of rows.h.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
pub(crate) struct RowsArgument {
    pub(crate) data: Address,
    /// Elements between two rows.
    pub(crate) stride: i64,
    rows: i32,
    rows_per_sample: i32,
    offset: i32,
    pub(crate) dtype: i32,
}

impl RowsArgument {
    /// Rows of `dims` in memory of this type.
    pub(crate) fn new(
        op: &'static str,
        data: Address,
        stride: usize,
        dims: RowDims,
        dtype: i32,
    ) -> Result<Self> {
        Ok(Self {
            data,
            stride: stride as i64,
            // No rows are seen, but rows are divided by.
            rows: int(op, dims.rows.max(1))?,
            rows_per_sample: int(op, dims.rows_per_sample)?,
            offset: int(op, dims.offset)?,
            dtype,
        })
    }

    /// The same rows of no tensor.
    pub(crate) fn without_data(self) -> Self {
        Self { data: 0, ..self }
    }

    /// The address of the first row.
    pub(crate) fn first(&self) -> Address {
        let size = if self.dtype == 0 { 4 } else { 2 };
        self.data + i64::from(self.offset) as Address * self.stride as Address * size
    }

    /// Whether groups of four elements are aligned in every row of `width`.
    pub(crate) fn is_in_fours(&self, width: usize) -> bool {
        width.is_multiple_of(4) && self.stride % 4 == 0
    }
}

/// A size, as kernels count rows and columns. Offsets in memory are 64 bits there.
pub(crate) fn int(op: &'static str, size: usize) -> Result<i32> {
    i32::try_from(size).map_err(|_| Error::Shape {
        op,
        expected: format!("sizes up to {}", i32::MAX),
        found: size.to_string(),
    })
}

/// Elements that a thread moves at once: 4 where all rows allow it.
pub(crate) fn elements_at_once(width: usize, rows: &[&RowsArgument]) -> usize {
    if rows.iter().all(|rows| rows.is_in_fours(width)) { 4 } else { 1 }
}

/// The rows an op reads.
pub(crate) fn rows(
    op: &'static str,
    operand: &'static str,
    rows: &Rows<'_>,
    device: &Device,
) -> Result<RowsArgument> {
    view(op, operand, rows.tensor, rows.dims, device)
}

/// The rows an op writes.
pub(crate) fn rows_mut(
    op: &'static str,
    operand: &'static str,
    rows: &RowsMut<'_>,
    device: &Device,
) -> Result<RowsArgument> {
    view(op, operand, rows.tensor, rows.dims, device)
}

fn view(
    op: &'static str,
    operand: &'static str,
    tensor: &Tensor,
    dims: RowDims,
    device: &Device,
) -> Result<RowsArgument> {
    if tensor.layout() != Layout::Rows || !dims.fit(tensor.shape().elements()) {
        return Err(Error::Shape {
            op,
            expected: format!("{operand} laid out in rows"),
            found: format!("{} laid out as {:?}, {dims:?}", tensor.shape(), tensor.layout()),
        });
    }
    let data = storage(op, tensor, device)?.memory.address;
    RowsArgument::new(op, data, dims.width, dims, type_code(op, operand, tensor.dtype())?)
}

/// The address of a tensor of f32, whatever its layout.
pub(crate) fn floats(
    op: &'static str,
    operand: &'static str,
    tensor: &Tensor,
    device: &Device,
) -> Result<Address> {
    check::dtype(op, operand, tensor, DType::F32)?;
    Ok(storage(op, tensor, device)?.memory.address)
}

/// Integers: their address, and their values.
pub(crate) fn integers<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a Tensor,
    device: &Device,
) -> Result<(Address, &'a [i32])> {
    check::dtype(op, operand, tensor, DType::I32)?;
    let storage = storage(op, tensor, device)?;
    let count = tensor.shape().elements();
    let values = storage.integers.get(..count).ok_or_else(|| Error::Shape {
        op,
        expected: format!("{operand} that were written"),
        found: format!("{} of {count} integers", storage.integers.len()),
    })?;
    Ok((storage.memory.address, values))
}
