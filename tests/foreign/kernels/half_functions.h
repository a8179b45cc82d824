/* The functions of cuda_fp16.h and cuda_bf16.h that are checked: names (the same for both types, but for conversions),
 * their forms for pairs, and the functions of real numbers that they round (the test says which). */
#ifndef TESTS_FOREIGN_KERNELS_HALF_FUNCTIONS_H
#define TESTS_FOREIGN_KERNELS_HALF_FUNCTIONS_H

#define HALF_UNARY(X)           \
  X(__hneg, __hneg2, negated)   \
  X(__habs, __habs2, magnitude) \
  X(hceil, h2ceil, ceil)        \
  X(hfloor, h2floor, floor)     \
  X(hrint, h2rint, nearbyint)   \
  X(htrunc, h2trunc, trunc)     \
  X(hsqrt, h2sqrt, sqrt)        \
  X(hrsqrt, h2rsqrt, rsqrt)     \
  X(hrcp, h2rcp, reciprocal)    \
  X(hlog, h2log, log)           \
  X(hlog2, h2log2, log2)        \
  X(hlog10, h2log10, log10)     \
  X(hexp, h2exp, exp)           \
  X(hexp2, h2exp2, exp2)        \
  X(hexp10, h2exp10, exp10)     \
  X(hsin, h2sin, sin)           \
  X(hcos, h2cos, cos)           \
  X(htanh, h2tanh, tanh)        \
  X(htanh_approx, h2tanh_approx, tanh)

#define HALF_BINARY(X)                             \
  X(__hadd, __hadd2, sum)                          \
  X(__hadd_rn, __hadd2_rn, sum)                    \
  X(__hadd_sat, __hadd2_sat, saturated_sum)        \
  X(__hsub, __hsub2, difference)                   \
  X(__hsub_rn, __hsub2_rn, difference)             \
  X(__hsub_sat, __hsub2_sat, saturated_difference) \
  X(__hmul, __hmul2, product)                      \
  X(__hmul_rn, __hmul2_rn, product)                \
  X(__hmul_sat, __hmul2_sat, saturated_product)    \
  X(__hdiv, __h2div, quotient)                     \
  X(__hmin, __hmin2, smaller)                      \
  X(__hmax, __hmax2, larger)                       \
  X(__hmin_nan, __hmin2_nan, smaller_or_nan)       \
  X(__hmax_nan, __hmax2_nan, larger_or_nan)

#define HALF_TERNARY(X)                       \
  X(__hfma, __hfma2, fused)                   \
  X(__hfma_sat, __hfma2_sat, saturated_fused) \
  X(__hfma_relu, __hfma2_relu, positive_fused)

/* Name, and the comparison in C; those with u hold also where there is a NaN. */
#define HALF_COMPARE(X) \
  X(eq, ==, false)      \
  X(ne, !=, false)      \
  X(lt, <, false)       \
  X(le, <=, false)      \
  X(gt, >, false)       \
  X(ge, >=, false)      \
  X(equ, ==, true)      \
  X(neu, !=, true)      \
  X(ltu, <, true)       \
  X(leu, <=, true)      \
  X(gtu, >, true)       \
  X(geu, >=, true)

/* The integers that numbers are converted from and to. */
#define HALF_INTEGERS(X, mode)    \
  X(short, short, mode)           \
  X(ushort, unsigned short, mode) \
  X(int, int, mode)               \
  X(uint, unsigned, mode)         \
  X(ll, long long, mode)          \
  X(ull, unsigned long long, mode)

#endif
