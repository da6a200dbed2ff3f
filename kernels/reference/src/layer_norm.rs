//! `layer_norm`: `y = (x − mean) / sqrt(var + eps) · weight + bias` over each row, and its gradients.

use kernels_backend::{LayerNorm, LayerNormGradients, Result, Rows, RowsMut, Tensor, Write, check};

use crate::storage;

pub(crate) fn layer_norm(
    x: Rows<'_>,
    norm: &LayerNorm,
    y: RowsMut<'_>,
    stats: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "layer_norm";
    check::layer_norm(x.dims, norm, y.dims, stats.as_deref())?;
    let (total, width) = (x.dims.total(), x.dims.width as f64);
    let weight = storage::floats(OP, "weight", &norm.weight)?;
    let bias = storage::floats(OP, "bias", &norm.bias)?;
    let x = storage::rows(OP, "x", x)?;
    let mut y = storage::rows_mut(OP, "y", y)?;
    let mut stats = stats.map(|stats| storage::floats_mut(OP, "stats", stats)).transpose()?;

    for row in 0..total {
        let x = x.row(row).iter().map(|&x| f64::from(x));
        let mean = x.clone().sum::<f64>() / width;
        let variance = x.clone().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width;
        let rstd = 1.0 / (variance + f64::from(norm.eps)).sqrt();
        let affine = weight.iter().zip(bias);
        y.store(
            row,
            Write::Replace,
            x.zip(affine).map(|(x, (&w, &b))| (x - mean) * rstd * f64::from(w) + f64::from(b)),
        );
        if let Some(stats) = &mut stats {
            stats.store_all(2 * row, Write::Replace, [mean, rstd]);
        }
    }
    Ok(())
}

/// With `x̂ = (x − mean)·rstd` and `g = dy·weight`:
/// `dx = rstd·(g − mean(g) − x̂·mean(g·x̂))`, `dweight += Σ dy·x̂`, `dbias += Σ dy`.
pub(crate) fn layer_norm_backward(
    x: Rows<'_>,
    norm: &LayerNorm,
    stats: &Tensor,
    dy: Rows<'_>,
    gradients: LayerNormGradients<'_>,
) -> Result<()> {
    const OP: &str = "layer_norm_backward";
    check::layer_norm_backward(x.dims, norm, stats, dy.dims, &gradients)?;
    let (total, width) = (x.dims.total(), x.dims.width);
    let weight = storage::floats(OP, "weight", &norm.weight)?;
    let stats = storage::floats(OP, "stats", stats)?;
    let x = storage::rows(OP, "x", x)?;
    let dy = storage::rows(OP, "dy", dy)?;
    let mut dx = storage::rows_mut(OP, "x gradient", gradients.x)?;
    let mut dweight = storage::floats_mut(OP, "weight gradient", gradients.weight)?;
    let mut dbias = storage::floats_mut(OP, "bias gradient", gradients.bias)?;

    let (mut weight_sum, mut bias_sum) = (vec![0.0; width], vec![0.0; width]);
    for row in 0..total {
        let (mean, rstd) = (f64::from(stats[2 * row]), f64::from(stats[2 * row + 1]));
        let normed: Vec<f64> = x.row(row).iter().map(|&x| (f64::from(x) - mean) * rstd).collect();
        let dy: Vec<f64> = dy.row(row).iter().map(|&dy| f64::from(dy)).collect();
        let g: Vec<f64> = dy.iter().zip(weight).map(|(dy, &w)| dy * f64::from(w)).collect();
        let mean_g = g.iter().sum::<f64>() / width as f64;
        let mean_g_normed = g.iter().zip(&normed).map(|(g, normed)| g * normed).sum::<f64>() / width as f64;
        dx.store(
            row,
            gradients.write,
            g.iter().zip(&normed).map(|(g, normed)| rstd * (g - mean_g - normed * mean_g_normed)),
        );
        for i in 0..width {
            weight_sum[i] += dy[i] * normed[i];
            bias_sum[i] += dy[i];
        }
    }
    dweight.store_all(0, Write::Accumulate, weight_sum);
    dbias.store_all(0, Write::Accumulate, bias_sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use kernels_backend::DType;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Differences, cases, noise, stream, tensor, typed, undefined, values, zeros};

    fn norm(weight: &[f32], bias: &[f32], eps: f32) -> LayerNorm {
        LayerNorm { weight: tensor([weight.len()], weight), bias: tensor([bias.len()], bias), eps }
    }

    #[test]
    fn a_row_by_hand() {
        // Mean 3, variance 4, so rstd is 1/√(4 + 5) = 1/3.
        let x = tensor([1, 2], &[1.0, 5.0]);
        let (mut y, mut stats) = (undefined([1, 2]), undefined([1, 2]));
        let norm = norm(&[3.0, 6.0], &[0.0, 10.0], 5.0);
        stream().layer_norm((&x).into(), &norm, (&mut y).into(), Some(&mut stats)).unwrap();
        assert_eq!(values(&y), [-2.0, 14.0]);
        assert_eq!(values(&stats), [3.0, 1.0 / 3.0]);
    }

    #[test]
    fn a_constant_row_gives_the_bias_and_one_element_is_constant() {
        for (width, eps) in [(1, 1e-12), (3, 1e-5)] {
            let (x, bias) = (tensor([1, width], &vec![0.1; width]), noise(1, width));
            let mut y = undefined([1, width]);
            let norm = norm(&noise(2, width), &bias, eps);
            stream().layer_norm((&x).into(), &norm, (&mut y).into(), None).unwrap();
            assert_eq!(values(&y), bias);
        }
    }

    #[test]
    fn the_output_has_the_type_of_its_tensor_and_is_rounded_once() {
        // Normed to ∓1, so y is bias ∓ weight: 1 + 2⁻⁸ + 2⁻⁴⁰, just above a tie of bf16.
        let x = tensor([1, 2], &[-1.0, 1.0]);
        let norm = norm(&[1.0, 1.0 / 256.0], &[2f32.powi(-40), 1.0 + 1.0 / 1_048_576.0], 0.0);
        let mut y = typed([1, 2], DType::Bf16, &[0.0, 0.0]);
        stream().layer_norm((&x).into(), &norm, (&mut y).into(), None).unwrap();
        assert_eq!(values(&y), [-1.0, 1.0 + 1.0 / 128.0]);
    }

    #[test]
    fn nan_and_infinity_spoil_their_row_only() {
        let x = tensor([3, 2], &[f32::NAN, 1.0, f32::INFINITY, 1.0, -1.0, 1.0]);
        let mut y = undefined([3, 2]);
        stream().layer_norm((&x).into(), &norm(&[1.0; 2], &[0.0; 2], 0.0), (&mut y).into(), None).unwrap();
        let y = values(&y);
        assert!(y[..4].iter().all(|y| y.is_nan()), "{y:?}");
        assert_eq!(y[4..], [-1.0, 1.0]);
    }

    #[test]
    fn the_last_rows_of_each_sample_are_normed_into_a_smaller_tensor() {
        let x = tensor([2, 2, 2], &[9.0, 9.0, -1.0, 1.0, 9.0, 9.0, 3.0, 7.0]);
        let mut y = undefined([2, 1, 2]);
        let last = Rows::range(&x, 1..2).unwrap();
        stream().layer_norm(last, &norm(&[1.0; 2], &[0.0; 2], 0.0), (&mut y).into(), None).unwrap();
        assert_eq!(values(&y), [-1.0, 1.0, -1.0, 1.0]);
    }

    proptest! {
        #![proptest_config(cases(24))]

        #[test]
        fn gradients_agree_with_differences(
            rows in 0usize..4,
            width in 1usize..8,
            eps in prop_oneof![Just(1e-12f32), Just(1e-5), Just(0.5)],
            seed: u64,
        ) {
            // Elements around +4 and −4: a standard deviation of 3 and more keeps the fifth derivative, which
            // grows with its inverse fifth power, below 1 for each of up to seven outputs.
            let x: Vec<f32> = noise(seed, rows * width).iter().enumerate()
                .map(|(i, x)| if i % width % 2 == 0 { x + 4.0 } else { x - 4.0 }).collect();
            let (w, b) = (noise(seed ^ 1, width), noise(seed ^ 2, width));
            let dy = noise(seed ^ 3, rows * width);
            let forward = |x: &[f32], w: &[f32], b: &[f32]| {
                let (x, mut y) = (tensor([rows, width], x), undefined([rows, width]));
                stream().layer_norm((&x).into(), &norm(w, b, eps), (&mut y).into(), None).unwrap();
                values(&y)
            };

            let norm = norm(&w, &b, eps);
            let xt = tensor([rows, width], &x);
            let (mut y, mut stats) = (undefined([rows, width]), undefined([rows, 2]));
            stream().layer_norm((&xt).into(), &norm, (&mut y).into(), Some(&mut stats)).unwrap();
            let start = 2.0f32;
            let mut dx = tensor([rows, width], &vec![start; rows * width]);
            let (mut dw, mut db) = (zeros([width]), zeros([width]));
            let gradients = LayerNormGradients {
                x: (&mut dx).into(),
                write: Write::Accumulate,
                weight: &mut dw,
                bias: &mut db,
            };
            let dyt = tensor([rows, width], &dy);
            stream().layer_norm_backward((&xt).into(), &norm, &stats, (&dyt).into(), gradients).unwrap();

            let dx: Vec<f32> = values(&dx).iter().map(|dx| dx - start).collect();
            Differences::smooth(7.0).check("dx", &dx, &x, &dy, |x| forward(x, &w, &b));
            Differences::POLYNOMIAL.check("dweight", &values(&dw), &w, &dy, |w| forward(&x, w, &b));
            Differences::POLYNOMIAL.check("dbias", &values(&db), &b, &dy, |b| forward(&x, &w, b));
        }
    }
}
