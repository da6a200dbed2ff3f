//! `bce_with_logits_loss`: the mean of `−t·ln σ(x) − (1 − t)·ln(1 − σ(x))`, with gradient `(σ(x) − t)/n`.

use kernels_backend::{Activation, Result, Tensor, Write, check};

use crate::storage;

pub(crate) fn bce_with_logits_loss(
    logits: &Tensor,
    targets: &Tensor,
    loss: &mut Tensor,
    gradient: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "bce_with_logits_loss";
    check::loss(OP, logits, targets.shape(), loss, gradient.as_deref())?;
    let logits = storage::floats(OP, "logits", logits)?;
    let targets = storage::floats(OP, "targets", targets)?;
    let mut loss = storage::floats_mut(OP, "loss", loss)?;
    let gradient = gradient.map(|gradient| storage::floats_mut(OP, "gradient", gradient)).transpose()?;

    let count = logits.len() as f64;
    let pairs = logits.iter().zip(targets).map(|(&x, &t)| (f64::from(x), f64::from(t)));
    loss.store(0, Write::Replace, pairs.clone().map(|(x, t)| entropy(x, t)).sum::<f64>() / count);
    if let Some(mut gradient) = gradient {
        let sigmoid = |x| Activation::Sigmoid.value_f64(x);
        gradient.store_all(0, Write::Replace, pairs.map(|(x, t)| (sigmoid(x) - t) / count));
    }
    Ok(())
}

/// The formula above, in a form that neither overflows nor cancels: `(1 − t)·x − ln σ(x)`, where
/// `ln σ(x) = min(x, 0) − ln(1 + e^−|x|)`.
fn entropy(x: f64, t: f64) -> f64 {
    let negative_part = if x > 0.0 { 0.0 } else { x };
    (1.0 - t) * x - (negative_part - libm::log1p(libm::exp(-x.abs())))
}

#[cfg(test)]
mod tests {
    use kernels_backend::{DType, tolerance::Comparison};
    use proptest::prelude::*;

    use crate::testing::{Differences, cases, noise, stream, tensor, undefined, values};

    fn run(logits: &[f32], targets: &[f32]) -> (f32, Vec<f32>) {
        let count = logits.len();
        let (mut loss, mut gradient) = (undefined([1]), undefined([count]));
        let (logits, targets) = (tensor([count], logits), tensor([count], targets));
        stream().bce_with_logits_loss(&logits, &targets, &mut loss, Some(&mut gradient)).unwrap();
        (values(&loss)[0], values(&gradient))
    }

    #[test]
    fn a_logit_of_zero_costs_ln_2_whatever_the_target() {
        let (loss, gradient) = run(&[0.0, 0.0], &[1.0, 0.25]);
        Comparison::of(&[loss], &[std::f32::consts::LN_2]).assert_within("loss", DType::F32, 2);
        assert_eq!(gradient, [-0.25, 0.125]);
    }

    #[test]
    fn large_logits_neither_overflow_nor_cancel() {
        assert_eq!(run(&[1e4], &[0.0]), (1e4, vec![1.0]));
        assert_eq!(run(&[-1e4], &[1.0]), (1e4, vec![-1.0]));
        assert_eq!(run(&[1e4], &[1.0]), (0.0, vec![0.0]));
        // −ln σ(20) is e⁻²⁰ to first order; 1 − σ(20) computed in f32 would be 0.
        let (loss, _) = run(&[20.0], &[1.0]);
        Comparison::of(&[loss], &[(-20f64).exp() as f32]).assert_within("loss", DType::F32, 1);
    }

    #[test]
    fn nan_gives_nan() {
        let (loss, gradient) = run(&[f32::NAN, 1.0], &[1.0, 1.0]);
        assert!(loss.is_nan() && gradient[0].is_nan() && gradient[1].is_finite());
    }

    proptest! {
        #![proptest_config(cases(16))]

        #[test]
        fn gradient_agrees_with_differences(count in 1usize..9, seed: u64) {
            let x: Vec<f32> = noise(seed, count).iter().map(|x| 4.0 * x).collect();
            let targets: Vec<f32> = noise(!seed, count).iter().map(|t| 0.5 * t + 0.5).collect();
            let (_, gradient) = run(&x, &targets);
            // The fourth derivative of a sigmoid is below 1.
            Differences::smooth(1.0).check("dx", &gradient, &x, &[1.0], |x| vec![run(x, &targets).0]);
        }
    }
}
