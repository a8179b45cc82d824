/* The functions of libdevice that are checked: CUDA's name (overloaded for float and double), how many numbers it
 * takes, and the maximum errors in ulps for float and double, as the tables "Mathematical Standard Library Functions
 * with Maximum ULP Error" of the CUDA C++ Programming Guide 13 state them against the correctly rounded result. All
 * rows of the tables but norm and rnorm, for which they state none. -1: the bound depends on the argument, and stands
 * in the test. Names with an underscore that CUDA does not have are wrappers in libdevice_kernels.h. */
#ifndef TESTS_FOREIGN_KERNELS_LIBDEVICE_FUNCTIONS_H
#define TESTS_FOREIGN_KERNELS_LIBDEVICE_FUNCTIONS_H

#define LIBDEVICE_FUNCTIONS(X) \
  X(add, 2, 0, 0)              \
  X(multiply, 2, 0, 0)         \
  X(divide, 2, 0, 0)           \
  X(reciprocal, 1, 0, 0)       \
  X(rsqrt, 1, 2, 1)            \
  X(sqrt, 1, 0, 0)             \
  X(cbrt, 1, 1, 1)             \
  X(rcbrt, 1, 1, 1)            \
  X(hypot, 2, 3, 2)            \
  X(rhypot, 2, 2, 1)           \
  X(norm3d, 3, 3, 2)           \
  X(rnorm3d, 3, 2, 1)          \
  X(norm4d, 4, 3, 2)           \
  X(rnorm4d, 4, 2, 1)          \
  X(exp, 1, 2, 1)              \
  X(exp2, 1, 2, 1)             \
  X(exp10, 1, 2, 1)            \
  X(expm1, 1, 1, 1)            \
  X(log, 1, 1, 1)              \
  X(log2, 1, 1, 1)             \
  X(log10, 1, 2, 1)            \
  X(log1p, 1, 1, 1)            \
  X(sin, 1, 2, 2)              \
  X(cos, 1, 2, 2)              \
  X(tan, 1, 4, 2)              \
  X(sincos_sin, 1, 2, 2)       \
  X(sincos_cos, 1, 2, 2)       \
  X(sinpi, 1, 1, 2)            \
  X(cospi, 1, 1, 2)            \
  X(sincospi_sin, 1, 1, 2)     \
  X(sincospi_cos, 1, 1, 2)     \
  X(asin, 1, 2, 2)             \
  X(acos, 1, 2, 2)             \
  X(atan, 1, 2, 2)             \
  X(atan2, 2, 3, 2)            \
  X(sinh, 1, 3, 2)             \
  X(cosh, 1, 2, 1)             \
  X(tanh, 1, 2, 1)             \
  X(asinh, 1, 3, 3)            \
  X(acosh, 1, 4, 3)            \
  X(atanh, 1, 3, 2)            \
  X(pow, 2, 4, 2)              \
  X(erf, 1, 2, 2)              \
  X(erfc, 1, 4, 5)             \
  X(erfinv, 1, 2, 5)           \
  X(erfcinv, 1, 4, 6)          \
  X(erfcx, 1, 4, 4)            \
  X(normcdf, 1, 5, 5)          \
  X(normcdfinv, 1, 5, 8)       \
  X(lgamma, 1, -1, -1)         \
  X(tgamma, 1, 5, 10)          \
  X(fma, 3, 0, 0)              \
  X(frexp_fraction, 1, 0, 0)   \
  X(frexp_exponent, 1, 0, 0)   \
  X(ldexp_by, 2, 0, 0)         \
  X(scalbn_by, 2, 0, 0)        \
  X(scalbln_by, 2, 0, 0)       \
  X(logb, 1, 0, 0)             \
  X(ilogb_number, 1, 0, 0)     \
  X(j0, 1, -1, -1)             \
  X(j1, 1, -1, -1)             \
  X(jn_128, 1, -1, -1)         \
  X(y0, 1, -1, -1)             \
  X(y1, 1, -1, -1)             \
  X(yn_3, 1, -1, -1)           \
  X(cyl_bessel_i0, 1, 6, 6)    \
  X(cyl_bessel_i1, 1, 6, 6)    \
  X(fmod, 2, 0, 0)             \
  X(remainder, 2, 0, 0)        \
  X(remquo_remainder, 2, 0, 0) \
  X(remquo_quotient, 2, 0, 0)  \
  X(modf_fraction, 1, 0, 0)    \
  X(modf_whole, 1, 0, 0)       \
  X(fdim, 2, 0, 0)             \
  X(trunc, 1, 0, 0)            \
  X(round, 1, 0, 0)            \
  X(rint, 1, 0, 0)             \
  X(nearbyint, 1, 0, 0)        \
  X(ceil, 1, 0, 0)             \
  X(floor, 1, 0, 0)            \
  X(lrint_number, 1, 0, 0)     \
  X(lround_number, 1, 0, 0)    \
  X(llrint_number, 1, 0, 0)    \
  X(llround_number, 1, 0, 0)

/* Integers from numbers, where one fits; the number itself elsewhere. */
#define LIBDEVICE_WHOLE(function, x) (fabs(x) < Number(9e18) ? static_cast<Number>(function(x)) : (x))
/* An exponent from a number. */
#define LIBDEVICE_EXPONENT(x) (isfinite(x) ? static_cast<int>(fmod(x, Number(2200))) : 0)

#endif
