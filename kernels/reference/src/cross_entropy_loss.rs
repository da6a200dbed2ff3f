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

#[cfg(test)]
mod tests {
    use kernels_backend::{DType, tolerance::Comparison};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Differences, cases, integers, noise, stream, tensor, undefined, values};

    fn run(logits: &[f32], labels: &[i32], num_items: Option<f32>) -> (f32, Vec<f32>) {
        let shape = [labels.len(), logits.len() / labels.len()];
        let (mut loss, mut gradient) = (undefined([1]), undefined(shape));
        let (logits, labels) = (tensor(shape, logits), integers([shape[0]], labels));
        stream().cross_entropy_loss(&logits, &labels, num_items, &mut loss, Some(&mut gradient)).unwrap();
        (values(&loss)[0], values(&gradient))
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_number_of_classes() {
        let (loss, gradient) = run(&[7.0; 4], &[2], None);
        Comparison::of(&[loss], &[4f32.ln()]).assert_within("loss", DType::F32, 4);
        assert_eq!(gradient, [0.25, 0.25, -0.75, 0.25]);
    }

    #[test]
    fn ignored_labels_do_not_count() {
        let logits = [0.0, 0.0, 9.0, -9.0, 0.0, 0.0];
        let (loss, gradient) = run(&logits, &[0, -100, 1], None);
        Comparison::of(&[loss], &[2f32.ln()]).assert_within("loss", DType::F32, 2);
        assert_eq!(gradient, [-0.25, 0.25, 0.0, 0.0, 0.25, -0.25]);
    }

    #[test]
    fn num_items_replaces_the_number_of_labels() {
        let (loss, gradient) = run(&[0.0; 4], &[0, 1], Some(8.0));
        Comparison::of(&[loss], &[2f32.ln() / 4.0]).assert_within("loss", DType::F32, 2);
        assert_eq!(gradient, [-1.0 / 16.0, 1.0 / 16.0, 1.0 / 16.0, -1.0 / 16.0]);
    }

    #[test]
    fn all_labels_ignored_is_nan_with_a_gradient_of_zero_as_in_the_reference() {
        let (loss, gradient) = run(&[1.0; 4], &[-100, -100], None);
        assert!(loss.is_nan());
        assert_eq!(gradient, [0.0; 4]);
    }

    #[test]
    fn labels_outside_the_classes_are_named_and_nothing_is_written() {
        for bad in [3, -1, -99, i32::MAX] {
            let (mut loss, logits) = (tensor([1], &[5.0]), tensor([2, 3], &[0.0; 6]));
            let labels = integers([2], &[1, bad]);
            let error = stream().cross_entropy_loss(&logits, &labels, None, &mut loss, None).unwrap_err();
            assert_eq!(error, Error::Index { op: "cross_entropy_loss", index: bad.into(), bound: 3 });
            assert_eq!(values(&loss), [5.0]);
        }
    }

    #[test]
    fn huge_logits_do_not_overflow_and_nan_gives_nan() {
        assert_eq!(run(&[1e30, -1e30], &[0], None), (0.0, vec![0.0, 0.0]));
        let (loss, gradient) = run(&[f32::NAN, 0.0], &[1], None);
        assert!(loss.is_nan() && gradient.iter().all(|d| d.is_nan()));
    }

    proptest! {
        #![proptest_config(cases(16))]

        #[test]
        fn gradient_agrees_with_differences(
            labels in proptest::collection::vec(prop_oneof![Just(-100), 0i32..3, 0i32..3], 1..5),
            num_items in prop_oneof![Just(None), Just(Some(7.0f32))],
            seed: u64,
        ) {
            prop_assume!(labels.iter().any(|&label| label >= 0));
            let x = noise(seed, labels.len() * 3);
            let (_, gradient) = run(&x, &labels, num_items);
            // The fourth derivative of a softmax is below 1.
            Differences::smooth(1.0)
                .check("dx", &gradient, &x, &[1.0], |x| vec![run(x, &labels, num_items).0]);
        }
    }
}
