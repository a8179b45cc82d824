// What the kernels with planted faults share. Every family has one body with a compile-time switch, so that the kernel
// with the fault and its clean twin have the same lines. A line that a report must name carries the kernel's name:
// "//@ name". All kernels take the same parameters, so that one host program runs them.
#pragma once

#define PARAMETERS int *a, int *b, int n

// NAME_fault and NAME_clean of the template NAME<bool FAULT>(a, b, n).
#define PAIR(name)                                                                        \
  extern "C" __global__ void name##_fault(int *a, int *b, int n) { name<true>(a, b, n); } \
  extern "C" __global__ void name##_clean(int *a, int *b, int n) { name<false>(a, b, n); }
