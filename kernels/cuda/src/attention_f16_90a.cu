// Attention in f16 on Hopper; see attention_90a.h. A file of its own, as the driver compiles whole files.
#include "attention_90a.h"

ATTENTION_90A(f16, 32)
ATTENTION_90A(f16, 64)
ATTENTION_90A(f16, 80)
ATTENTION_90A(f16, 96)
ATTENTION_90A(f16, 128)
