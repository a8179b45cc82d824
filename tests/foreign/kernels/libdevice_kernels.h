// One kernel a function of libdevice, on `Number`.
#include "libdevice_functions.h"

#define WRAPPER(name) __device__ static Number name
WRAPPER(add)(Number x, Number y) { return x + y; }
WRAPPER(multiply)(Number x, Number y) { return x * y; }
WRAPPER(divide)(Number x, Number y) { return x / y; }
WRAPPER(reciprocal)(Number x) { return 1 / x; }
WRAPPER(sincos_sin)(Number x) {
  Number sine, cosine;
  sincos(x, &sine, &cosine);
  return sine;
}
WRAPPER(sincos_cos)(Number x) {
  Number sine, cosine;
  sincos(x, &sine, &cosine);
  return cosine;
}
WRAPPER(sincospi_sin)(Number x) {
  Number sine, cosine;
  sincospi(x, &sine, &cosine);
  return sine;
}
WRAPPER(sincospi_cos)(Number x) {
  Number sine, cosine;
  sincospi(x, &sine, &cosine);
  return cosine;
}
WRAPPER(frexp_fraction)(Number x) {
  int exponent;
  return frexp(x, &exponent);
}
WRAPPER(frexp_exponent)(Number x) {
  int exponent;
  frexp(x, &exponent);
  return isfinite(x) ? exponent : 0;
}
WRAPPER(modf_fraction)(Number x) {
  Number whole;
  return modf(x, &whole);
}
WRAPPER(modf_whole)(Number x) {
  Number whole;
  modf(x, &whole);
  return whole;
}
WRAPPER(remquo_remainder)(Number x, Number y) {
  int quotient;
  return remquo(x, y, &quotient);
}
// Its sign, and the three bits that are promised.
WRAPPER(remquo_quotient)(Number x, Number y) {
  int quotient = 0;
  const Number remainder = remquo(x, y, &quotient);
  return isnan(remainder) ? 0 : quotient < 0 ? -(-quotient & 7) : quotient & 7;
}
WRAPPER(ldexp_by)(Number x, Number y) { return ldexp(x, LIBDEVICE_EXPONENT(y)); }
WRAPPER(scalbn_by)(Number x, Number y) { return scalbn(x, LIBDEVICE_EXPONENT(y)); }
WRAPPER(scalbln_by)(Number x, Number y) { return scalbln(x, static_cast<long>(LIBDEVICE_EXPONENT(y))); }
WRAPPER(ilogb_number)(Number x) { return ilogb(x); }
WRAPPER(lrint_number)(Number x) { return LIBDEVICE_WHOLE(lrint, x); }
WRAPPER(lround_number)(Number x) { return LIBDEVICE_WHOLE(lround, x); }
WRAPPER(llrint_number)(Number x) { return LIBDEVICE_WHOLE(llrint, x); }
WRAPPER(llround_number)(Number x) { return LIBDEVICE_WHOLE(llround, x); }
WRAPPER(jn_128)(Number x) { return jn(128, x); }
WRAPPER(yn_3)(Number x) { return yn(3, x); }

#define CALL_1(name) name(x[i])
#define CALL_2(name) name(x[i], y[i])
#define CALL_3(name) name(x[i], y[i], z[i])
#define CALL_4(name) name(x[i], y[i], z[i], t[i])
#define KERNEL(name, arguments, float_ulps, double_ulps)                                                       \
  extern "C" __global__ void name##_kernel(const Number *x, const Number *y, const Number *z, const Number *t, \
                                           Number *result, int count) {                                        \
    const int i = blockIdx.x * blockDim.x + threadIdx.x;                                                       \
    if (i < count) result[i] = CALL_##arguments(name);                                                         \
  }
LIBDEVICE_FUNCTIONS(KERNEL)
