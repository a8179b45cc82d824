// Accesses one element outside, misaligned ones, and reads of what nobody wrote.
#include "faults.h"

template <bool FAULT>
__device__ void write_past_the_end(PARAMETERS) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (FAULT ? i <= n : i < n) a[i] = i;  //@ write_past_the_end
}
PAIR(write_past_the_end)

template <bool FAULT>
__device__ void read_past_the_end(PARAMETERS) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  b[i] = FAULT || i + 1 < n ? a[i + 1] : 0;  //@ read_past_the_end
}
PAIR(read_past_the_end)

template <bool FAULT>
__device__ void read_before_the_start(PARAMETERS) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  b[i] = FAULT || i > 0 ? a[i - 1] : 0;  //@ read_before_the_start
}
PAIR(read_before_the_start)

template <bool FAULT>
__device__ void write_before_the_start(PARAMETERS) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) a[FAULT ? i - 1 : i] = i;  //@ write_before_the_start
}
PAIR(write_before_the_start)

// n is no multiple of 4.
template <bool FAULT>
__device__ void vector_past_the_end(PARAMETERS) {
  const int i = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (FAULT ? i < n : i + 3 < n) {
    const int4 v = *(const int4 *)(a + i);  //@ vector_past_the_end
    b[i / 4] = v.x + v.y + v.z + v.w;
  }
}
PAIR(vector_past_the_end)

template <bool FAULT>
__device__ void atomic_past_the_end(PARAMETERS) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(a + (FAULT ? i % (n + 1) : i % n), 1);  //@ atomic_past_the_end
}
PAIR(atomic_past_the_end)

// Two arrays side by side in static shared memory.
template <bool FAULT>
__device__ void from_one_array_into_the_next(PARAMETERS) {
  __shared__ int left[64], right[64];
  const int t = threadIdx.x;
  left[t] = a[t];
  right[t] = a[t];
  __syncthreads();
  int *const shifted = n > 0 ? left : right;
  b[t] = right[t] + shifted[FAULT || t < 63 ? t + 1 : t];  //@ from_one_array_into_the_next
}
PAIR(from_one_array_into_the_next)

template <bool FAULT>
__device__ void before_an_array(PARAMETERS) {
  __shared__ int left[64], right[64];
  const int t = threadIdx.x;
  left[t] = a[t];
  right[t] = a[t];
  __syncthreads();
  const int from = FAULT || t > 0 ? t - 1 : t;
  b[t] = n > 0 ? right[from] + left[t] : left[from];  //@ before_an_array
}
PAIR(before_an_array)

template <bool FAULT>
__device__ void past_dynamic_shared(PARAMETERS) {
  extern __shared__ int dynamic[];
  const int t = threadIdx.x;
  if (FAULT ? t <= n : t < n) dynamic[t] = a[t];  //@ past_dynamic_shared
  __syncthreads();
  if (t < n) b[t] = dynamic[t];
}
PAIR(past_dynamic_shared)

template <bool FAULT>
__device__ void past_a_local_array(PARAMETERS) {
  int own[8];
  const int t = threadIdx.x;
  for (int i = 0; i < 8; ++i) own[(i * n + t) % 8] = a[i];
  b[t] = own[FAULT ? t % 9 : t % 8];  //@ past_a_local_array
}
PAIR(past_a_local_array)

__device__ int table[16], other[16];
template <bool FAULT>
__device__ void past_a_variable(PARAMETERS) {
  const int t = threadIdx.x;
  if (t < 16) other[t] = 1;
  if (FAULT ? t < 17 : t < 16) table[t] = n;  //@ past_a_variable
}
PAIR(past_a_variable)

__constant__ int weights[4] = {1, 2, 3, 4};
template <bool FAULT>
__device__ void past_a_constant(PARAMETERS) {
  const int t = threadIdx.x;
  b[t] = weights[FAULT ? t % 5 : t % 4] * n;  //@ past_a_constant
}
PAIR(past_a_constant)

template <bool FAULT>
__device__ void misaligned_global(PARAMETERS) {
  const int t = threadIdx.x;
  const long long v = *(const long long *)(a + (FAULT ? 2 * t + 1 : 2 * t));  //@ misaligned_global
  b[t] = (int)(v >> n);
}
PAIR(misaligned_global)

template <bool FAULT>
__device__ void misaligned_shared(PARAMETERS) {
  __shared__ __align__(16) int s[132];
  const int t = threadIdx.x;
  for (int i = t; i < 132; i += blockDim.x) s[i] = a[i];
  __syncthreads();
  const int4 v = *(const int4 *)(s + 4 * t + (FAULT ? n % 3 : 0));  //@ misaligned_shared
  b[t] = v.x + v.w;
}
PAIR(misaligned_shared)

template <bool FAULT>
__device__ void misaligned_store(PARAMETERS) {
  char *const bytes = (char *)b;
  *(short *)(bytes + 2 * threadIdx.x + (FAULT ? n % 2 : 0)) = (short)a[threadIdx.x];  //@ misaligned_store
}
PAIR(misaligned_store)

// The halo is not filled.
template <bool FAULT>
__device__ void uninitialised_shared(PARAMETERS) {
  __shared__ int s[66];
  const int t = threadIdx.x;
  s[t + 1] = a[t];
  if (t == 0) s[0] = 0;
  if (!FAULT && t == 0) s[65] = 0;
  __syncthreads();
  b[t] = s[t] + s[t + 2] + n;  //@ uninitialised_shared
}
PAIR(uninitialised_shared)

// One thread of the block leaves its element of dynamic shared memory out.
template <bool FAULT>
__device__ void uninitialised_dynamic_shared(PARAMETERS) {
  extern __shared__ int dynamic[];
  const int t = threadIdx.x;
  if (!FAULT || t != 7) dynamic[t] = a[t];
  __syncthreads();
  b[t] = dynamic[n - 1 - t];  //@ uninitialised_dynamic_shared
}
PAIR(uninitialised_dynamic_shared)

// b is written by the kernel before it is read, or not.
template <bool FAULT>
__device__ void uninitialised_global(PARAMETERS) {
  const int t = threadIdx.x;
  if (!FAULT) b[t] = n;
  a[t] = b[t];  //@ uninitialised_global
}
PAIR(uninitialised_global)

template <bool FAULT>
__device__ void uninitialised_counter(PARAMETERS) {
  if (!FAULT && threadIdx.x == 0) b[0] = n;
  __syncthreads();
  atomicAdd(b, a[threadIdx.x]);  //@ uninitialised_counter
}
PAIR(uninitialised_counter)

template <bool FAULT>
__device__ void uninitialised_local(PARAMETERS) {
  int own[8];
  const int t = threadIdx.x;
  for (int i = 0; i < (FAULT ? 7 : 8); ++i) own[(i + n) % 8] = a[i];
  b[t] = own[t % 8];  //@ uninitialised_local
}
PAIR(uninitialised_local)

// Only the low half of the word is written.
template <bool FAULT>
__device__ void half_initialised_word(PARAMETERS) {
  __shared__ int s[64];
  const int t = threadIdx.x;
  if (FAULT) {
    *(short *)(s + t) = (short)a[t];
  } else {
    s[t] = a[t];
  }
  b[t] = s[t] + n;  //@ half_initialised_word
}
PAIR(half_initialised_word)
