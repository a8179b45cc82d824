// Arrays within one block of memory, marked for the virtual GPU's mode `check`.
//
//   extern __shared__ float memory[];
//   float *const rows = marked_region(memory, 512), *const sums = marked_region(memory + 512, 32);
//
// An access through such a pointer, or one computed from it, that leaves the array is then reported, also where it
// meets the next array of the block. The marks are compiled in with -DNOPROP_REGIONS only. Elsewhere marked_region() is
// a macro that is its first argument, so that the machine code is that of the unmarked kernel (even an inline function
// that returns its argument has been seen to change it). With it, a mad.lo.u64 that multiplies the size by 0 and adds
// the pointer hands both over, after a pragma that other PTX compilers ignore with a warning.
#pragma once

#if defined(NOPROP_REGIONS)
template <typename T>
static __device__ __forceinline__ T *marked_region(T *pointer, unsigned long long count) {
  T *marked;
  asm("{ .pragma \"noprop.region\"; mad.lo.u64 %0, %1, 0, %2; }" : "=l"(marked) : "l"(count * sizeof(T)), "l"(pointer));
  return marked;
}
#else
#define marked_region(pointer, count) (pointer)
#endif
