/* The table of special functions that each instruction set provides. */
#ifndef VGPU_SPECIAL_SET_H
#define VGPU_SPECIAL_SET_H

#include <stdbool.h>

struct special_set {
  void (*ex2)(float *, const float *, bool), (*lg2)(float *, const float *, bool), (*sin)(float *, const float *, bool);
  void (*cos)(float *, const float *, bool), (*tanh)(float *, const float *), (*rcp)(float *, const float *, bool);
  void (*sqrt)(float *, const float *, bool), (*rsqrt)(float *, const float *, bool);
  void (*div)(float *, const float *, const float *, bool);
  void (*rcp64)(double *, const double *), (*rsqrt64)(double *, const double *);
};

extern const struct special_set special_baseline;
#if defined(__x86_64__)
extern const struct special_set special_avx2, special_avx512;
#endif

#endif
