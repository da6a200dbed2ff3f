// Attention in f16 on tensor cores; see attention_mma.h. A file of its own, as the driver compiles whole files.
#include "attention_mma.h"

KERNEL(THREADS, 2, attention_mma_f16_32, const __grid_constant__ Attention p) { attend<f16, 32>(p); }
KERNEL(THREADS, 2, attention_mma_f16_64, const __grid_constant__ Attention p) { attend<f16, 64>(p); }
KERNEL(THREADS, 2, attention_mma_f16_80, const __grid_constant__ Attention p) { attend<f16, 80>(p); }
KERNEL(THREADS, 2, attention_mma_f16_96, const __grid_constant__ Attention p) { attend<f16, 96>(p); }
KERNEL(THREADS, 2, attention_mma_f16_128, const __grid_constant__ Attention p) { attend<f16, 128>(p); }
