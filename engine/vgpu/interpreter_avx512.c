/* The interpreter and the special functions for AVX-512 (F, BW, DQ, VL). */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,bmi2,popcnt,lzcnt"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,bmi2,popcnt,lzcnt")
#endif
#define SET(name) name##_avx512
#define SET_NAME "AVX-512"
#define SET_AVX2 1
#define SET_AVX512 1
#include "engine/vgpu/interpreter_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int vgpu_no_avx512;
#endif
