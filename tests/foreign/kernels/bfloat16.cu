// The functions of cuda_bf16.h.
#include <cuda_bf16.h>

using Number = __nv_bfloat16;
using Pair = __nv_bfloat162;
#define NAME bfloat16
#include "half_kernels.h"
