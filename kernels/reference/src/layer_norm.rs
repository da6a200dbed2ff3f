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
