//! `linear`: `y = [y +] activation(x·Wᵀ + b)`, and its gradients.
//!
//! x is rounded to the precision of the weights before it is multiplied.

use kernels_backend::{
    Epilogue, Linear, LinearBlock, LinearGradients, PackedWeights, Result, Rows, RowsMut, Tensor,
    WeightFormat, Write, check,
};

use crate::{
    arithmetic::{add_scaled, dot},
    quantize::{round_row, round_weights},
    storage::{self, NAME},
};

/// "Packed" weights: the blocks one after another, the weight rounded to its format, the bias in f32.
pub(crate) struct Weights {
    /// `(out, in)`.
    weight: Vec<f32>,
    /// `(out)`.
    bias: Vec<f32>,
}

impl PackedWeights for Weights {}

impl Weights {
    /// Packs blocks that [`check::linear_blocks`] has seen.
    pub(crate) fn pack(blocks: &[LinearBlock<'_>], format: WeightFormat) -> Self {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for block in blocks {
            let [out, inputs] = [block.weight.shape()[0], block.weight.shape()[1]];
            weight.extend(round_weights(format, &block.weight.to_f32(), inputs));
            bias.extend(block.bias.map_or_else(|| vec![0.0; out], |bias| bias.to_f32()));
        }
        Self { weight, bias }
    }
}

pub(crate) fn repack(linear: &mut Linear, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    const OP: &str = "repack";
    check::shape(OP, "weight", weight, &[linear.out_features(), linear.in_features()])?;
    if let Some(bias) = bias {
        check::shape(OP, "bias", bias, &[linear.out_features()])?;
    }
    let weight = storage::floats(OP, "weight", weight)?;
    let bias = bias.map(|bias| storage::floats(OP, "bias", bias)).transpose()?;
    let (format, inputs) = (linear.format(), linear.in_features());
    let packed: &mut Weights = linear.packed_mut(OP, NAME)?;
    packed.weight = round_weights(format, weight, inputs);
    match bias {
        Some(bias) => packed.bias.copy_from_slice(bias),
        None => packed.bias.fill(0.0),
    }
    Ok(())
}

pub(crate) fn linear(x: Rows<'_>, linear: &Linear, epilogue: Epilogue<'_>, y: RowsMut<'_>) -> Result<()> {
    const OP: &str = "linear";
    check::linear(x.dims, linear, &epilogue, y.dims, y.tensor.layout())?;
    let Weights { weight, bias } = linear.packed(OP, NAME)?;
    let Epilogue { activation, write, pre_activation } = epilogue;
    let total = x.dims.total();
    let x = storage::rows(OP, "x", x)?;
    let mut y = storage::rows_mut(OP, "y", y)?;
    let mut pre_activation =
        pre_activation.map(|tensor| storage::rows_mut(OP, "pre_activation", tensor.into())).transpose()?;

    for row in 0..total {
        let rows_of_weight = weight.chunks_exact(linear.in_features());
        let x = round_row(linear.format(), x.row(row));
        let z: Vec<f64> = rows_of_weight.zip(bias).map(|(w, &b)| dot(&x, w) + f64::from(b)).collect();
        if let Some(pre_activation) = &mut pre_activation {
            pre_activation.store(row, Write::Replace, z.iter().copied());
        }
        y.store(row, write, z.iter().map(|&z| activation.value_f64(z)));
    }
    Ok(())
}

/// `dx = dy·W`, `dW += dyᵀ·x`, `db += Σ dy`.
pub(crate) fn linear_backward(
    x: Rows<'_>,
    linear: &Linear,
    dy: Rows<'_>,
    gradients: LinearGradients<'_>,
) -> Result<()> {
    const OP: &str = "linear_backward";
    check::linear_backward(x.dims, linear, dy.dims, &gradients)?;
    let Weights { weight, .. } = linear.packed(OP, NAME)?;
    let (in_features, out_features) = (linear.in_features(), linear.out_features());
    let total = x.dims.total();
    let x = storage::rows(OP, "x", x)?;
    let dy = storage::rows(OP, "dy", dy)?;
    let mut dweight = storage::floats_mut(OP, "weight gradient", gradients.weight)?;
    let mut dbias = gradients.bias.map(|bias| storage::floats_mut(OP, "bias gradient", bias)).transpose()?;
    let dx = gradients.x.map(|(dx, write)| Ok((storage::rows_mut(OP, "x gradient", dx)?, write)));

    if let Some((mut dx, write)) = dx.transpose()? {
        for row in 0..total {
            let mut sum = vec![0.0; in_features];
            for (&dy, w) in dy.row(row).iter().zip(weight.chunks_exact(in_features)) {
                add_scaled(&mut sum, dy.into(), w);
            }
            dx.store(row, write, sum);
        }
    }
    for out in 0..out_features {
        let mut sum = vec![0.0; in_features];
        for row in 0..total {
            add_scaled(&mut sum, dy.row(row)[out].into(), x.row(row));
        }
        dweight.store_all(out * in_features, Write::Accumulate, sum);
        if let Some(dbias) = &mut dbias {
            let sum = (0..total).map(|row| f64::from(dy.row(row)[out])).sum();
            dbias.store(out, Write::Accumulate, sum);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
