//! Instruction sets: their names, what they need, and the one place where kernels are chosen.

use std::{fmt, sync::Arc};

use kernels_backend::{Backend, Error, Result};

use crate::{
    backend::CpuBackend,
    simd::{Portable, Simd},
    threads::Threads,
};

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// What the program was compiled for: SSE2, NEON or WASM vectors. Runs everywhere.
    Portable,
    /// AVX2 with FMA: x86-64-v3.
    Avx2,
    /// AVX-512 F, BW, CD, DQ and VL: x86-64-v4.
    Avx512,
    /// AVX-512 with the dot products of BF16 and VNNI: Zen 4, Sapphire Rapids and later.
    Avx512Bf16,
}

impl Isa {
    /// All of them, slowest first. Dispatch, tests and benches go through this list.
    pub fn all() -> &'static [Self] {
        &[Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16]
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        Self::all().iter().rev().copied().find(|isa| isa.check().is_ok()).unwrap_or(Self::Portable)
    }

    /// The part of a backend's name after `cpu:`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
        }
    }

    /// Whether this processor has it.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn check(self) -> std::result::Result<(), String> {
        struct Ignore;
        impl Visitor for Ignore {
            type Output = ();
            fn visit<S: Simd>(self, _: S) {}
        }
        self.visit(Ignore)
    }

    /// Calls `visitor` with the token of this instruction set.
    pub(crate) fn visit<V: Visitor>(self, visitor: V) -> std::result::Result<V::Output, String> {
        match self {
            Self::Portable => Ok(visitor.visit(Portable)),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => match pulp::x86::V3::try_new() {
                // 6 × 2 accumulators, two vectors of B and two broadcasts fill the 16 registers.
                Some(token) => Ok(visitor.visit(crate::simd::Instructions::<_, 6>(token))),
                None => Err("the processor lacks AVX2, FMA or another part of x86-64-v3".to_owned()),
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => match pulp::x86::V4::try_new() {
                // 14 × 2 accumulators, two vectors of B and two broadcasts fill the 32 registers.
                Some(token) => Ok(visitor.visit(crate::simd::Instructions::<_, 14>(token))),
                None => Err("the processor lacks AVX-512 F, BW, CD, DQ or VL".to_owned()),
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => match crate::simd::Avx512Bf16::try_new() {
                Some(token) => Ok(visitor.visit(crate::simd::Instructions::<_, 14>(token))),
                None => Err("the processor lacks AVX-512, or its BF16 or VNNI".to_owned()),
            },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 | Self::Avx512Bf16 => Err("the processor is not an x86-64".to_owned()),
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is done with a token, whichever it is.
pub(crate) trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<S: Simd>(self, simd: S) -> Self::Output;
}

/// Opens the backend `cpu:<isa>` on `threads` threads; `None` is `RAYON_NUM_THREADS`, else one for each core.
///
/// # Errors
/// [`Error::Unavailable`] where the processor lacks the instructions, or threads cannot be started.
pub fn open(isa: Isa, threads: Option<usize>) -> Result<Arc<dyn Backend>> {
    struct Open {
        name: String,
        threads: Threads,
    }
    impl Visitor for Open {
        type Output = Arc<dyn Backend>;
        fn visit<S: Simd>(self, simd: S) -> Arc<dyn Backend> {
            CpuBackend::new(simd, &self.name, self.threads)
        }
    }
    let name = format!("cpu:{isa}");
    let unavailable = |reason| Error::Unavailable { name: name.clone(), reason };
    isa.check().map_err(unavailable)?;
    let threads = Threads::new(threads).map_err(unavailable)?;
    isa.visit(Open { name: name.clone(), threads }).map_err(unavailable)
}
