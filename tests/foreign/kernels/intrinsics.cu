// One kernel an intrinsic.
#include "intrinsics_list.h"

#define KERNEL(name, Type, Result, value)                                                                            \
  extern "C" __global__ void name##_kernel(const Type *x, const Type *y, const Type *z, Result *result, int count) { \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                                             \
    if (i >= count) return;                                                                                          \
    const Type a = x[i], b = y[i], c = z[i];                                                                         \
    (void)b, (void)c;                                                                                                \
    result[i] = value;                                                                                               \
  }

#define SIMD(name, meaning)                              \
  KERNEL(name##2, unsigned, unsigned, __##name##2(a, b)) \
  KERNEL(name##4, unsigned, unsigned, __##name##4(a, b))
SIMD_INTRINSICS(SIMD)
SIMD_SUM_INTRINSICS(SIMD)
#define SIMD_UNARY(name, meaning)                     \
  KERNEL(name##2, unsigned, unsigned, __##name##2(a)) \
  KERNEL(name##4, unsigned, unsigned, __##name##4(a))
SIMD_UNARY_INTRINSICS(SIMD_UNARY)

#define WORD(name, call, meaning) KERNEL(name, unsigned, unsigned, call)
WORD_INTRINSICS(WORD)
#define DOUBLEWORD(name, call, meaning) KERNEL(name, unsigned long long, unsigned long long, call)
DOUBLEWORD_INTRINSICS(DOUBLEWORD)

#define OPERANDS_1 (a)
#define OPERANDS_2 (a, b)
#define ROUNDED(name, operands, meaning)                                   \
  KERNEL(f##name##_rn, float, float, __f##name##_rn OPERANDS_##operands)   \
  KERNEL(f##name##_rz, float, float, __f##name##_rz OPERANDS_##operands)   \
  KERNEL(f##name##_rd, float, float, __f##name##_rd OPERANDS_##operands)   \
  KERNEL(f##name##_ru, float, float, __f##name##_ru OPERANDS_##operands)   \
  KERNEL(d##name##_rn, double, double, __d##name##_rn OPERANDS_##operands) \
  KERNEL(d##name##_rz, double, double, __d##name##_rz OPERANDS_##operands) \
  KERNEL(d##name##_rd, double, double, __d##name##_rd OPERANDS_##operands) \
  KERNEL(d##name##_ru, double, double, __d##name##_ru OPERANDS_##operands)
ROUNDED_INTRINSICS(ROUNDED)

#define ROUNDED_MORE(mode)                                                               \
  KERNEL(fma_##mode, float, float, __fmaf_##mode(a, b, c))                               \
  KERNEL(dfma_##mode, double, double, __fma_##mode(a, b, c))                             \
  KERNEL(float_of_double_##mode, double, float, __double2float_##mode(a))                \
  KERNEL(float_of_ll_##mode, long long, float, __ll2float_##mode(a))                     \
  KERNEL(double_of_ll_##mode, long long, double, __ll2double_##mode(a))                  \
  KERNEL(float_of_int_##mode, long long, float, __int2float_##mode(static_cast<int>(a))) \
  KERNEL(int_of_float_##mode, float, long long, __float2int_##mode(a))                   \
  KERNEL(uint_of_float_##mode, float, long long, __float2uint_##mode(a))                 \
  KERNEL(ll_of_float_##mode, float, long long, __float2ll_##mode(a))                     \
  KERNEL(int_of_double_##mode, double, long long, __double2int_##mode(a))                \
  KERNEL(uint_of_double_##mode, double, long long, __double2uint_##mode(a))              \
  KERNEL(ll_of_double_##mode, double, long long, __double2ll_##mode(a))
ROUNDED_MORE(rn)
ROUNDED_MORE(rz)
ROUNDED_MORE(rd)
ROUNDED_MORE(ru)
