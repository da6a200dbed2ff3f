//! The losses and their gradients.

use std::sync::Arc;

use kernels_backend::{Backend, Shape, Stream, Tensor};
use proptest::prelude::*;

use crate::{
    Operand, Subject, agree, cases, integers, noise,
    subject::{awkward, types},
    tensor, typed, unset, values,
};

/// Runs a loss into a scalar and, if asked, a gradient.
type Loss<'a> = &'a dyn Fn(&mut dyn Stream, &mut Tensor, Option<&mut Tensor>);

/// Loss, then gradient.
fn both(backend: &Arc<dyn Backend>, shape: Shape, run: Loss<'_>) -> Vec<f32> {
    let mut stream = Arc::clone(backend).stream().unwrap();
    let s = &mut *stream;
    let (mut loss, mut gradient) = (unset(s, [1]), unset(s, shape));
    run(s, &mut loss, None);
    let mut result = values(s, &loss);
    run(s, &mut loss, Some(&mut gradient));
    result.extend(values(s, &loss));
    result.extend(values(s, &gradient));
    result
}

/// `mse_loss` and `bce_with_logits_loss`.
pub fn elementwise_losses_and_their_gradients_agree(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..4usize, rows in 1..9usize, width in awkward(subject, 1),
        x_type in types(subject, Operand::Other), target_type in types(subject, Operand::Other),
        seed in any::<u64>(),
    )| {
        let shape = Shape::from([batch, rows, width]);
        let x: Vec<_> = noise(seed, shape.elements()).iter().map(|x| x * 8.0).collect();
        let target: Vec<_> = noise(seed + 1, shape.elements()).iter().map(|x| 0.5 * (x + 1.0)).collect();
        agree(subject, "losses", shape.elements(), 1.0, &|backend| {
            let mut result = both(backend, shape, &|s, loss, gradient| {
                let (x, target) = (typed(s, shape, x_type, &x), typed(s, shape, target_type, &target));
                s.mse_loss(&x, &target, loss, gradient).unwrap();
            });
            result.extend(both(backend, shape, &|s, loss, gradient| {
                let (x, target) = (typed(s, shape, x_type, &x), typed(s, shape, target_type, &target));
                s.bce_with_logits_loss(&x, &target, loss, gradient).unwrap();
            }));
            result
        });
    });
}

/// With labels that are ignored and a divisor of its own.
pub fn cross_entropy_and_its_gradient_agree(subject: &dyn Subject) {
    proptest!(cases(subject.cases()), |(
        batch in 1..6usize, classes in awkward(subject, 1), num_items in proptest::option::of(1.0f32..5.0),
        dtype in types(subject, Operand::Other), seed in any::<u64>(),
    )| {
        let shape = Shape::from([batch, classes]);
        let logits: Vec<_> = noise(seed, shape.elements()).iter().map(|x| x * 30.0).collect();
        let labels: Vec<_> = noise(seed + 1, batch)
            .iter()
            .map(|x| if *x > 0.5 { -100 } else { ((x + 1.0) * 0.5 * classes as f32) as i32 })
            .collect();
        agree(subject, "cross_entropy_loss", classes, 1.0, &|backend| {
            both(backend, shape, &|s, loss, gradient| {
                let (logits, labels) = (typed(s, shape, dtype, &logits), integers(s, [batch], &labels));
                s.cross_entropy_loss(&logits, &labels, num_items, loss, gradient).unwrap();
            })
        });
    });
}

/// Infinities, NaN and numbers whose exponential overflows.
pub fn special_logits_agree(subject: &dyn Subject) {
    let logits = [0.0, f32::INFINITY, 1.0, f32::NEG_INFINITY, 0.0, 1.0, f32::NAN, 0.0, 1.0, 1e30, -1e30, 0.0];
    for label in [0, 1, 2, -100] {
        agree(subject, "cross_entropy_loss", 3, 1.0, &|backend| {
            both(backend, [4, 3].into(), &|s, loss, gradient| {
                let (logits, labels) = (tensor(s, [4, 3], &logits), integers(s, [4], &[label; 4]));
                s.cross_entropy_loss(&logits, &labels, None, loss, gradient).unwrap();
            })
        });
    }
    agree(subject, "bce_with_logits_loss", 3, 1.0, &|backend| {
        logits
            .iter()
            .flat_map(|&x| {
                both(backend, [1].into(), &|s, loss, gradient| {
                    let (x, target) = (tensor(s, [1], &[x]), tensor(s, [1], &[0.25]));
                    s.bce_with_logits_loss(&x, &target, loss, gradient).unwrap();
                })
            })
            .map(|x| if x.abs() > 1e20 { f32::INFINITY.copysign(x) } else { x })
            .collect()
    });
}
