//! Maps, by which a GPU's copy engine (TMA) finds the tiles of a matrix.

use std::mem::MaybeUninit;

use bytemuck::NoUninit;
use cudarc::driver::sys;
use kernels_backend::{DType, Error, Result};

use crate::{device::Device, memory::Address};

/// `TensorMap` of tma.h: made by the driver, read by the GPU.
#[derive(Clone, Copy, NoUninit)]
#[repr(C, align(64))]
pub(crate) struct TensorMap([u64; 16]);

impl TensorMap {
    /// A matrix of 16-bit elements, `[rows, columns]`, with rows `stride` elements apart, in boxes of `[rows, columns]` whose
    /// rows are 128 bytes, swizzled by as many.
    pub(crate) fn new(
        device: &Device,
        data: Address,
        [rows, columns]: [usize; 2],
        stride: usize,
        dtype: DType,
        [box_rows, box_columns]: [usize; 2],
    ) -> Result<Self> {
        use sys::CUtensorMapDataType as Type;
        const OP: &str = "linear";
        device.bind(OP)?;
        let element = match dtype {
            DType::Bf16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            DType::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            found => return Err(Error::DType { op: OP, operand: "x", expected: DType::Bf16, found }),
        };
        let mut map = MaybeUninit::<Self>::zeroed();
        // SAFETY: the driver writes a map of 128 bytes, aligned to 64, and reads the sizes; it does not touch the matrix.
        let result = unsafe {
            sys::cuTensorMapEncodeTiled(
                map.as_mut_ptr().cast(),
                element,
                2,
                data as *mut _,
                [columns as u64, rows as u64].as_ptr(),
                [(stride * dtype.size()) as u64].as_ptr(),
                [box_columns as u32, box_rows as u32].as_ptr(),
                [1, 1].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        device.driver(OP, result.result())?;
        // SAFETY: the driver said that it wrote the map.
        Ok(unsafe { map.assume_init() })
    }
}
