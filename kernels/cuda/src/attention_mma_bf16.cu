// Attention in bf16 on tensor cores; see attention_mma.h. A file of its own, as the driver compiles whole files.
#include "attention_mma.h"

KERNEL(THREADS, 2, attention_mma_bf16_32, const __grid_constant__ Attention p) { attend<bf16, 32>(p); }
KERNEL(THREADS, 2, attention_mma_bf16_64, const __grid_constant__ Attention p) { attend<bf16, 64>(p); }
KERNEL(THREADS, 2, attention_mma_bf16_80, const __grid_constant__ Attention p) { attend<bf16, 80>(p); }
KERNEL(THREADS, 2, attention_mma_bf16_96, const __grid_constant__ Attention p) { attend<bf16, 96>(p); }
KERNEL(THREADS, 2, attention_mma_bf16_128, const __grid_constant__ Attention p) { attend<bf16, 128>(p); }
