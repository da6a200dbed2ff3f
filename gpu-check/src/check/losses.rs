//! The three losses and their gradients.

use anyhow::Result;
use kernels::{DType, Shape, Stream, Tensor};

use super::{
    Size,
    lab::{Lab, Spec},
    noise::Noise,
    trial::{Case, Part},
};

/// Loss and gradient; `size` is that of the terms of the loss.
fn parts(
    lab: &mut Lab,
    shape: Shape,
    length: usize,
    size: f32,
    run: impl FnOnce(&mut dyn Stream, &mut Tensor, Option<&mut Tensor>) -> kernels::Result<()>,
) -> Result<Vec<Part>> {
    let mut loss = lab.output(&Spec::new([1], DType::F32))?;
    let mut gradient = lab.output(&Spec::new(shape, DType::F32))?;
    run(&mut *lab.stream, &mut loss.tensor, Some(&mut gradient.tensor))?;
    Ok(vec![
        Part { terms: size, ..Part::new("loss", DType::F32, length, lab.result(&mut loss)?) },
        Part::new("gradient", DType::F32, shape.last().copied().unwrap_or(1), lab.result(&mut gradient)?),
    ])
}

fn cases(
    shapes: &[Shape],
    dtype: DType,
    seed: u64,
    run: fn(&mut Lab, Shape, DType, Noise) -> Result<Vec<Part>>,
) -> Vec<Case> {
    let case = |&shape: &Shape| {
        let label = format!("{shape} {dtype}");
        let noise = Noise::new(seed, &label);
        Case::new(label, move |lab| run(lab, shape, dtype, noise.clone()))
    };
    shapes.iter().map(case).collect()
}

/// Predictions and targets of any shape.
fn dense(size: Size) -> Vec<Shape> {
    let mut shapes = vec![[1, 1, 1].into(), [2, 3, 33].into(), [1, 70, 65].into()];
    if size == Size::Model {
        // The masked patches of two clips, and logits.
        shapes.extend([Shape::from([2, 1408, 1536]), [8, 1, 400].into()]);
    }
    shapes
}

/// `mse_loss`.
pub(super) fn mse(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    cases(&dense(size), dtype, seed, |lab, shape, dtype, mut noise| {
        let x = lab.tensor(shape, dtype, &noise.signed(shape.elements()))?;
        let target = lab.tensor(shape, dtype, &noise.signed(shape.elements()))?;
        parts(lab, shape, shape.elements(), 1.0, |s, loss, gradient| s.mse_loss(&x, &target, loss, gradient))
    })
}

/// `bce_with_logits_loss`.
pub(super) fn bce_with_logits(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    cases(&dense(size), dtype, seed, |lab, shape, dtype, mut noise| {
        let logits: Vec<f32> = noise.signed(shape.elements()).iter().map(|x| x * 8.0).collect();
        let targets: Vec<f32> = noise.signed(shape.elements()).iter().map(|x| 0.5 * (x + 1.0)).collect();
        let logits = lab.tensor(shape, dtype, &logits)?;
        let targets = lab.tensor(shape, dtype, &targets)?;
        parts(lab, shape, shape.elements(), 8.0, |s, loss, gradient| {
            s.bce_with_logits_loss(&logits, &targets, loss, gradient)
        })
    })
}

/// `cross_entropy_loss`, with a label that does not count, averaged over the labels or over a number of items.
pub(super) fn cross_entropy(size: Size, dtype: DType, seed: u64) -> Vec<Case> {
    let mut shapes = vec![Shape::from([1, 1]), [3, 33].into(), [5, 129].into()];
    if size == Size::Model {
        shapes.extend([Shape::from([32, 400]), [8, 174].into(), [2, 5000].into()]);
    }
    cases(&shapes, dtype, seed, |lab, shape, dtype, mut noise| {
        let [batch, classes] = [shape[0], shape[1]];
        let logits: Vec<f32> = noise.signed(shape.elements()).iter().map(|x| x * 8.0).collect();
        let mut labels = noise.below(batch, classes);
        if batch > 1 {
            labels[batch / 2] = -100;
        }
        let logits = lab.tensor(shape, dtype, &logits)?;
        let labels = lab.integers([batch], &labels)?;
        let mut all = Vec::new();
        for num_items in [None, Some(3.0)] {
            all.extend(parts(lab, shape, classes, 8.0, |s, loss, gradient| {
                s.cross_entropy_loss(&logits, &labels, num_items, loss, gradient)
            })?);
        }
        Ok(all)
    })
}
