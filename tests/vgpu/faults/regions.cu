// Arrays side by side within one block of dynamic shared memory, and within one allocation.
#include "faults.h"
#include "kernels/regions.h"

template <bool FAULT>
__device__ void into_the_next_region(PARAMETERS) {
  extern __shared__ int memory[];
  int *const left = marked_region(memory, 64), *const right = marked_region(memory + 64, 64);
  const int t = threadIdx.x;
  left[t] = a[t];
  right[t] = a[t] + n;
  __syncthreads();
  b[t] = right[t] + left[FAULT || t < 63 ? t + 1 : t];  //@ into_the_next_region
}
PAIR(into_the_next_region)

template <bool FAULT>
__device__ void into_the_region_before(PARAMETERS) {
  extern __shared__ int memory[];
  int *const left = marked_region(memory, 64), *const right = marked_region(memory + 64, 64);
  const int t = threadIdx.x;
  left[t] = a[t];
  __syncthreads();
  right[FAULT || t > 0 ? t - 1 : 63] = left[63 - t] + n;  //@ into_the_region_before
  __syncthreads();
  if (t < 63) b[t] = right[t];
}
PAIR(into_the_region_before)

template <bool FAULT>
__device__ void past_a_global_region(PARAMETERS) {
  int *const first = marked_region(a, n), *const second = marked_region(a + n, n);
  const int t = threadIdx.x;
  second[t] = t;
  __syncthreads();
  b[t] = first[FAULT ? t + 1 : t] + second[63 - t];  //@ past_a_global_region
}
PAIR(past_a_global_region)
