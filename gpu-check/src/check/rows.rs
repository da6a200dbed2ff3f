//! Ops on rows: `layer_norm`, `cast`, `gather_rows`, `broadcast_rows`, `mean_tokens`.

use anyhow::Result;
use kernels::{DType, LayerNorm, Write};

use super::{
    Size,
    lab::{Lab, Spec},
    noise::Noise,
    trial::{Case, Part},
};

/// Samples, rows, width: of the models, then those between vectors, warps and blocks.
fn shapes(size: Size) -> Vec<[usize; 3]> {
    let mut shapes = vec![[1, 1, 1], [2, 3, 33], [1, 5, 64], [3, 7, 129]];
    if size == Size::Model {
        shapes.extend([[2, 1568, 768], [1, 1568, 1024], [1, 1568, 384], [1, 1408, 1536], [3, 50, 513]]);
    }
    shapes
}

/// A case for every shape and for every type of results: the type at hand, and f32.
fn cases(
    shapes: &[[usize; 3]],
    dtype: DType,
    seed: u64,
    run: fn(&mut Lab, Operands, Noise) -> Result<Vec<Part>>,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for &[batch, rows, width] in shapes {
        for to in if dtype == DType::F32 { vec![dtype] } else { vec![dtype, DType::F32] } {
            let label = format!("{batch}×{rows}×{width} {dtype}→{to}");
            let noise = Noise::new(seed, &label);
            let operands = Operands { batch, rows, width, from: dtype, to };
            cases.push(Case::new(label, move |lab| run(lab, operands, noise.clone())));
        }
    }
    cases
}

#[derive(Clone, Copy)]
struct Operands {
    batch: usize,
    rows: usize,
    width: usize,
    from: DType,
    to: DType,
}

impl Operands {
    fn shape(&self) -> [usize; 3] {
        [self.batch, self.rows, self.width]
    }

    fn elements(&self) -> usize {
        self.batch * self.rows * self.width
    }

    fn spec<'a>(&self, old: Option<&'a [f32]>) -> Spec<'a> {
        Spec { margin: true, old, ..Spec::new(self.shape(), self.to) }
    }
}

/// `layer_norm`, with statistics. A row of less than eight elements may be nearly constant, and then divides rounding errors by
/// nearly nothing, so the narrowest are left to the property tests.
pub(super) fn layer_norm(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let shapes: Vec<_> = shapes(size).into_iter().filter(|shape| shape[2] >= 8).collect();
    cases(&shapes, dtype, seed, |lab, operands, mut noise| {
        let Operands { batch, rows, width, from, to } = operands;
        // Away from zero, as hidden states are; a type of 16 bits would lose the deviation there.
        let centre = if from == DType::F32 { 3.0 } else { 0.0 };
        let x: Vec<f32> = noise.signed(operands.elements()).iter().map(|x| x + centre).collect();
        let x = lab.input(operands.shape(), from, true, &x)?;
        let norm = LayerNorm {
            weight: lab.tensor([width], DType::F32, &noise.signed(width))?,
            bias: lab.tensor([width], DType::F32, &noise.signed(width))?,
            eps: 1e-12,
        };
        let mut y = lab.output(&operands.spec(None))?;
        let mut stats = lab.output(&Spec::new([batch * rows, 2], DType::F32))?;
        lab.stream.layer_norm(x.rows()?, &norm, y.rows()?, Some(&mut stats.tensor))?;
        let y = Part::new("y", to, width, lab.result(&mut y)?);
        let stats = lab.result(&mut stats)?;
        let of = |which| stats.iter().skip(which).step_by(2).copied().collect();
        let mean = Part { terms: 1.0, ..Part::new("mean", DType::F32, width, of(0)) };
        Ok(vec![y, mean, Part::new("1/deviation", DType::F32, width, of(1))])
    })
}

/// `mean_tokens`.
pub(super) fn mean_tokens(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    cases(&shapes(size), dtype, seed, |lab, operands, mut noise| {
        let Operands { batch, rows, width, from, to } = operands;
        // The mean of numbers around zero is nearly zero, and a token that is missing would not show.
        let x: Vec<f32> = noise.signed(operands.elements()).iter().map(|x| x + 1.0).collect();
        let x = lab.input(operands.shape(), from, true, &x)?;
        let mut y = lab.output(&Spec::new([batch, width], to))?;
        lab.stream.mean_tokens(x.rows()?, &mut y.tensor)?;
        Ok(vec![Part::new("y", to, rows, lab.result(&mut y)?)])
    })
}

/// `cast`: every bit, special values included.
pub(super) fn cast(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for [batch, rows, width] in shapes(size) {
        for to in [DType::F32, DType::Bf16, DType::F16] {
            let label = format!("{batch}×{rows}×{width} {dtype}→{to}");
            let noise = Noise::new(seed, &label);
            cases.push(Case::new(label, move |lab| {
                let x = noise.clone().bits(batch * rows * width);
                let x = lab.input([batch, rows, width], dtype, true, &x)?;
                let mut y = lab.output(&Spec { margin: true, ..Spec::new([batch, rows, width], to) })?;
                lab.stream.cast(x.rows()?, y.rows()?)?;
                Ok(vec![Part::exact("y", lab.result(&mut y)?)])
            }));
        }
    }
    cases
}

/// `gather_rows`: copied, then added.
pub(super) fn gather_rows(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    cases(&shapes(size), dtype, seed, |lab, operands, mut noise| {
        let Operands { batch, rows, width, from, to } = operands;
        let table_rows = rows + 3;
        let table = lab.tensor([table_rows, width], from, &noise.signed(table_rows * width))?;
        let indices = lab.integers([batch, rows], &noise.below(batch * rows, table_rows))?;
        let old = noise.signed(operands.elements());
        let mut copied = lab.output(&operands.spec(None))?;
        lab.stream.gather_rows(&table, &indices, Write::Replace, copied.rows()?)?;
        let mut added = lab.output(&operands.spec(Some(&old)))?;
        lab.stream.gather_rows(&table, &indices, Write::Accumulate, added.rows()?)?;
        Ok(vec![
            Part::exact("copied", lab.result(&mut copied)?),
            Part::new("added", to, 1, lab.result(&mut added)?),
        ])
    })
}

/// `broadcast_rows`: copied, then added.
pub(super) fn broadcast_rows(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    cases(&shapes(size), dtype, seed, |lab, operands, mut noise| {
        let Operands { rows, width, from, to, .. } = operands;
        let table = lab.tensor([rows, width], from, &noise.signed(rows * width))?;
        let row = lab.tensor([width], from, &noise.signed(width))?;
        let old = noise.signed(operands.elements());
        let mut copied = lab.output(&operands.spec(None))?;
        lab.stream.broadcast_rows(&table, Write::Replace, copied.rows()?)?;
        let mut added = lab.output(&operands.spec(Some(&old)))?;
        lab.stream.broadcast_rows(&row, Write::Accumulate, added.rows()?)?;
        Ok(vec![
            Part::exact("copied", lab.result(&mut copied)?),
            Part::new("added", to, 1, lab.result(&mut added)?),
        ])
    })
}
