/* The approximate and transcendental operations of PTX, 32 lanes at a time. Interpreter and translated code call the
 * same functions, so that both give the same bits. Inputs and outputs may be the same array; arrays are aligned to 64.
 *
 * Accuracy (tests/vgpu): every function within 1 ulp of the correctly rounded result over the range where PTX states a
 * relative bound, which is inside NVIDIA's documented bounds; sin and cos within 2^-21.4 absolute on [-pi, pi] as
 * documented, here 1 ulp for |x| <= 2^20. Infinities, NaN (0x7fffffff), signed zeros as the PTX manual's tables say.
 * `flush`: the .ftz form, subnormal inputs and results become signed zero. */
#ifndef VGPU_SPECIAL_H
#define VGPU_SPECIAL_H

#include <stdbool.h>

void vgpu_ex2_f32(float *result, const float *x, bool flush);
void vgpu_lg2_f32(float *result, const float *x, bool flush);
void vgpu_sin_f32(float *result, const float *x, bool flush);
void vgpu_cos_f32(float *result, const float *x, bool flush);
void vgpu_tanh_f32(float *result, const float *x);
void vgpu_rcp_f32(float *result, const float *x, bool flush);  /* rcp.approx: here correctly rounded */
void vgpu_sqrt_f32(float *result, const float *x, bool flush); /* sqrt.approx: here correctly rounded */
void vgpu_rsqrt_f32(float *result, const float *x, bool flush);
void vgpu_div_f32(float *result, const float *a, const float *b,
                  bool flush);                        /* div.approx, div.full: correctly rounded;
                                       div.approx's zero for 2^126 < |b| < 2^128 is not copied */
void vgpu_rcp_f64(double *result, const double *x);   /* rcp.approx.ftz.f64: the high 20 mantissa bits, low word zero */
void vgpu_rsqrt_f64(double *result, const double *x); /* rsqrt.approx.ftz.f64, likewise */

#endif
