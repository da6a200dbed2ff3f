//! The primitives of ptx.h: on a device, that their two bodies agree.

use std::cell::RefCell;

use bytemuck::NoUninit;
use kernels_backend::Result;

use super::*;
use crate::{
    backend::CudaBackend,
    device::Device,
    kernel::{Context, Grid, Kernel},
    memory::Address,
    queue::Queue,
    storage::{storage, type_code},
};

/// `Primitives` of primitives.cu.
#[derive(Clone, Copy, NoUninit)]
#[repr(C)]
struct Primitives {
    a: Address,
    b: Address,
    d: Address,
    rows: i32,
    dtype: i32,
}

const PRIMITIVES: Kernel<Primitives> = Kernel::new("primitives", "primitives");

/// The product of two 16×16 matrices, of which the first has only `rows` rows.
pub(crate) fn product(dtype: DType, rows: usize) -> Result<Vec<f32>> {
    let backend = CudaBackend::new(Device::open(0, crate::Kernels::default()).unwrap())?;
    let device = &backend.device;
    let queue = RefCell::new(Queue::new(device)?);
    let mut s = Arc::clone(&backend).stream()?;
    let a = typed(&mut *s, [16, 16], dtype, &noise(1, 256));
    let b = typed(&mut *s, [16, 16], dtype, &noise(2, 256));
    let d = unset(&mut *s, [16, 16]);
    s.synchronize()?;
    let address = |tensor| storage("primitives", tensor, device).map(|storage| storage.memory.address);
    let parameters = Primitives {
        a: address(&a)?,
        b: address(&b)?,
        d: address(&d)?,
        rows: rows as i32,
        dtype: type_code("primitives", "a", dtype)?,
    };
    let ctx = Context { device, queue: &queue };
    // SAFETY: three tensors of 16×16 elements, of the type given.
    unsafe { ctx.launch(&PRIMITIVES, Grid::of_blocks([1, 1, 1], 64), &parameters)? };
    queue.borrow_mut().synchronize("primitives")?;
    Ok(values(&mut *s, &d))
}

#[test]
fn copies_fragments_and_products_of_tensor_cores_agree_with_their_definition() {
    LazyLock::force(&CUDA);
    for (dtype, rows) in [(DType::Bf16, 16), (DType::F16, 16), (DType::F16, 11)] {
        let round = |seed| -> Vec<f32> {
            let numbers = noise(seed, 256).into_iter();
            match dtype {
                DType::Bf16 => numbers.map(|x| half::bf16::from_f32(x).to_f32()).collect(),
                _ => numbers.map(|x| half::f16::from_f32(x).to_f32()).collect(),
            }
        };
        let (a, b) = (round(1), round(2));
        let at = |i: usize| -> f32 {
            let (row, column) = (i / 16, i % 16);
            let terms = (0..16).map(|k| f64::from(a[row * 16 + k]) * f64::from(b[k * 16 + column]));
            if row < rows { terms.sum::<f64>() as f32 } else { 0.0 }
        };
        let expected: Vec<f32> = (0..256).map(at).collect();
        for &seed in seeds() {
            let found =
                with_options(&Options { seed, ..Options::default() }, || product(dtype, rows).unwrap());
            Comparison::of(&found, &expected).assert_within("product", DType::F32, 16);
        }
    }
}
