//! Layer norm, forward and backward: rows so faint that the epsilon decides, rows large enough to lose digits.

use std::sync::Arc;

use kernels::{Backend, LayerNorm, LayerNormGradients, Result, View, Write};

use super::{Run, filled, largest, unwritten, values};

/// Epsilons equal to that of an earlier case are stored there only.
const STORED_EPS: [usize; 6] = [0, 1, 2, 0, 0, 1];

pub(super) fn compare(run: &mut Run, backend: &Arc<dyn Backend>) -> Result<()> {
    for (case, stored) in STORED_EPS.into_iter().enumerate() {
        let input = |name: &str| run.inputs.get(&format!("{case}.{name}")).floats().to_vec();
        let eps = run.inputs.get(&format!("{stored}.eps")).doubles()[0] as f32;
        let (x, weight, bias, dy) =
            (input("input"), input("weight"), input("bias"), input("output_gradient"));
        let width = weight.len();
        let shape = [x.len() / width, width];
        let norm = LayerNorm {
            weight: backend.upload(&View::f32([width], &weight)?)?,
            bias: backend.upload(&View::f32([width], &bias)?)?,
            eps,
        };

        let mut s = Arc::clone(backend).stream()?;
        let x_rows = filled(&mut *s, shape, &x)?;
        let mut y = unwritten(&mut *s, shape)?;
        s.layer_norm((&x_rows).into(), &norm, (&mut y).into(), None)?;
        run.compare(&format!("{case}.output"), width, 0.0, &values(&mut *s, &y)?);

        let Ok(mut backward) = Arc::clone(backend).backward_stream() else { continue };
        let s = backward.forward();
        let (x_rows, dy_rows) = (filled(s, shape, &x)?, filled(s, shape, &dy)?);
        let (mut y, mut stats) = (unwritten(s, shape)?, unwritten(s, [shape[0], 2])?);
        s.layer_norm((&x_rows).into(), &norm, (&mut y).into(), Some(&mut stats))?;
        // Gradients of parameters accumulate.
        let mut dx = unwritten(s, shape)?;
        let (mut dweight, mut dbias) =
            (filled(s, [width], &vec![0.0; width])?, filled(s, [width], &vec![0.0; width])?);
        let gradients = LayerNormGradients {
            x: (&mut dx).into(),
            write: Write::Replace,
            weight: &mut dweight,
            bias: &mut dbias,
        };
        backward.layer_norm_backward((&x_rows).into(), &norm, &stats, (&dy_rows).into(), gradients)?;
        for (name, gradient) in [("input", &dx), ("weight", &dweight), ("bias", &dbias)] {
            let found = values(backward.forward(), gradient)?;
            // The gradient of an input is a difference of terms of this size; in a row of one element all of it cancels.
            let term = largest(&dy) * largest(&weight) * steepness(&x, width, eps);
            let terms = if name == "input" { term } else { 0.0 };
            run.compare(&format!("{case}.{name}_gradient"), width, terms, &found);
        }
    }
    Ok(())
}

/// The largest `1 / sqrt(var + eps)` of the rows.
fn steepness(x: &[f32], width: usize, eps: f32) -> f32 {
    let of_row = |row: &[f32]| {
        let mean = row.iter().sum::<f32>() / width as f32;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / width as f32;
        (variance + eps).sqrt().recip()
    };
    x.chunks_exact(width).map(of_row).fold(0.0, f32::max)
}
