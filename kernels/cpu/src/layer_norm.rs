//! Layer norm: y = (x − mean)/√(var + eps) · weight + bias, over each row.

use kernels_backend::{LayerNorm, Result, Rows, RowsMut, Tensor, check};

use crate::{
    operand::{OperandMut, OperandRow},
    simd::Simd,
    storage::{Matrix, floats, floats_mut},
    stream::Context,
    threads::Parts,
};

/// Layer norm of each row; `stats` keeps mean and 1/√(var + eps).
pub(crate) fn layer_norm<S: Simd>(
    context: &Context<'_, S>,
    x: Rows<'_>,
    norm: &LayerNorm,
    y: RowsMut<'_>,
    stats: Option<&mut Tensor>,
) -> Result<()> {
    const OP: &str = "layer_norm";
    check::layer_norm(x.dims, norm, y.dims, stats.as_deref())?;
    let (s, width) = (context.simd, x.dims.width);
    let x = Matrix::new(OP, "x", &x, context.name)?;
    let mut y = OperandMut::new(OP, "y", y, context.name)?;
    let weight = &floats(OP, "weight", &norm.weight, context.name)?[..width];
    let bias = &floats(OP, "bias", &norm.bias, context.name)?[..width];
    let stats = stats.map(|stats| floats_mut(OP, "stats", stats, context.name)).transpose()?.map(Parts::new);
    y.for_each_row(context.threads, |i, y| {
        let x = x.row(i);
        let (mean, inverse_std) = s.vectorize(
            #[inline(always)]
            || normalize(s, x, weight, bias, norm.eps, y),
        );
        if let Some(stats) = &stats {
            // SAFETY: a row is visited once.
            unsafe { stats.part(2 * i..2 * i + 2) }.copy_from_slice(&[mean, inverse_std]);
        }
    });
    Ok(())
}

/// One row. Returns mean and 1/√(var + eps).
///
/// The sum of the row gives a first mean; what it lacks by rounding is the mean of the differences from it,
/// which the second pass finds beside their squares. So a row far from zero loses nothing.
#[inline(always)]
fn normalize<S: Simd>(
    s: S,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    y: OperandRow<'_>,
) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = sum(
        s,
        x,
        0.0,
        #[inline(always)]
        |x| x,
    ) / count;
    let shift = s.splat(mean);
    let rest = sum(
        s,
        x,
        mean,
        #[inline(always)]
        |x| s.sub(x, shift),
    ) / count;
    let squares = sum(
        s,
        x,
        mean,
        #[inline(always)]
        |x| {
            let d = s.sub(x, shift);
            s.mul(d, d)
        },
    );
    let variance = squares / count - rest * rest;
    let inverse_std = 1.0 / (variance + eps).sqrt();
    let affine = Affine { shift, rest: s.splat(rest), scale: s.splat(inverse_std) };
    y.fill(
        #[inline(always)]
        |columns, y| {
            let [x, weight, bias] = [x, weight, bias].map(|row| &row[columns.clone()]);
            affine.row(s, x, weight, bias, y);
        },
    );
    (mean + rest, inverse_std)
}

/// What is done to the numbers of one row: the mean, in two parts, and 1/√(var + eps).
struct Affine<V> {
    shift: V,
    rest: V,
    scale: V,
}

impl<V: Copy> Affine<V> {
    #[inline(always)]
    fn row<S: Simd<Vector = V>>(&self, s: S, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
        let whole = x.len() / S::LANES * S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            let v =
                self.apply(s, s.load_slice(&x[i..]), s.load_slice(&weight[i..]), s.load_slice(&bias[i..]));
            s.store_slice(&mut y[i..], v);
        }
        if whole < x.len() {
            let [x, weight, bias] = [x, weight, bias].map(|row| &row[whole..]);
            let v = self.apply(s, s.load_tail(x, 0.0), s.load_tail(weight, 0.0), s.load_tail(bias, 0.0));
            s.store_tail(&mut y[whole..], v);
        }
    }

    #[inline(always)]
    fn apply<S: Simd<Vector = V>>(&self, s: S, x: V, weight: V, bias: V) -> V {
        let centred = s.sub(s.sub(x, self.shift), self.rest);
        s.mul_add(s.mul(centred, self.scale), weight, bias)
    }
}

/// Σ f(xᵢ), on four vectors of partial sums: they hide the latency of the additions and keep the sums short.
/// `fill` is a number whose f is zero, for the lanes past the end.
#[inline(always)]
pub(crate) fn sum<S: Simd>(s: S, x: &[f32], fill: f32, f: impl Fn(S::Vector) -> S::Vector) -> f32 {
    let mut sums = [s.splat(0.0); 4];
    let mut blocks = x.chunks_exact(4 * S::LANES);
    for block in &mut blocks {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = s.add(*sum, f(s.load_slice(&block[v * S::LANES..])));
        }
    }
    let mut vectors = blocks.remainder().chunks_exact(S::LANES);
    for (vector, sum) in (&mut vectors).zip(&mut sums) {
        *sum = s.add(*sum, f(s.load_slice(vector)));
    }
    if !vectors.remainder().is_empty() {
        sums[3] = s.add(sums[3], f(s.load_tail(vectors.remainder(), fill)));
    }
    s.sum_lanes(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}
