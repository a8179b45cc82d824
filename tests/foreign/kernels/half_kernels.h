// One kernel a function of cuda_fp16.h or cuda_bf16.h, on `Number`, `Pair`, whose name in conversions is NAME.
#include "half_functions.h"

#define JOIN_(a, b, c, d) a##b##c##d
#define JOIN(a, b, c, d) JOIN_(a, b, c, d)

#define KERNEL(name, Type, Result, value)                                                                            \
  extern "C" __global__ void name##_kernel(const Type *x, const Type *y, const Type *z, Result *result, int count) { \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                                             \
    if (i < count) result[i] = value;                                                                                \
  }

#define UNARY(name, pairs, real)           \
  KERNEL(name, Number, Number, name(x[i])) \
  KERNEL(pairs, Pair, Pair, pairs(x[i]))
#define BINARY(name, pairs, real)                \
  KERNEL(name, Number, Number, name(x[i], y[i])) \
  KERNEL(pairs, Pair, Pair, pairs(x[i], y[i]))
#define TERNARY(name, pairs, real)                     \
  KERNEL(name, Number, Number, name(x[i], y[i], z[i])) \
  KERNEL(pairs, Pair, Pair, pairs(x[i], y[i], z[i]))
HALF_UNARY(UNARY)
HALF_BINARY(BINARY)
HALF_TERNARY(TERNARY)

#define COMPARE(name, comparison, unordered)                               \
  KERNEL(__h##name, Number, unsigned short, __h##name(x[i], y[i]))         \
  KERNEL(__h##name##2, Pair, Pair, __h##name##2(x[i], y[i]))               \
  KERNEL(__h##name##2_mask, Pair, unsigned, __h##name##2_mask(x[i], y[i])) \
  KERNEL(__hb##name##2, Pair, unsigned, __hb##name##2(x[i], y[i]))
HALF_COMPARE(COMPARE)
KERNEL(__hisnan, Number, unsigned short, __hisnan(x[i]))
KERNEL(__hisnan2, Pair, Pair, __hisnan2(x[i]))
KERNEL(__hisinf, Number, unsigned short, __hisinf(x[i]))

#define FROM_INTEGER(name, Integer, mode) \
  KERNEL(from_##name##_##mode, long long, Number, JOIN(__##name, 2, NAME, _##mode)(static_cast<Integer>(x[i])))
#define TO_INTEGER(name, Integer, mode) \
  KERNEL(to_##name##_##mode, Number, long long, static_cast<long long>(JOIN(__, NAME, 2, name##_##mode)(x[i])))
#define INTEGERS(mode)              \
  HALF_INTEGERS(FROM_INTEGER, mode) \
  HALF_INTEGERS(TO_INTEGER, mode)
INTEGERS(rn)
INTEGERS(rz)
INTEGERS(rd)
INTEGERS(ru)
TO_INTEGER(char, signed char, rz)
TO_INTEGER(uchar, unsigned char, rz)

#define FROM_FLOAT(mode) KERNEL(from_float_##mode, float, Number, JOIN(__float2, NAME, _, mode)(x[i]))
FROM_FLOAT(rn)
FROM_FLOAT(rz)
FROM_FLOAT(rd)
FROM_FLOAT(ru)
KERNEL(from_floats_rn, float2, Pair, JOIN(__floats2, NAME, 2, _rn)(x[i].x, x[i].y))
KERNEL(from_double_rn, double, Number, JOIN(__double2, NAME, , )(x[i]))
KERNEL(to_float, Number, float, JOIN(__, NAME, 2float, )(x[i]))
