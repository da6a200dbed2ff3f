//! Maps, by which a GPU's copy engine (TMA) finds the tiles of a tensor.

use std::mem::MaybeUninit;

use bytemuck::NoUninit;
use cudarc::driver::sys;
use kernels_backend::{DType, Error, Result};

use crate::{device::Device, memory::Address};

/// `TensorMap` of tma.h: made by the driver, read by the GPU.
#[derive(Clone, Copy, NoUninit)]
#[repr(C, align(64))]
pub(crate) struct TensorMap([u64; 16]);

/// A dimension of a tensor.
#[derive(Clone, Copy)]
pub(crate) struct Dimension {
    pub(crate) size: usize,
    /// Elements between two neighbours.
    pub(crate) stride: usize,
    /// How many neighbours a tile has, at most 256.
    pub(crate) of_box: usize,
}

impl TensorMap {
    /// A tensor of 16-bit elements in `dimensions`, the innermost first, whose elements are neighbours. Each stride is a
    /// multiple of the one before, and of 16 bytes from the second on. Rows of a box are 32, 64 or 128 bytes, and swizzled
    /// by as many.
    pub(crate) fn new<const RANK: usize>(
        op: &'static str,
        device: &Device,
        dtype: DType,
        data: Address,
        dimensions: [Dimension; RANK],
    ) -> Result<Self> {
        use sys::{CUtensorMapDataType as Type, CUtensorMapSwizzle as Swizzle};
        device.bind(op)?;
        let element = match dtype {
            DType::Bf16 => Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            DType::F16 => Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            found => return Err(Error::DType { op, operand: "x", expected: DType::Bf16, found }),
        };
        let swizzle = match dimensions[0].of_box * dtype.size() {
            32 => Swizzle::CU_TENSOR_MAP_SWIZZLE_32B,
            64 => Swizzle::CU_TENSOR_MAP_SWIZZLE_64B,
            _ => Swizzle::CU_TENSOR_MAP_SWIZZLE_128B,
        };
        // The driver takes no stride for the innermost dimension.
        let strides = dimensions.map(|dimension| (dimension.stride * dtype.size()) as u64);
        let mut map = MaybeUninit::<Self>::zeroed();
        // SAFETY: the driver writes a map of 128 bytes, aligned to 64, and reads RANK sizes, boxes and steps, and RANK − 1
        // strides; it does not touch the tensor.
        let result = unsafe {
            sys::cuTensorMapEncodeTiled(
                map.as_mut_ptr().cast(),
                element,
                RANK as u32,
                data as *mut _,
                dimensions.map(|dimension| dimension.size as u64).as_ptr(),
                strides[1..].as_ptr(),
                dimensions.map(|dimension| dimension.of_box as u32).as_ptr(),
                [1; RANK].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        device.driver(op, result.result())?;
        // SAFETY: the driver said that it wrote the map.
        Ok(unsafe { map.assume_init() })
    }
}
