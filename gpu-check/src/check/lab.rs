//! Where an op is tried: on the backend under test, with its outputs poisoned and guarded, or on the reference.
//!
//! A check runs the same function in both. Outputs begin as NaN, so that an element which an op leaves out is noticed;
//! inputs have NaN around the rows that an op may read, outputs a known number around the rows that it may write; and
//! behind every output on a GPU lies one more sample of that number, in the same memory.

use std::{ops::Range, sync::Arc};

use anyhow::{Result, bail};
use kernels::{
    Backend, DType, Layout, Linear, LinearBlock, Rows, RowsMut, Shape, Stream, Tensor, View, WeightFormat,
};

/// What must still be there after an op; all float types hold it exactly, and no op makes it of the data used here.
const GUARD: f32 = -7680.0;

/// Rows before and after those that an op may touch, in checks with a margin.
const BEFORE: usize = 3;
const AFTER: usize = 2;

/// One backend, one stream.
pub(crate) struct Lab {
    backend: Arc<dyn Backend>,
    pub(crate) stream: Box<dyn Stream>,
    /// Whether this is the backend under test, and not the reference.
    pub(crate) is_tested: bool,
    /// Whether memory keeps what it holds when a tensor is resized, so that there can be something behind its end. No trait
    /// says so, but tensors on a GPU are nothing but their elements in order.
    has_end: bool,
}

/// Rows to read, perhaps between rows of NaN.
pub(crate) struct Input {
    tensor: Tensor,
    range: Range<usize>,
}

impl Input {
    /// The rows that may be read.
    pub(crate) fn rows(&self) -> Result<Rows<'_>> {
        Ok(Rows::range(&self.tensor, self.range.clone())?)
    }
}

/// What an op writes.
pub(crate) struct Output {
    pub(crate) tensor: Tensor,
    shape: Shape,
    /// The shape with one more sample, where there is one.
    guarded: Option<Shape>,
    range: Range<usize>,
    /// Rows of a sample, guards included, and their width.
    sample: [usize; 2],
}

impl Output {
    /// The rows that may be written.
    pub(crate) fn rows(&mut self) -> Result<RowsMut<'_>> {
        Ok(RowsMut::range(&mut self.tensor, self.range.clone())?)
    }
}

/// How an output is made.
pub(crate) struct Spec<'a> {
    /// `(…, rows, width)`, `(width)`, without guards.
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    pub(crate) layout: Layout,
    /// Whether there are guards between the samples; the shape is `(B, rows, width)` then.
    pub(crate) margin: bool,
    /// What it holds before, for an op that adds to it; otherwise NaN.
    pub(crate) old: Option<&'a [f32]>,
}

impl Spec<'_> {
    /// Poisoned, in rows, without a margin.
    pub(crate) fn new(shape: impl Into<Shape>, dtype: DType) -> Self {
        Self { shape: shape.into(), dtype, layout: Layout::Rows, margin: false, old: None }
    }
}

impl Lab {
    /// The backend under test.
    pub(crate) fn tested(backend: &Arc<dyn Backend>) -> Result<Self> {
        Ok(Self {
            backend: Arc::clone(backend),
            stream: Arc::clone(backend).stream()?,
            is_tested: true,
            has_end: backend.name().starts_with("cuda:"),
        })
    }

    /// The reference: loops in f64 that round once, on the way out.
    pub(crate) fn reference() -> Result<Self> {
        let backend = kernels::open("reference")?;
        Ok(Self { stream: Arc::clone(&backend).stream()?, backend, is_tested: false, has_end: false })
    }

    /// A tensor of these elements.
    pub(crate) fn tensor(
        &mut self,
        shape: impl Into<Shape>,
        dtype: DType,
        elements: &[f32],
    ) -> Result<Tensor> {
        self.laid_out(shape, dtype, Layout::Rows, elements)
    }

    /// As [`Lab::tensor`], in a layout.
    pub(crate) fn laid_out(
        &mut self,
        shape: impl Into<Shape>,
        dtype: DType,
        layout: Layout,
        elements: &[f32],
    ) -> Result<Tensor> {
        let shape = shape.into();
        let mut tensor = self.stream.alloc(shape, dtype, layout)?;
        self.stream.write(&View::f32(shape, elements)?, &mut tensor)?;
        Ok(tensor)
    }

    /// An integer tensor of these elements.
    pub(crate) fn integers(&mut self, shape: impl Into<Shape>, elements: &[i32]) -> Result<Tensor> {
        let shape = shape.into();
        let mut tensor = self.stream.alloc(shape, DType::I32, Layout::Rows)?;
        self.stream.write(&View::i32(shape, elements)?, &mut tensor)?;
        Ok(tensor)
    }

    /// The levels of pixels.
    pub(crate) fn levels(&mut self, shape: impl Into<Shape>, levels: &[u8]) -> Result<Tensor> {
        let shape = shape.into();
        let mut tensor = self.stream.alloc(shape, DType::U8, Layout::Rows)?;
        self.stream.write(&View::new(shape, DType::U8, levels)?, &mut tensor)?;
        Ok(tensor)
    }

    /// A packed layer.
    pub(crate) fn linear(
        &self,
        [outputs, inputs]: [usize; 2],
        format: WeightFormat,
        weight: &[f32],
        bias: &[f32],
    ) -> Result<Linear> {
        let weight = View::f32([outputs, inputs], weight)?;
        let bias = Some(View::f32([outputs], bias)?);
        Ok(self.backend.pack_linear(&[LinearBlock { weight, bias }], format)?)
    }

    /// Rows to read, between rows of NaN if there is a margin.
    pub(crate) fn input(
        &mut self,
        [batch, rows, width]: [usize; 3],
        dtype: DType,
        margin: bool,
        elements: &[f32],
    ) -> Result<Input> {
        let range = range(rows, margin);
        let sample = [in_memory(rows, margin), width];
        let padded = pad(elements, batch, sample, &range, f32::NAN);
        let tensor = self.tensor([batch, sample[0], width], dtype, &padded)?;
        Ok(Input { tensor, range })
    }

    /// What an op will write.
    pub(crate) fn output(&mut self, spec: &Spec<'_>) -> Result<Output> {
        let (batch, rows, width) = match *spec.shape {
            [ref leading @ .., rows, width] => (leading.iter().product(), rows, width),
            [width] => (1, 1, width),
            [] => (1, 1, 1),
        };
        let range = range(rows, spec.margin);
        let sample = [in_memory(rows, spec.margin), width];
        let shape = if spec.margin { Shape::from([batch, sample[0], width]) } else { spec.shape };
        let guarded = self.has_end.then(|| one_more(&shape));
        let mut tensor = self.stream.alloc(guarded.unwrap_or(shape), spec.dtype, spec.layout)?;
        if let Some(guarded) = &guarded {
            let guards = vec![GUARD; guarded.elements()];
            self.stream.write(&View::f32(*guarded, &guards)?, &mut tensor)?;
            self.stream.resize(&mut tensor, shape)?;
        }
        let poison;
        let elements = match spec.old {
            Some(old) => old,
            None => {
                poison = vec![f32::NAN; spec.shape.elements()];
                &poison
            }
        };
        let padded = pad(elements, batch, sample, &range, GUARD);
        self.stream.write(&View::f32(shape, &padded)?, &mut tensor)?;
        Ok(Output { tensor, shape, guarded, range, sample })
    }

    /// What an op wrote, in canonical order.
    ///
    /// # Errors
    /// Where a guard was overwritten.
    pub(crate) fn result(&mut self, output: &mut Output) -> Result<Vec<f32>> {
        let Output { tensor, shape, guarded, range, sample: [rows, width] } = output;
        let mut values = vec![0.0; shape.elements()];
        self.stream.read(tensor, &mut values)?;
        if let Some(guarded) = guarded {
            self.stream.resize(tensor, *guarded)?;
            let mut all = vec![0.0; guarded.elements()];
            self.stream.read(tensor, &mut all)?;
            self.stream.resize(tensor, *shape)?;
            if let Some(at) = all[values.len()..].iter().position(|&x| x != GUARD) {
                let found = all[values.len() + at];
                bail!("wrote beyond its output: expected {GUARD} at {at} behind the end, found {found}");
            }
        }
        let mut inner = Vec::with_capacity(values.len());
        for (i, row) in values.chunks(*width).enumerate() {
            match range.contains(&(i % *rows)) {
                true => inner.extend_from_slice(row),
                false if row.iter().all(|&x| x == GUARD) => {}
                false => bail!(
                    "wrote outside of its rows {range:?}: into row {} of sample {}",
                    i % *rows,
                    i / *rows
                ),
            }
        }
        Ok(inner)
    }
}

/// The shape with one more of its slowest dimension.
fn one_more(shape: &Shape) -> Shape {
    let mut sizes = shape.to_vec();
    match sizes.first_mut() {
        Some(first) => *first += 1,
        None => sizes.push(2),
    }
    Shape::new(&sizes)
}

fn in_memory(rows: usize, margin: bool) -> usize {
    if margin { BEFORE + rows + AFTER } else { rows }
}

fn range(rows: usize, margin: bool) -> Range<usize> {
    if margin { BEFORE..BEFORE + rows } else { 0..rows }
}

/// Samples of rows with something around those of each.
fn pad(
    elements: &[f32],
    batch: usize,
    [rows, width]: [usize; 2],
    range: &Range<usize>,
    around: f32,
) -> Vec<f32> {
    if range.len() == rows {
        return elements.to_vec();
    }
    let mut padded = vec![around; batch * rows * width];
    let sample = range.len() * width;
    for i in 0..batch {
        let start = (i * rows + range.start) * width;
        padded[start..start + sample].copy_from_slice(&elements[i * sample..(i + 1) * sample]);
    }
    padded
}

#[cfg(test)]
mod tests {
    use kernels::Epilogue;

    use super::*;

    /// A GPU, or the stand-in for its driver.
    fn lab() -> Lab {
        kernels_cuda_stand_in::install().unwrap();
        Lab::tested(&kernels::open("cuda:0").unwrap()).unwrap()
    }

    #[test]
    fn an_output_that_is_not_written_is_nan_and_one_with_content_keeps_it() {
        let mut lab = lab();
        let mut output = lab.output(&Spec::new([2, 2, 3], DType::Bf16)).unwrap();
        assert!(lab.result(&mut output).unwrap().iter().all(|x| x.is_nan()));
        let old = [1.0, 2.0, 3.0, 4.0];
        let spec = Spec { margin: true, old: Some(&old), ..Spec::new([2, 1, 2], DType::F32) };
        let mut output = lab.output(&spec).unwrap();
        assert_eq!(lab.result(&mut output).unwrap(), old);
    }

    #[test]
    fn a_write_outside_of_the_rows_is_noticed() {
        let mut lab = lab();
        let spec = Spec { margin: true, ..Spec::new([1, 2, 2], DType::F32) };
        let mut output = lab.output(&spec).unwrap();
        let row = lab.tensor([1, 2], DType::F32, &[1.0, 2.0]).unwrap();
        lab.stream.broadcast_rows(&row, kernels::Write::Replace, (&mut output.tensor).into()).unwrap();
        let error = lab.result(&mut output).unwrap_err().to_string();
        assert!(error.contains("into row 0 of sample 0"), "{error}");
    }

    #[test]
    fn a_write_behind_the_end_is_noticed() {
        let mut lab = lab();
        let mut output = lab.output(&Spec::new([1, 2, 2], DType::F32)).unwrap();
        let guarded = output.guarded.unwrap();
        lab.stream.resize(&mut output.tensor, guarded).unwrap();
        lab.stream.write(&View::f32(guarded, &[0.0; 8]).unwrap(), &mut output.tensor).unwrap();
        lab.stream.resize(&mut output.tensor, output.shape).unwrap();
        let error = lab.result(&mut output).unwrap_err().to_string();
        assert!(error.contains("beyond its output"), "{error}");
    }

    #[test]
    fn a_read_outside_of_the_rows_gives_nan() {
        let mut lab = lab();
        let linear = lab.linear([1, 2], WeightFormat::F32, &[1.0, 1.0], &[0.0]).unwrap();
        let x = lab.input([1, 1, 2], DType::F32, true, &[1.0, 2.0]).unwrap();
        let mut output = lab.output(&Spec::new([1, 6, 1], DType::F32)).unwrap();
        let y = output.rows().unwrap();
        lab.stream.linear((&x.tensor).into(), &linear, Epilogue::none(), y).unwrap();
        let result = lab.result(&mut output).unwrap();
        assert_eq!(result.iter().filter(|x| !x.is_nan()).count(), 1);
    }
}
