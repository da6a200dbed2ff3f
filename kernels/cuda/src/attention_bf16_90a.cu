// Attention in bf16 on Hopper; see attention_90a.h. A file of its own, as the driver compiles whole files.
#include "attention_90a.h"

ATTENTION_90A(bf16, 32)
ATTENTION_90A(bf16, 64)
ATTENTION_90A(bf16, 80)
ATTENTION_90A(bf16, 96)
ATTENTION_90A(bf16, 128)
