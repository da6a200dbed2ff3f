//! The crate `gemm` on the shapes of the linear layers, for comparison: the bare product, without bias,
//! activation or residual.

use gemm::{Parallelism, gemm};

use crate::{
    cases::{LINEAR, noise},
    meter::Case,
};

/// Every linear layer, on as many threads.
pub(crate) fn all(threads: usize) -> Vec<Case> {
    LINEAR.iter().map(|layer| case(layer.rows, layer.inputs, layer.outputs, threads)).collect()
}

fn case(rows: usize, inputs: usize, outputs: usize, threads: usize) -> Case {
    Case {
        op: "linear",
        format: kernels_backend::WeightFormat::F32,
        shape: format!("{rows}x{inputs}x{outputs}"),
        operations: Some(2.0 * (rows * inputs * outputs) as f64),
        prepare: Box::new(move |_| {
            let (x, weight) = (noise(rows * inputs), noise(outputs * inputs));
            let mut y = vec![0.0f32; rows * outputs];
            Box::new(move || {
                let [m, n, k] = [rows, outputs, inputs];
                let stride = |n: usize| n as isize;
                // SAFETY: y is m × n, x is m × k and weight n × k, all row after row; y overlaps neither.
                unsafe {
                    gemm(
                        m,
                        n,
                        k,
                        y.as_mut_ptr(),
                        1,
                        stride(n),
                        false,
                        x.as_ptr(),
                        1,
                        stride(k),
                        weight.as_ptr(),
                        stride(k),
                        1,
                        0.0,
                        1.0,
                        false,
                        false,
                        false,
                        Parallelism::Rayon(threads),
                    );
                }
            })
        }),
    }
}
