// Races on shared memory within a block, and within a warp.
#include "faults.h"

template <bool FAULT>
__device__ void missing_barrier(PARAMETERS) {
  __shared__ int s[256];
  const int t = threadIdx.x;
  s[t] = a[t];  //@ missing_barrier
  if (!FAULT) __syncthreads();
  b[t] = s[(t + 32) % n];  //@ missing_barrier
}
PAIR(missing_barrier)

// The read of one round against the write of the next.
template <bool FAULT>
__device__ void missing_second_barrier(PARAMETERS) {
  __shared__ int s[256];
  const int t = threadIdx.x;
  for (int round = 0; round < 3; ++round) {
    s[t] = a[t] + round;  //@ missing_second_barrier
    __syncthreads();
    b[t] = s[n - 1 - t];  //@ missing_second_barrier
    if (!FAULT) __syncthreads();
  }
}
PAIR(missing_second_barrier)

template <bool FAULT>
__device__ void two_writers(PARAMETERS) {
  __shared__ int s;
  const int t = threadIdx.x;
  if (FAULT ? t % 64 == 0 : t == 64) s = t;  //@ two_writers
  __syncthreads();
  b[t] = s;
}
PAIR(two_writers)

// All write the same value: allowed. Lanes of one instruction write different ones: not.
template <bool FAULT>
__device__ void writers_in_one_instruction(PARAMETERS) {
  __shared__ int s;
  const int t = threadIdx.x;
  s = FAULT ? t : n;  //@ writers_in_one_instruction
  __syncthreads();
  b[t] = s;
}
PAIR(writers_in_one_instruction)

template <bool FAULT>
__device__ void missing_syncwarp(PARAMETERS) {
  __shared__ int s[32];
  const int t = threadIdx.x;
  s[t] = a[t];  //@ missing_syncwarp
  if (!FAULT) __syncwarp();
  b[t] = s[t ^ 1];  //@ missing_syncwarp
}
PAIR(missing_syncwarp)

// A shuffle keeps lanes together, but orders no memory.
template <bool FAULT>
__device__ void shuffle_is_no_syncwarp(PARAMETERS) {
  __shared__ int s[32];
  const int t = threadIdx.x;
  s[t] = a[t];  //@ shuffle_is_no_syncwarp
  const int other = __shfl_xor_sync(~0u, t, 1);
  if (!FAULT) __syncwarp();
  b[t] = s[other];  //@ shuffle_is_no_syncwarp
}
PAIR(shuffle_is_no_syncwarp)

template <bool FAULT>
__device__ void syncwarp_of_half_a_warp(PARAMETERS) {
  __shared__ int s[32];
  const int t = threadIdx.x;
  s[t] = a[t];  //@ syncwarp_of_half_a_warp
  if (t < 16) {
    __syncwarp(0x0000ffff);
  } else {
    __syncwarp(0xffff0000);
  }
  b[t] = s[FAULT ? t ^ 16 : t ^ 8];  //@ syncwarp_of_half_a_warp
}
PAIR(syncwarp_of_half_a_warp)

template <bool FAULT>
__device__ void reduction_without_syncwarp(PARAMETERS) {
  __shared__ int s[32];
  const int t = threadIdx.x;
  s[t] = a[t];
  __syncwarp();
  for (int step = 16; step > 0; step /= 2) {
    if (t < step) s[t] += s[t + step];  //@ reduction_without_syncwarp
    if (!FAULT) __syncwarp();
  }
  if (t == 0) b[0] = s[0];
}
PAIR(reduction_without_syncwarp)

template <bool FAULT>
__device__ void reduction_without_barrier(PARAMETERS) {
  __shared__ int s[256];
  const int t = threadIdx.x;
  s[t] = a[t];
  __syncthreads();
  for (int step = 128; step > 0; step /= 2) {
    if (t < step) s[t] += s[t + step];  //@ reduction_without_barrier
    if (!FAULT || step == 16) __syncthreads();
    if (FAULT) __syncwarp();
  }
  if (t == 0) b[0] = s[0];
}
PAIR(reduction_without_barrier)

template <bool FAULT>
__device__ void scan_in_place(PARAMETERS) {
  __shared__ int s[256];
  const int t = threadIdx.x;
  s[t] = a[t];
  __syncthreads();
  for (int step = 32; step < n; step *= 2) {
    const int left = t >= step ? s[t - step] : 0;  //@ scan_in_place
    if (!FAULT) __syncthreads();
    s[t] += left;  //@ scan_in_place
    __syncthreads();
  }
  b[t] = s[t];
}
PAIR(scan_in_place)

template <bool FAULT>
__device__ void atomic_against_plain(PARAMETERS) {
  __shared__ int s;
  const int t = threadIdx.x;
  if (t == 0) s = 0;
  __syncthreads();
  atomicAdd(&s, 1);  //@ atomic_against_plain
  if (!FAULT) __syncthreads();
  b[t] = s;  //@ atomic_against_plain
}
PAIR(atomic_against_plain)

template <bool FAULT>
__device__ void transpose(PARAMETERS) {
  __shared__ int tile[16][17];
  const int x = threadIdx.x % 16, y = threadIdx.x / 16;
  tile[y][x] = a[threadIdx.x];  //@ transpose
  if (!FAULT) __syncthreads();
  b[threadIdx.x] = tile[x][y];  //@ transpose
}
PAIR(transpose)

// The buffer that is being read is filled for the next round.
template <bool FAULT>
__device__ void double_buffer(PARAMETERS) {
  __shared__ int s[2][256];
  const int t = threadIdx.x;
  int sum = 0;
  s[0][t] = a[t];
  __syncthreads();
  for (int round = 0; round < 4; ++round) {
    const int now = round % 2, next = FAULT && round == 2 ? now : 1 - now;
    sum += s[now][n - 1 - t];   //@ double_buffer
    s[next][t] = a[t] + round;  //@ double_buffer
    __syncthreads();
  }
  b[t] = sum;
}
PAIR(double_buffer)

template <bool FAULT>
__device__ void bytes_of_neighbours(PARAMETERS) {
  __shared__ unsigned char s[256];
  const int t = threadIdx.x;
  s[t] = (unsigned char)a[t];  //@ bytes_of_neighbours
  if (!FAULT) __syncthreads();
  b[t] = s[FAULT ? (t + 1) % n : t];  //@ bytes_of_neighbours
}
PAIR(bytes_of_neighbours)

// The barrier is met by half of the block only.
template <bool FAULT>
__device__ void barrier_of_half_a_block(PARAMETERS) {
  __shared__ int s[128];
  const int t = threadIdx.x;
  s[t] = a[t];  //@ barrier_of_half_a_block
  asm volatile("bar.sync %0, 64;" ::"r"(1 + t / 64) : "memory");
  b[t] = s[FAULT ? 127 - t : t ^ 63];  //@ barrier_of_half_a_block
}
PAIR(barrier_of_half_a_block)

// A producer that waits instead of arriving, and a consumer that only arrives.
template <bool FAULT>
__device__ void arrive_for_sync(PARAMETERS) {
  __shared__ int s[32];
  const int t = threadIdx.x;
  if (t < 32) {
    s[t] = a[t];  //@ arrive_for_sync
    if (FAULT) {
      asm volatile("bar.sync 1, 64;" ::: "memory");
    } else {
      asm volatile("bar.arrive 1, 64;" ::: "memory");
    }
  } else {
    if (FAULT) {
      asm volatile("bar.arrive 1, 64;" ::: "memory");
    } else {
      asm volatile("bar.sync 1, 64;" ::: "memory");
    }
    b[t] = s[t - 32];  //@ arrive_for_sync
  }
}
PAIR(arrive_for_sync)

// A flag between warps: the fence is missing.
template <bool FAULT>
__device__ void flag_between_warps(PARAMETERS) {
  __shared__ int s, flag;
  const int t = threadIdx.x;
  if (t == 0) flag = 0;
  __syncthreads();
  if (t == 0) {
    s = a[1];  //@ flag_between_warps
    if (!FAULT) __threadfence_block();
    *(volatile int *)&flag = 1;
  } else if (t == 32) {
    while (*(volatile int *)&flag == 0) continue;
    __threadfence_block();
    b[0] = s;  //@ flag_between_warps
  }
}
PAIR(flag_between_warps)
