/* special.h: passes to the instruction set of this CPU. */
#include "engine/vgpu/special.h"

#include "engine/vgpu/special_set.h"

static const struct special_set *set(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    return &special_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &special_avx2;
#endif
  return &special_baseline;
}

void vgpu_ex2_f32(float *result, const float *x, bool flush) { set()->ex2(result, x, flush); }
void vgpu_lg2_f32(float *result, const float *x, bool flush) { set()->lg2(result, x, flush); }
void vgpu_sin_f32(float *result, const float *x, bool flush) { set()->sin(result, x, flush); }
void vgpu_cos_f32(float *result, const float *x, bool flush) { set()->cos(result, x, flush); }
void vgpu_tanh_f32(float *result, const float *x) { set()->tanh(result, x); }
void vgpu_rcp_f32(float *result, const float *x, bool flush) { set()->rcp(result, x, flush); }
void vgpu_sqrt_f32(float *result, const float *x, bool flush) { set()->sqrt(result, x, flush); }
void vgpu_rsqrt_f32(float *result, const float *x, bool flush) { set()->rsqrt(result, x, flush); }
void vgpu_div_f32(float *result, const float *a, const float *b, bool flush) { set()->div(result, a, b, flush); }
void vgpu_rcp_f64(double *result, const double *x) { set()->rcp64(result, x); }
void vgpu_rsqrt_f64(double *result, const double *x) { set()->rsqrt64(result, x); }
