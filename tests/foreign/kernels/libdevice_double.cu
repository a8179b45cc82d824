// One kernel a function of libdevice, on double.
#include "libdevice_functions.h"

#define UNARY(name, real, ulps)                                                                          \
  extern "C" __global__ void name##_kernel(const double *x, const double *, double *result, int count) { \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                                 \
    if (i < count) result[i] = name(x[i]);                                                               \
  }
#define BINARY(name, real, ulps)                                                                          \
  extern "C" __global__ void name##_kernel(const double *x, const double *y, double *result, int count) { \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                                  \
    if (i < count) result[i] = name(x[i], y[i]);                                                          \
  }
DOUBLE_UNARY(UNARY)
DOUBLE_BINARY(BINARY)
