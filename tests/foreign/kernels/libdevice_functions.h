/* The functions of libdevice that are checked: CUDA's name, the function of real numbers (the test says which), and
 * the maximum error in ulps that the table "Mathematical Standard Library Functions with Maximum ULP Error" of the CUDA
 * C++ Programming Guide states, against the correctly rounded result. */
#ifndef TESTS_FOREIGN_KERNELS_LIBDEVICE_FUNCTIONS_H
#define TESTS_FOREIGN_KERNELS_LIBDEVICE_FUNCTIONS_H

#define FLOAT_UNARY(X)    \
  X(expf, exp, 2)         \
  X(exp2f, exp2, 2)       \
  X(exp10f, exp10, 2)     \
  X(expm1f, expm1, 1)     \
  X(logf, log, 1)         \
  X(log2f, log2, 1)       \
  X(log10f, log10, 2)     \
  X(log1pf, log1p, 1)     \
  X(sqrtf, sqrt, 0)       \
  X(rsqrtf, rsqrt, 2)     \
  X(cbrtf, cbrt, 1)       \
  X(rcbrtf, rcbrt, 1)     \
  X(sinf, sin, 2)         \
  X(cosf, cos, 2)         \
  X(tanf, tan, 4)         \
  X(sinpif, sinpi, 1)     \
  X(cospif, cospi, 1)     \
  X(asinf, asin, 2)       \
  X(acosf, acos, 2)       \
  X(atanf, atan, 2)       \
  X(sinhf, sinh, 3)       \
  X(coshf, cosh, 2)       \
  X(tanhf, tanh, 2)       \
  X(asinhf, asinh, 3)     \
  X(acoshf, acosh, 4)     \
  X(atanhf, atanh, 3)     \
  X(erff, erf, 2)         \
  X(erfcf, erfc, 4)       \
  X(erfcxf, erfcx, 4)     \
  X(normcdff, normcdf, 5) \
  X(lgammaf, lgamma, 6)   \
  X(tgammaf, tgamma, 5)   \
  X(rintf, rint, 0)       \
  X(roundf, round, 0)     \
  X(truncf, trunc, 0)     \
  X(floorf, floor, 0)     \
  X(ceilf, ceil, 0)

#define FLOAT_BINARY(X)       \
  X(powf, pow, 4)             \
  X(atan2f, atan2, 3)         \
  X(hypotf, hypot, 3)         \
  X(fmodf, fmod, 0)           \
  X(remainderf, remainder, 0) \
  X(fdimf, fdim, 0)

#define DOUBLE_UNARY(X) \
  X(exp, exp, 1)        \
  X(expm1, expm1, 1)    \
  X(log, log, 1)        \
  X(log1p, log1p, 1)    \
  X(sqrt, sqrt, 0)      \
  X(rsqrt, rsqrt, 1)    \
  X(cbrt, cbrt, 1)      \
  X(sin, sin, 2)        \
  X(cos, cos, 2)        \
  X(tan, tan, 2)        \
  X(asin, asin, 2)      \
  X(acos, acos, 2)      \
  X(atan, atan, 2)      \
  X(sinh, sinh, 2)      \
  X(cosh, cosh, 1)      \
  X(tanh, tanh, 1)      \
  X(erf, erf, 2)        \
  X(erfc, erfc, 5)      \
  X(lgamma, lgamma, 4)  \
  X(tgamma, tgamma, 10)

#define DOUBLE_BINARY(X) \
  X(pow, pow, 2)         \
  X(atan2, atan2, 2)     \
  X(hypot, hypot, 2)     \
  X(fmod, fmod, 0)

#endif
