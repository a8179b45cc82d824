/* The interpreter and the special functions for AVX2 and FMA. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2,popcnt,lzcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi2,popcnt,lzcnt")
#endif
#define SET(name) name##_avx2
#define SET_NAME "AVX2"
#define SET_AVX2 1
#include "engine/vgpu/interpreter_body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int vgpu_no_avx2;
#endif
