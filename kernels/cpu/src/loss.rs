//! Losses and their gradients. They are small beside a forward pass, so they run on one thread, in the order
//! of the elements and in `f64`.

use kernels_backend::{Error, Result, Tensor, check};

use crate::{
    rows,
    storage::{RowShape, floats_mut, integers},
};

/// Mean squared error.
pub(crate) fn mse_loss(
    name: &str,
    x: &Tensor,
    target: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    let count = x.shape().elements() as f64;
    elementwise("mse_loss", name, x, target, loss, gradient, |x, target| {
        let difference = x - target;
        (difference * difference, 2.0 * difference / count)
    })
}

/// Binary cross entropy: (1 − t)·x + max(−x, 0) + ln(1 + e^−|x|).
pub(crate) fn bce_with_logits_loss(
    name: &str,
    logits: &Tensor,
    targets: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    let count = logits.shape().elements() as f64;
    elementwise("bce_with_logits_loss", name, logits, targets, loss, gradient, |x, target| {
        let positive = if x < 0.0 { -x } else { 0.0 };
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        ((1.0 - target) * x + positive + (-x.abs()).exp().ln_1p(), (sigmoid - target) / count)
    })
}

/// The mean of a loss over all elements; `term(x, target)` gives it and its gradient.
fn elementwise(
    op: &'static str,
    name: &str,
    x: &Tensor,
    target: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
    term: impl Fn(f64, f64) -> (f64, f64),
) -> Result<()> {
    check::loss(op, x, target.shape(), loss, gradient.as_deref())?;
    let pairs = || Ok(rows::each(op, "x", x, name)?.zip(rows::each(op, "target", target, name)?));
    let terms = |x: &[f32], target: &[f32]| {
        x.iter().zip(target).map(|(&x, &target)| term(x.into(), target.into()).0).sum::<f64>()
    };
    let sum: f64 = pairs()?.map(|(x, target)| terms(x, target)).sum();
    floats_mut(op, "loss", loss, name)?[0] = (sum / x.shape().elements() as f64) as f32;
    if let Some(gradient) = gradient {
        let shape = RowShape::of(gradient);
        let words = floats_mut(op, "gradient", gradient, name)?;
        for (i, (x, target)) in pairs()?.enumerate() {
            for ((d, &x), &target) in words[shape.row(i)].iter_mut().zip(x).zip(target) {
                *d = term(x.into(), target.into()).1 as f32;
            }
        }
    }
    Ok(())
}

/// Labels of this value do not count.
const IGNORED: i32 = -100;

/// Cross entropy of logits and class indices.
pub(crate) fn cross_entropy_loss(
    name: &str,
    logits: &Tensor,
    labels: &Tensor,
    num_items: Option<f32>,
    loss: &mut Tensor,
    mut gradient: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "cross_entropy_loss";
    let (_, classes) = check::cross_entropy_loss(logits, labels, loss, gradient.as_deref())?;
    let labels = integers(OP, "labels", labels, name)?;
    if let Some(&label) =
        labels.iter().find(|&&label| label != IGNORED && !usize::try_from(label).is_ok_and(|i| i < classes))
    {
        return Err(Error::Index { op: OP, index: label.into(), bound: classes });
    }
    let counted = labels.iter().filter(|&&label| label != IGNORED).count() as f64;
    let items = num_items.map_or(counted, f64::from);
    let mut sum = 0.0;
    for (i, (row, &label)) in rows::each(OP, "logits", logits, name)?.zip(labels).enumerate() {
        let shift = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps = || row.iter().map(|&x| (f64::from(x) - f64::from(shift)).exp());
        let denominator: f64 = exps().sum();
        if let Ok(label) = usize::try_from(label) {
            sum += denominator.ln() - (f64::from(row[label]) - f64::from(shift));
        }
        if let Some(gradient) = &mut gradient {
            let shape = RowShape::of(gradient);
            let words = &mut floats_mut(OP, "gradient", gradient, name)?[shape.row(i)];
            for (class, (d, exp)) in words.iter_mut().zip(exps()).enumerate() {
                let expected = f64::from(u8::from(usize::try_from(label) == Ok(class)));
                *d = if label == IGNORED { 0.0 } else { ((exp / denominator - expected) / items) as f32 };
            }
        }
    }
    floats_mut(OP, "loss", loss, name)?[0] = (sum / items) as f32;
    Ok(())
}
