//! The linear layer: y = [y +] activation(x·Wᵀ + b).
//!
//! Weights lie in panels of as many output features as a register tile has columns, so that a tile reads them
//! in one stream; rows of x are read as they are, one number of each row at a time. A tile runs through all of
//! K in one pass and its sums stay in registers until bias, activation and residual are done.
//!
//! Weights keep the precision they were packed in. Where it is less than f32, x is brought to the same precision first
//! (`narrow`), unless it was written so (`crate::operand`); products are summed in f32, or exactly in integers, and y is f32 again.

mod narrow;
mod pack;
mod product;
mod tile;

use std::ops::Range;

use kernels_backend::{
    Activation, DType, Epilogue, Layout, Linear, Result, Rows, RowsMut, WeightFormat, Write, check,
};

use self::{narrow::RowScale, product::Int8Weights};
pub(crate) use self::{
    narrow::{Scratch, fill_words, vector_scale},
    pack::Packed,
    product::{Bf16, F32, Float, Int8, Product, bf16_code, nearest_code},
    tile::{Ahead, Operands, RowKernel, Sums, accumulate, load, store, with_rows},
};
use crate::{
    activation,
    heads::HeadsMut,
    operand::OperandMut,
    simd::{MAX_TILE_COLUMNS, MAX_TILE_ROWS, Simd, TILE_VECTORS},
    storage::Matrix,
    stream::Context,
};

/// Bytes of x that the tiles of one task read: with a panel of weights they stay in a second-level cache of
/// 512 KiB while the task goes from panel to panel.
const TASK_BYTES: usize = 256 << 10;

/// The most tiles of a task along the rows.
const TASK_TILES: usize = 16;

/// Panels of a task. Three times as many gained 2 % on one thread, as x is read less often; smaller tasks keep
/// several threads busy to the end.
const TASK_PANELS: usize = 16;

/// `y = [y +] activation(x·Wᵀ + b)`.
pub(crate) fn linear<S: Simd>(
    context: &Context<'_, S>,
    scratch: &mut Scratch,
    x: Rows<'_>,
    linear: &Linear,
    epilogue: Epilogue<'_>,
    y: RowsMut<'_>,
) -> Result<()> {
    const OP: &str = "linear";
    check::linear(x.dims, linear, &epilogue, y.dims, y.tensor.layout())?;
    let packed = linear.packed::<Packed<S>>(OP, context.name)?;
    let pre_activation = epilogue
        .pre_activation
        .map(|tensor| Destination::new(OP, "pre_activation", tensor.into(), context.name))
        .transpose()?;
    let (x, rows) = match (packed.format(), x.tensor.dtype()) {
        (WeightFormat::Bf16, DType::Bf16) => (Matrix::of_pairs(OP, "x", &x, context.name)?, &[][..]),
        (WeightFormat::F32, _) => (Matrix::new(OP, "x", &x, context.name)?, &[][..]),
        (format, _) => {
            let x = Matrix::new(OP, "x", &x, context.name)?;
            scratch.narrow(context, &x, format, packed.depth())?
        }
    };
    let job = Job {
        simd: context.simd,
        x,
        rows,
        packed,
        activation: epilogue.activation,
        write: epilogue.write,
        pre_activation,
        y: Destination::new(OP, "y", y, context.name)?,
    };
    match packed.format() {
        WeightFormat::Bf16 => job.run::<Bf16>(context),
        WeightFormat::Int8 => job.run::<Int8Weights>(context),
        _ => job.run::<F32>(context),
    }
    Ok(())
}

/// One linear layer on its way.
struct Job<'a, S> {
    simd: S,
    /// In words, as the weights.
    x: Matrix<'a>,
    /// Of int8, one for each row of x.
    rows: &'a [RowScale],
    packed: &'a Packed<S>,
    activation: Activation,
    write: Write,
    pre_activation: Option<Destination<'a>>,
    y: Destination<'a>,
}

impl<S: Simd> Job<'_, S> {
    fn run<P: Product<S>>(&self, context: &Context<'_, S>) {
        // Rows of a tile lie at equal distances, so no tile crosses a gap between two samples.
        let dims = self.x.dims;
        let (runs, rows) = if dims.is_contiguous() { (1, dims.total()) } else { (dims.batch, dims.rows) };
        let tiles_per_run = rows.div_ceil(P::TILE_ROWS);
        let (tiles, panels) = (runs * tiles_per_run, self.packed.panels());
        let tile_bytes = P::TILE_ROWS * dims.width * size_of::<f32>();
        let task_tiles = (TASK_BYTES / tile_bytes).clamp(2, TASK_TILES);
        let groups = panels.div_ceil(TASK_PANELS);
        context.threads.for_each(tiles.div_ceil(task_tiles) * groups, |task| {
            let (block, group) = (task / groups, task % groups);
            let block = block * task_tiles..tiles.min((block + 1) * task_tiles);
            // Where each tile starts, and its height: found once, not for every panel.
            let mut places = [(0, 0); TASK_TILES];
            for (place, tile) in places.iter_mut().zip(block.clone()) {
                let (run, within) = (tile / tiles_per_run, tile % tiles_per_run);
                let (start, count) = balanced(rows, tiles_per_run, within);
                *place = (run * rows + start, count);
            }
            let mut values = [0.0; MAX_TILE_ROWS * MAX_TILE_COLUMNS];
            for panel in group * TASK_PANELS..panels.min((group + 1) * TASK_PANELS) {
                for &(row, count) in &places[..block.len()] {
                    self.tile::<P>(row, panel, &mut values[..count * S::TILE_COLUMNS]);
                }
            }
        });
    }

    /// The rows from `row` on of one panel, as many as `values` has.
    fn tile<P: Product<S>>(&self, row: usize, panel: usize, values: &mut [f32]) {
        let count = values.len() / S::TILE_COLUMNS;
        let dequantize = (self.packed.format() == WeightFormat::Int8).then(|| {
            let (scales, sums) = self.packed.dequantization(panel);
            Dequantize { rows: &self.rows[row..row + count], scales, sums }
        });
        let tile = BiasedTile {
            a: self.x.tail(row),
            a_stride: self.x.stride,
            b: self.packed.panel(panel),
            depth: self.packed.depth(),
            bias: self.packed.bias(panel),
            dequantize,
            values: &mut *values,
            product: std::marker::PhantomData::<P>,
        };
        with_rows(self.simd, count, tile);
        self.simd.vectorize(
            #[inline(always)]
            || self.finish(row, panel, values),
        );
    }

    /// Activation, residual and store of a tile of `x·Wᵀ + b`, which lies in the first-level cache.
    #[inline(always)]
    fn finish(&self, row: usize, panel: usize, values: &mut [f32]) {
        let first = panel * S::TILE_COLUMNS;
        let columns = first..self.packed.out_features().min(first + S::TILE_COLUMNS);
        if let Some(pre_activation) = &self.pre_activation {
            // SAFETY: every row of every panel is written by one tile.
            unsafe { pre_activation.put(self.simd, row, columns.clone(), values, Write::Replace) };
        }
        activation::apply(self.simd, self.activation, values);
        // SAFETY: every row of every panel is written by one tile.
        unsafe { self.y.put(self.simd, row, columns, values, self.write) };
    }
}

/// A tile of `x·Wᵀ + b`, to `values` row by row.
struct BiasedTile<'a, P> {
    a: &'a [f32],
    a_stride: usize,
    b: &'a [f32],
    depth: usize,
    bias: &'a [f32],
    dequantize: Option<Dequantize<'a>>,
    values: &'a mut [f32],
    product: std::marker::PhantomData<P>,
}

/// What makes numbers of sums of integers; see `narrow`.
struct Dequantize<'a> {
    /// Of the rows of the tile.
    rows: &'a [RowScale],
    /// Of the columns of the tile.
    scales: &'a [f32],
    sums: &'a [f32],
}

impl<S: Simd, P: Product<S>> RowKernel<S> for BiasedTile<'_, P> {
    const TILE_ROWS: usize = P::TILE_ROWS;

    #[inline(always)]
    fn run<const ROWS: usize>(self, s: S) {
        let mut sums: Sums<S, ROWS> = [[s.splat(0.0); TILE_VECTORS]; ROWS];
        let operands = Operands {
            a: self.a,
            a_row: self.a_stride,
            a_step: 1,
            b: self.b,
            ahead: Some(Ahead::of_weights::<S, P>(self.b)),
            depth: self.depth,
        };
        accumulate::<S, P, ROWS>(s, operands, &mut sums);
        for v in 0..TILE_VECTORS {
            let bias = s.load_slice(&self.bias[v * S::LANES..]);
            let Some(Dequantize { rows, scales, sums: weights }) = &self.dequantize else {
                for sums in &mut sums {
                    sums[v] = s.add(sums[v], bias);
                }
                continue;
            };
            let (scales, weights) =
                (s.load_slice(&scales[v * S::LANES..]), s.load_slice(&weights[v * S::LANES..]));
            for (sums, row) in sums.iter_mut().zip(*rows) {
                let scale = s.mul(s.splat(row.scale), scales);
                let constant = s.mul_add(s.splat(row.least), weights, bias);
                sums[v] = s.mul_add(s.integers_to_floats(sums[v]), scale, constant);
            }
        }
        store(s, &sums, self.values);
    }
}

/// Where a linear layer writes.
enum Destination<'a> {
    Rows(OperandMut<'a>),
    Heads(HeadsMut<'a>),
}

impl<'a> Destination<'a> {
    fn new(op: &'static str, operand: &'static str, y: RowsMut<'a>, name: &str) -> Result<Self> {
        let Layout::Heads { num_heads } = y.tensor.layout() else {
            return Ok(Self::Rows(OperandMut::new(op, operand, y, name)?));
        };
        Ok(Self::Heads(HeadsMut::new(op, operand, y.tensor, num_heads, name)?))
    }

    /// Writes or adds the rows of a tile to some columns of as many rows, from the `row`-th seen on.
    ///
    /// # Safety
    /// - Nobody else reads or writes these columns of these rows meanwhile.
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, s: S, row: usize, columns: Range<usize>, values: &[f32], write: Write) {
        match self {
            Self::Rows(rows) => {
                for (r, values) in values.chunks_exact(S::TILE_COLUMNS).enumerate() {
                    let values = &values[..columns.len()];
                    // SAFETY: by this function's contract.
                    unsafe { rows.put(s, row + r, columns.clone(), values, write) };
                }
            }
            // SAFETY: by this function's contract.
            Self::Heads(heads) => unsafe { heads.put(s, row, columns, values, S::TILE_COLUMNS, write) },
        }
    }
}

/// The `i`-th of `pieces` nearly equal pieces of `0..total`: where it starts, and its length. Twelve tiles of
/// 13 and 14 rows are faster than eleven of 14 and a thin one.
#[inline(always)]
pub(crate) fn balanced(total: usize, pieces: usize, i: usize) -> (usize, usize) {
    let (base, longer) = (total / pieces, total % pieces);
    (i * base + i.min(longer), base + usize::from(i < longer))
}
