//! Shape checks, one function per op, called once at the op's door by every backend.
//!
//! They return the sizes a kernel needs, so that kernels do no checking of their own.

use crate::{
    AttentionOptions, BackwardStream, DType, Dropout, Epilogue, Error, LayerNorm, Layout, Linear,
    LinearBlock, PatchGeometry, Result, RowDims, Shape, Tensor, View,
};

/// The sizes of a video and of its patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchDims {
    /// B.
    pub batch: usize,
    /// T.
    pub frames: usize,
    /// C.
    pub channels: usize,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
    /// `(time, height, width)` in patches.
    pub grid: [usize; 3],
    /// Elements of a patch.
    pub patch: usize,
}

impl PatchDims {
    /// N, the patches of a sample.
    pub fn tokens(&self) -> usize {
        self.grid.iter().product()
    }
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionDims {
    /// B.
    pub batch: usize,
    /// N.
    pub tokens: usize,
    /// h.
    pub num_heads: usize,
    /// d; D is `num_heads · head_dim`.
    pub head_dim: usize,
}

fn refuse(op: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Shape { op, expected: expected.into(), found: found.into() }
}

/// `tensor` has `shape`.
///
/// # Errors
/// [`Error::Shape`].
pub fn shape(op: &'static str, operand: &str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    if **tensor.shape() == *shape {
        return Ok(());
    }
    Err(refuse(op, format!("{operand} of shape {}", Shape::new(shape)), tensor.shape().to_string()))
}

/// `tensor` is of type `dtype`.
///
/// # Errors
/// [`Error::DType`].
pub fn dtype(op: &'static str, operand: &'static str, tensor: &Tensor, dtype: DType) -> Result<()> {
    if tensor.dtype() == dtype {
        return Ok(());
    }
    Err(Error::DType { op, operand, expected: dtype, found: tensor.dtype() })
}

/// `rows` belong to a tensor of one, two or three dimensions and are `batch` × `count` × `width`.
///
/// # Errors
/// [`Error::Shape`].
pub fn rows(op: &'static str, operand: &str, rows: RowDims, expected: (usize, usize, usize)) -> Result<()> {
    let found = (rows.batch, rows.rows, rows.width);
    if found == expected {
        return Ok(());
    }
    let text = |(b, r, w)| format!("({b}, {r}, {w})");
    Err(refuse(op, format!("{operand} of shape {}", text(expected)), text(found)))
}

/// `src` and `dst` see the same number of rows of the same width, however they are split into samples.
///
/// # Errors
/// [`Error::Shape`].
pub fn same_rows(op: &'static str, src: RowDims, dst: RowDims) -> Result<()> {
    // A tensor of two dimensions counts as one sample, so (B, D) may stand for (B, 1, D).
    if (src.total(), src.width) == (dst.total(), dst.width) {
        return Ok(());
    }
    let text = |d: RowDims| format!("{} rows of {}", d.total(), d.width);
    Err(refuse(op, format!("a destination of {}", text(src)), text(dst)))
}

/// Two tensors have the same shape.
///
/// # Errors
/// [`Error::Shape`].
pub fn same_shape(op: &'static str, operand: &str, a: &Tensor, b: &Tensor) -> Result<()> {
    shape(op, operand, b, a.shape())
}

/// Every index lies in `0..bound`.
///
/// # Errors
/// [`Error::Index`].
pub fn indices(op: &'static str, indices: &[i32], bound: usize) -> Result<()> {
    match indices.iter().find(|&&i| usize::try_from(i).map_or(true, |i| i >= bound)) {
        Some(&index) => Err(Error::Index { op, index: index.into(), bound }),
        None => Ok(()),
    }
}

/// `data` is of a float type.
fn float_view(op: &'static str, operand: &'static str, data: &View<'_>) -> Result<()> {
    if data.dtype() == DType::I32 {
        return Err(Error::DType { op, operand, expected: DType::F32, found: DType::I32 });
    }
    Ok(())
}

/// Blocks of a linear layer agree; returns `(in, out)`.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`] for integers.
pub fn linear_blocks(blocks: &[LinearBlock<'_>]) -> Result<(usize, usize)> {
    const OP: &str = "pack_linear";
    let Some(first) = blocks.first() else {
        return Err(refuse(OP, "at least one block", "none"));
    };
    let in_features = first.weight.shape().get(1).copied().unwrap_or(0);
    let mut out_features = 0;
    for block in blocks {
        match **block.weight.shape() {
            [out, width] if width == in_features && out > 0 && width > 0 => {
                float_view(OP, "weight", &block.weight)?;
                if let Some(bias) = &block.bias {
                    float_view(OP, "bias", bias)?;
                }
                if let Some(bias) = &block.bias
                    && **bias.shape() != [out]
                {
                    return Err(refuse(OP, format!("a bias of shape ({out})"), bias.shape().to_string()));
                }
                out_features += out;
            }
            _ => {
                return Err(refuse(
                    OP,
                    format!("a weight of shape (out, {in_features}), no size zero"),
                    block.weight.shape().to_string(),
                ));
            }
        }
    }
    Ok((in_features, out_features))
}

/// The operands of `linear`.
///
/// # Errors
/// [`Error::Shape`].
pub fn linear(
    x: RowDims,
    linear: &Linear,
    epilogue: &Epilogue<'_>,
    y: RowDims,
    layout: Layout,
) -> Result<()> {
    const OP: &str = "linear";
    if x.width != linear.in_features() {
        return Err(refuse(
            OP,
            format!("{} input features", linear.in_features()),
            format!("rows of {}", x.width),
        ));
    }
    same_rows(OP, RowDims { width: linear.out_features(), ..x }, y)?;
    if let Layout::Heads { num_heads } = layout
        && (num_heads == 0
            || !y.width.is_multiple_of(3 * num_heads)
            || y.rows != y.rows_per_sample
            || (x.batch, x.rows) != (y.batch, y.rows))
    {
        return Err(refuse(
            OP,
            format!("q, k and v of {num_heads} heads each, whole samples"),
            format!("a width of {}, rows {}..{}", y.width, y.offset, y.offset + y.rows),
        ));
    }
    if let Some(pre) = &epilogue.pre_activation {
        let pre_dims = crate::Rows::from(&**pre).dims;
        same_rows(OP, RowDims { width: linear.out_features(), ..x }, pre_dims)?;
    }
    Ok(())
}

/// The operands of `layer_norm`.
///
/// # Errors
/// [`Error::Shape`]; [`Error::DType`] for an affine part or stats that are not f32.
pub fn layer_norm(x: RowDims, norm: &LayerNorm, y: RowDims, stats: Option<&Tensor>) -> Result<()> {
    const OP: &str = "layer_norm";
    shape(OP, "weight", &norm.weight, &[x.width])?;
    shape(OP, "bias", &norm.bias, &[x.width])?;
    dtype(OP, "weight", &norm.weight, DType::F32)?;
    dtype(OP, "bias", &norm.bias, DType::F32)?;
    same_rows(OP, x, y)?;
    if let Some(stats) = stats {
        shape(OP, "stats", stats, &[x.total(), 2])?;
        dtype(OP, "stats", stats, DType::F32)?;
    }
    Ok(())
}

/// The operands of `attention`.
///
/// # Errors
/// [`Error::Shape`]; [`Error::DType`] for stats that are not f32.
pub fn attention(
    op: &'static str,
    qkv: &Tensor,
    options: &AttentionOptions,
    context: Option<&Tensor>,
    stats: Option<&Tensor>,
) -> Result<AttentionDims> {
    let num_heads = options.num_heads;
    let [batch, tokens, width] = **qkv.shape() else {
        return Err(refuse(op, "qkv of shape (B, N, 3·D)", qkv.shape().to_string()));
    };
    if num_heads == 0 || width == 0 || !width.is_multiple_of(3 * num_heads) {
        return Err(refuse(
            op,
            format!("a width of 3·D with D a multiple of {num_heads} heads"),
            width.to_string(),
        ));
    }
    if let Layout::Heads { num_heads: found } = qkv.layout()
        && found != num_heads
    {
        return Err(refuse(op, format!("qkv laid out for {num_heads} heads"), found.to_string()));
    }
    if let Some(dropout) = options.dropout {
        self::dropout(op, dropout)?;
    }
    if let Some(context) = context {
        shape(op, "context", context, &[batch, tokens, width / 3])?;
    }
    if let Some(stats) = stats {
        shape(op, "stats", stats, &[batch, num_heads, tokens])?;
        dtype(op, "stats", stats, DType::F32)?;
    }
    Ok(AttentionDims { batch, tokens, num_heads, head_dim: width / 3 / num_heads })
}

/// A probability in `[0, 1)`.
///
/// # Errors
/// [`Error::Shape`].
pub fn dropout(op: &'static str, dropout: Dropout) -> Result<()> {
    if (0.0..1.0).contains(&dropout.probability) {
        return Ok(());
    }
    Err(refuse(op, "a dropout probability in [0, 1)", dropout.probability.to_string()))
}

/// A video and how it is cut.
///
/// # Errors
/// [`Error::Shape`] when the geometry does not divide the video.
pub fn patches(op: &'static str, pixel_values: &Tensor, geometry: PatchGeometry) -> Result<PatchDims> {
    let [batch, frames, channels, height, width] = **pixel_values.shape() else {
        return Err(refuse(op, "pixel_values of shape (B, T, C, H, W)", pixel_values.shape().to_string()));
    };
    let PatchGeometry { tubelet_size, patch_height, patch_width } = geometry;
    let divides = |size: usize, by: usize| by > 0 && size > 0 && size.is_multiple_of(by);
    if !(divides(frames, tubelet_size) && divides(height, patch_height) && divides(width, patch_width)) {
        return Err(refuse(
            op,
            format!("T, H, W that are multiples of {tubelet_size}, {patch_height}, {patch_width}"),
            format!("{frames}, {height}, {width}"),
        ));
    }
    Ok(PatchDims {
        batch,
        frames,
        channels,
        height,
        width,
        grid: [frames / tubelet_size, height / patch_height, width / patch_width],
        patch: channels * tubelet_size * patch_height * patch_width,
    })
}

/// The operands of `normalize_levels`; returns the channels and the elements of one of them in a frame.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`].
pub fn normalize_levels(levels: &Tensor, table: &Tensor, pixel_values: &Tensor) -> Result<(usize, usize)> {
    const OP: &str = "normalize_levels";
    dtype(OP, "levels", levels, DType::U8)?;
    dtype(OP, "table", table, DType::F32)?;
    let [_, _, channels, height, width] = **levels.shape() else {
        return Err(refuse(OP, "levels of shape (B, T, C, H, W)", levels.shape().to_string()));
    };
    shape(OP, "table", table, &[channels, 256])?;
    shape(OP, "pixel_values", pixel_values, levels.shape())?;
    Ok((channels, height * width))
}

/// Whether elements of a type can be written to a tensor of another: between floats, and between equal types.
///
/// # Errors
/// [`Error::DType`].
pub fn converts(op: &'static str, operand: &'static str, from: DType, to: DType) -> Result<()> {
    if from == to || from.is_float() && to.is_float() {
        return Ok(());
    }
    Err(Error::DType { op, operand, expected: to, found: from })
}

/// The operands of `patchify` and of its backward.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`].
pub fn patchify(
    op: &'static str,
    pixel_values: &Tensor,
    geometry: PatchGeometry,
    indices: Option<&Tensor>,
    patches: RowDims,
) -> Result<PatchDims> {
    let dims = self::patches(op, pixel_values, geometry)?;
    let count = match indices {
        Some(indices) => index_count(op, indices, dims.batch)?,
        None => dims.tokens(),
    };
    rows(op, "patches", patches, (dims.batch, count, dims.patch))?;
    Ok(dims)
}

/// The operands of `patch_targets`.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`].
pub fn patch_targets(
    pixel_values: &Tensor,
    targets: &crate::PatchTargets<'_>,
    indices: &Tensor,
    labels: &Tensor,
) -> Result<PatchDims> {
    const OP: &str = "patch_targets";
    let dims = patches(OP, pixel_values, targets.geometry)?;
    let count = index_count(OP, indices, dims.batch)?;
    shape(OP, "labels", labels, &[dims.batch, count, dims.patch])?;
    if !(targets.unnormalize.is_empty() || targets.unnormalize.len() == dims.channels) {
        return Err(refuse(
            OP,
            format!("a mean and std for each of {} channels", dims.channels),
            targets.unnormalize.len().to_string(),
        ));
    }
    if targets.normalize && dims.patch / dims.channels.max(1) < 2 {
        return Err(refuse(OP, "patches of at least two pixels for a variance", "one"));
    }
    Ok(dims)
}

/// `indices` is `(batch, I)` of type I32; returns I.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`].
pub fn index_count(op: &'static str, indices: &Tensor, batch: usize) -> Result<usize> {
    dtype(op, "indices", indices, DType::I32)?;
    match **indices.shape() {
        [samples, count] if samples == batch => Ok(count),
        _ => Err(refuse(op, format!("indices of shape ({batch}, I)"), indices.shape().to_string())),
    }
}

/// The operands of `gather_rows`; returns the rows of the table.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`].
pub fn gather_rows(table: &Tensor, indices: &Tensor, dst: RowDims) -> Result<usize> {
    const OP: &str = "gather_rows";
    let [count, width] = **table.shape() else {
        return Err(refuse(OP, "a table of shape (R, D)", table.shape().to_string()));
    };
    let taken = index_count(OP, indices, dst.batch)?;
    rows(OP, "destination", dst, (dst.batch, taken, width))?;
    Ok(count)
}

/// The operands of `broadcast_rows`; returns R.
///
/// # Errors
/// [`Error::Shape`].
pub fn broadcast_rows(row: &Tensor, dst: RowDims) -> Result<usize> {
    const OP: &str = "broadcast_rows";
    let (count, width) = match **row.shape() {
        [width] => (1, width),
        [count, width] => (count, width),
        _ => (0, 0),
    };
    if width != dst.width || count == 0 || !dst.rows.is_multiple_of(count) {
        return Err(refuse(
            OP,
            format!("rows of {} whose number divides {}", dst.width, dst.rows),
            row.shape().to_string(),
        ));
    }
    Ok(count)
}

/// The operands of `mean_tokens` and its backward: `(B, N, D)` against `(B, D)`.
///
/// # Errors
/// [`Error::Shape`].
pub fn mean_tokens(op: &'static str, tokens: RowDims, mean: &Tensor) -> Result<()> {
    if tokens.rows == 0 {
        return Err(refuse(op, "at least one row in a sample", "none"));
    }
    shape(op, "mean", mean, &[tokens.batch, tokens.width])
}

/// The operands of a loss: `x`, its target, the scalar, and the gradient if asked for.
///
/// # Errors
/// [`Error::Shape`].
pub fn loss(
    op: &'static str,
    x: &Tensor,
    target: &[usize],
    loss: &Tensor,
    gradient: Option<&Tensor>,
) -> Result<()> {
    if x.shape().elements() == 0 {
        return Err(refuse(op, "at least one element", x.shape().to_string()));
    }
    if **x.shape() != *target {
        return Err(refuse(op, format!("a target of shape {}", x.shape()), Shape::new(target).to_string()));
    }
    shape(op, "loss", loss, &[1])?;
    gradient.map_or(Ok(()), |gradient| same_shape(op, "gradient", x, gradient))
}

/// The operands of `cross_entropy_loss`; returns `(B, K)`.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`].
pub fn cross_entropy_loss(
    logits: &Tensor,
    labels: &Tensor,
    loss: &Tensor,
    gradient: Option<&Tensor>,
) -> Result<(usize, usize)> {
    const OP: &str = "cross_entropy_loss";
    let [batch, classes] = **logits.shape() else {
        return Err(refuse(OP, "logits of shape (B, K)", logits.shape().to_string()));
    };
    dtype(OP, "labels", labels, DType::I32)?;
    shape(OP, "labels", labels, &[batch])?;
    self::loss(OP, logits, logits.shape(), loss, gradient)?;
    Ok((batch, classes))
}

/// The operands of `linear_backward`.
///
/// # Errors
/// [`Error::Shape`].
pub fn linear_backward(
    x: RowDims,
    linear: &Linear,
    dy: RowDims,
    gradients: &crate::LinearGradients<'_>,
) -> Result<()> {
    const OP: &str = "linear_backward";
    let (inputs, outputs) = (linear.in_features(), linear.out_features());
    same_rows(OP, RowDims { width: outputs, ..x }, dy)?;
    if x.width != inputs {
        return Err(refuse(OP, format!("{inputs} input features"), format!("rows of {}", x.width)));
    }
    shape(OP, "weight gradient", gradients.weight, &[outputs, inputs])?;
    if let Some(bias) = &gradients.bias {
        shape(OP, "bias gradient", bias, &[outputs])?;
    }
    gradients.x.as_ref().map_or(Ok(()), |(dx, _)| same_rows(OP, x, dx.dims))
}

/// The operands of `layer_norm_backward`.
///
/// # Errors
/// [`Error::Shape`].
pub fn layer_norm_backward(
    x: RowDims,
    norm: &LayerNorm,
    stats: &Tensor,
    dy: RowDims,
    gradients: &crate::LayerNormGradients<'_>,
) -> Result<()> {
    const OP: &str = "layer_norm_backward";
    layer_norm(x, norm, dy, Some(stats))?;
    same_rows(OP, x, gradients.x.dims)?;
    shape(OP, "weight gradient", gradients.weight, &[x.width])?;
    shape(OP, "bias gradient", gradients.bias, &[x.width])
}

/// The refusal of a backend that only runs forward.
///
/// # Errors
/// Always [`Error::Unsupported`].
pub fn no_backward(backend: &str) -> Result<Box<dyn BackwardStream>> {
    Err(Error::unsupported(backend, "training", "the backend \"reference\""))
}
