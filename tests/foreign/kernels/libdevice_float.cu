// One kernel a function of libdevice, on float.
#include "libdevice_functions.h"

#define UNARY(name, real, ulps)                                                                       \
  extern "C" __global__ void name##_kernel(const float *x, const float *, float *result, int count) { \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                              \
    if (i < count) result[i] = name(x[i]);                                                            \
  }
#define BINARY(name, real, ulps)                                                                       \
  extern "C" __global__ void name##_kernel(const float *x, const float *y, float *result, int count) { \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                               \
    if (i < count) result[i] = name(x[i], y[i]);                                                       \
  }
FLOAT_UNARY(UNARY)
FLOAT_BINARY(BINARY)
