// The functions of cuda_fp16.h.
#include <cuda_fp16.h>

using Number = __half;
using Pair = __half2;
#define NAME half
#include "half_kernels.h"
