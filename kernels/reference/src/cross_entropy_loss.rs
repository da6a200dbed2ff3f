//! `cross_entropy_loss`: `−ln softmax(logits)[label]`, averaged, with gradient `(softmax − one-hot)/count`.

use kernels_backend::{Error, Result, Tensor, Write, check};

use crate::{arithmetic::softmax, storage};

/// Labels of this value take no part (`torch.nn.CrossEntropyLoss`).
const IGNORE_INDEX: i32 = -100;

pub(crate) fn cross_entropy_loss(
    logits: &Tensor,
    labels: &Tensor,
    num_items: Option<f32>,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "cross_entropy_loss";
    let (_, classes) = check::cross_entropy_loss(logits, labels, loss, gradient.as_deref())?;
    let logits = storage::floats(OP, "logits", logits)?;
    let labels = parse(OP, storage::integers(OP, "labels", labels)?, classes)?;
    let mut loss = storage::floats_mut(OP, "loss", loss)?;
    let mut gradient = gradient.map(|gradient| storage::floats_mut(OP, "gradient", gradient)).transpose()?;

    let counted = labels.iter().flatten().count() as f64;
    let divisor = num_items.map_or(counted, f64::from);
    let mut sum = 0.0;
    for (sample, (logits, label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
        let mut row: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        match label {
            Some(label) => {
                let logsumexp = softmax(&mut row);
                sum += logsumexp - f64::from(logits[label]);
                row[label] -= 1.0;
                row.iter_mut().for_each(|d| *d /= divisor);
            }
            None => row.fill(0.0),
        }
        if let Some(gradient) = &mut gradient {
            gradient.store_all(sample * classes, Write::Replace, row);
        }
    }
    loss.store(0, Write::Replace, sum / divisor);
    Ok(())
}

/// The class of each sample, `None` where it is ignored.
fn parse(op: &'static str, labels: &[i32], classes: usize) -> Result<Vec<Option<usize>>> {
    let parse = |&label: &i32| match usize::try_from(label) {
        Ok(class) if class < classes => Ok(Some(class)),
        _ if label == IGNORE_INDEX => Ok(None),
        _ => Err(Error::Index { op, index: label.into(), bound: classes }),
    };
    labels.iter().map(parse).collect()
}
