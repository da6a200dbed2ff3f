//! `linear` on Hopper: where its kernel applies, and how it is launched.

use bytemuck::NoUninit;
use kernels_backend::{DType, Result};

use crate::{
    kernel::{Context, Grid, Kernel},
    linear::{LinearParameters, Packed},
    tma::{Dimension, TensorMap},
};

/// `Linear90a` of linear_90a.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Linear90a {
    x: TensorMap,
    weight: TensorMap,
    epilogue: crate::linear::EpilogueArgument,
    rows: i32,
    inputs: i32,
    outputs: i32,
    /// So that no byte is undefined.
    padding: [i32; 7],
}

/// Rows of a tile, and input features of a step.
const ROWS: usize = 128;
const STEP: usize = 64;

/// Columns of a tile, stages of its ring, and its kernels: of bf16 and of f16.
const KERNELS: [(usize, [Kernel<Linear90a>; 2]); 3] = [
    (256, kernels(["linear_90a_bf16_256", "linear_90a_f16_256"], 256, 4)),
    (192, kernels(["linear_90a_bf16_192", "linear_90a_f16_192"], 192, 5)),
    (128, kernels(["linear_90a_bf16_128", "linear_90a_f16_128"], 128, 6)),
];

const fn kernels(names: [&'static str; 2], columns: usize, stages: usize) -> [Kernel<Linear90a>; 2] {
    let shared = stages * (ROWS + columns) * STEP * 2;
    [
        Kernel::new("linear_90a", names[0]).with_hopper_shared(shared),
        Kernel::new("linear_90a", names[1]).with_hopper_shared(shared),
    ]
}

/// Launches the kernel for parameters that suit tensor cores and rows of x at equal distances.
///
/// # Safety
/// As [`Context::launch`], for `parameters`.
pub(crate) unsafe fn launch(ctx: &Context<'_>, parameters: &LinearParameters, packed: &Packed) -> Result<()> {
    let [rows, inputs, outputs] = parameters.sizes();
    let (columns, kernels) = suitable(rows, outputs, ctx.device.multiprocessors);
    let matrix = |data, [rows, stride, of_box]: [usize; 3]| {
        let across = Dimension { size: inputs, stride: 1, of_box: STEP };
        let down = Dimension { size: rows, stride, of_box };
        TensorMap::new("linear", ctx.device, packed.dtype, data, [across, down])
    };
    let parameters = Linear90a {
        x: matrix(parameters.x.first(), [rows, parameters.x.stride as usize, ROWS])?,
        weight: matrix(parameters.weight, [outputs, packed.stride, *columns])?,
        epilogue: parameters.epilogue,
        rows: parameters.rows,
        inputs: parameters.inputs,
        outputs: parameters.outputs,
        padding: [0; 7],
    };
    let tiles = rows.div_ceil(ROWS) * outputs.div_ceil(*columns);
    let grid = Grid::of_blocks([tiles.min(ctx.device.multiprocessors), 1, 1], 384);
    // SAFETY: by this function's contract.
    unsafe { ctx.launch(&kernels[usize::from(packed.dtype == DType::F16)], grid, &parameters) }
}

/// The widest tile among those that keep the multiprocessors busy for the shortest time: rounds of tiles, each as long as
/// its tiles are wide.
fn suitable(rows: usize, outputs: usize, multiprocessors: usize) -> &'static (usize, [Kernel<Linear90a>; 2]) {
    let time = |columns: usize| {
        (rows.div_ceil(ROWS) * outputs.div_ceil(columns)).div_ceil(multiprocessors.max(1)) * columns
    };
    let [first, rest @ ..] = &KERNELS;
    rest.iter().fold(first, |best, next| if time(next.0) < time(best.0) { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::suitable;

    #[test]
    fn the_tile_is_the_one_that_leaves_the_fewest_multiprocessors_idle() {
        // Eight clips of the base model on 132 multiprocessors: 98 tiles of rows.
        for (rows, outputs, columns) in [(12_544, 768, 192), (12_544, 3072, 256), (1568, 768, 128)] {
            assert_eq!(suitable(rows, outputs, 132).0, columns, "{rows} x {outputs}");
        }
    }
}
