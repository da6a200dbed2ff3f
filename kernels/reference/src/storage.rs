//! Where elements live, and the only way in and out of them.
//!
//! Every tensor is row-major whatever layout was asked for. A float tensor of any type is a `Vec<f32>` whose
//! elements are already rounded to that type, so that ops read plain numbers and only a store rounds. Integers of any type
//! are a `Vec<i32>`.

use kernels_backend::{DType, Error, Layout, Result, RowDims, Rows, RowsMut, Shape, Storage, Tensor, Write};

use crate::arithmetic::round;

/// The name of the backend, for errors.
pub(crate) const NAME: &str = "reference";

/// Contents after `alloc` and `resize` are undefined; here they are values that show when they are read.
const UNDEFINED_FLOAT: f32 = f32::NAN;
const UNDEFINED_INTEGER: i32 = i32::MIN;

/// As many elements as the tensor had when it was allocated; a smaller shape uses the first of them.
pub(crate) enum Memory {
    Floats(Vec<f32>),
    Integers(Vec<i32>),
}

impl Storage for Memory {}

/// A tensor of undefined contents.
pub(crate) fn alloc(shape: Shape, dtype: DType, layout: Layout) -> Result<Tensor> {
    let memory = match dtype {
        DType::I32 | DType::U8 => reserve(shape, UNDEFINED_INTEGER).map(Memory::Integers),
        _ => reserve(shape, UNDEFINED_FLOAT).map(Memory::Floats),
    };
    Ok(Tensor::from_storage(shape, dtype, layout, memory?))
}

fn reserve<T: Copy>(shape: Shape, fill: T) -> Result<Vec<T>> {
    let count = shape.checked_elements().unwrap_or(usize::MAX);
    let mut elements = Vec::new();
    elements.try_reserve_exact(count).map_err(|_| Error::OutOfMemory {
        backend: NAME.to_owned(),
        bytes: count.saturating_mul(size_of::<T>()),
        shape: shape.to_string(),
        free: None,
    })?;
    elements.resize(count, fill);
    Ok(elements)
}

/// Gives a tensor a new shape within its memory, of undefined contents.
pub(crate) fn resize(tensor: &mut Tensor, shape: Shape) -> Result<()> {
    const OP: &str = "resize";
    match tensor.storage_mut::<Memory>(OP, NAME)? {
        Memory::Floats(elements) => first_mut(OP, elements, &shape)?.fill(UNDEFINED_FLOAT),
        Memory::Integers(elements) => first_mut(OP, elements, &shape)?.fill(UNDEFINED_INTEGER),
    }
    tensor.set_shape(shape);
    Ok(())
}

/// The elements of a float tensor.
pub(crate) fn floats<'a>(op: &'static str, operand: &'static str, tensor: &'a Tensor) -> Result<&'a [f32]> {
    match tensor.storage(op, NAME)? {
        Memory::Floats(elements) => first(op, elements, tensor.shape()),
        Memory::Integers(_) => Err(wrong_type(op, operand, DType::F32, tensor.dtype())),
    }
}

/// The elements of a tensor of indices, labels or levels.
pub(crate) fn integers<'a>(op: &'static str, operand: &'static str, tensor: &'a Tensor) -> Result<&'a [i32]> {
    match tensor.storage(op, NAME)? {
        Memory::Integers(elements) => first(op, elements, tensor.shape()),
        Memory::Floats(_) => Err(wrong_type(op, operand, DType::I32, tensor.dtype())),
    }
}

/// The elements of an integer tensor, to write to.
pub(crate) fn integers_mut<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a mut Tensor,
) -> Result<&'a mut [i32]> {
    let (shape, dtype) = (*tensor.shape(), tensor.dtype());
    match tensor.storage_mut(op, NAME)? {
        Memory::Integers(elements) => first_mut(op, elements, &shape),
        Memory::Floats(_) => Err(wrong_type(op, operand, DType::I32, dtype)),
    }
}

/// The elements of a float tensor, to write to.
pub(crate) fn floats_mut<'a>(
    op: &'static str,
    operand: &'static str,
    tensor: &'a mut Tensor,
) -> Result<FloatsMut<'a>> {
    let (shape, dtype) = (*tensor.shape(), tensor.dtype());
    match tensor.storage_mut(op, NAME)? {
        Memory::Floats(elements) => Ok(FloatsMut { elements: first_mut(op, elements, &shape)?, dtype }),
        Memory::Integers(_) => Err(wrong_type(op, operand, DType::F32, dtype)),
    }
}

/// The rows an op reads.
pub(crate) fn rows<'a>(op: &'static str, operand: &'static str, rows: Rows<'a>) -> Result<RowsRead<'a>> {
    let elements = floats(op, operand, rows.tensor)?;
    fit(op, operand, rows.dims, elements.len())?;
    Ok(RowsRead { elements, dims: rows.dims })
}

/// The rows an op writes.
pub(crate) fn rows_mut<'a>(
    op: &'static str,
    operand: &'static str,
    rows: RowsMut<'a>,
) -> Result<RowsWrite<'a>> {
    let out = floats_mut(op, operand, rows.tensor)?;
    fit(op, operand, rows.dims, out.elements.len())?;
    Ok(RowsWrite { out, dims: rows.dims })
}

/// Floats to write to. Results come in f64 and are rounded to the tensor's type here, once.
pub(crate) struct FloatsMut<'a> {
    pub(crate) elements: &'a mut [f32],
    dtype: DType,
}

impl FloatsMut<'_> {
    /// `[index] [+]= value`.
    pub(crate) fn store(&mut self, index: usize, write: Write, value: f64) {
        let value = match write {
            Write::Replace => value,
            Write::Accumulate => f64::from(self.elements[index]) + value,
        };
        self.elements[index] = round(self.dtype, value);
    }

    /// As [`FloatsMut::store`], for consecutive elements from `start` on.
    pub(crate) fn store_all(&mut self, start: usize, write: Write, values: impl IntoIterator<Item = f64>) {
        for (i, value) in values.into_iter().enumerate() {
            self.store(start + i, write, value);
        }
    }
}

/// Rows to read, numbered through all samples.
pub(crate) struct RowsRead<'a> {
    elements: &'a [f32],
    dims: RowDims,
}

impl<'a> RowsRead<'a> {
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        let start = start(self.dims, row);
        &self.elements[start..start + self.dims.width]
    }
}

/// Rows to write, numbered through all samples.
pub(crate) struct RowsWrite<'a> {
    out: FloatsMut<'a>,
    dims: RowDims,
}

impl RowsWrite<'_> {
    /// `row [+]= values`.
    pub(crate) fn store(&mut self, row: usize, write: Write, values: impl IntoIterator<Item = f64>) {
        self.out.store_all(start(self.dims, row), write, values);
    }
}

/// The flat index of the first element of a row.
fn start(dims: RowDims, row: usize) -> usize {
    dims.memory_row(row / dims.rows, row % dims.rows) * dims.width
}

fn fit(op: &'static str, operand: &str, dims: RowDims, elements: usize) -> Result<()> {
    if dims.fit(elements) {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        expected: format!("rows of {operand} that lie in its {elements} elements"),
        found: format!("{dims:?}"),
    })
}

/// The elements that `shape` uses.
fn first<'a, T>(op: &'static str, elements: &'a [T], shape: &Shape) -> Result<&'a [T]> {
    let count = shape.checked_elements().unwrap_or(usize::MAX);
    elements.get(..count).ok_or_else(|| too_large(op, elements.len(), shape))
}

fn first_mut<'a, T>(op: &'static str, elements: &'a mut [T], shape: &Shape) -> Result<&'a mut [T]> {
    let (count, held) = (shape.checked_elements().unwrap_or(usize::MAX), elements.len());
    elements.get_mut(..count).ok_or_else(|| too_large(op, held, shape))
}

fn too_large(op: &'static str, held: usize, shape: &Shape) -> Error {
    Error::Shape { op, expected: format!("at most {held} elements"), found: shape.to_string() }
}

fn wrong_type(op: &'static str, operand: &'static str, expected: DType, found: DType) -> Error {
    Error::DType { op, operand, expected, found }
}
