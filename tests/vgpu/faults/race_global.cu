// Races on global memory within a block and between blocks.
#include "faults.h"

template <bool FAULT>
__device__ void global_neighbour(PARAMETERS) {
  const int t = threadIdx.x;
  a[t] = t;  //@ global_neighbour
  if (!FAULT) __syncthreads();
  b[t] = a[(t + 1) % n];  //@ global_neighbour
}
PAIR(global_neighbour)

template <bool FAULT>
__device__ void neighbour_block(PARAMETERS) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  a[i] = i;  //@ neighbour_block
  __syncthreads();
  b[i] = a[FAULT ? (i + blockDim.x) % n : i ^ 1];  //@ neighbour_block
}
PAIR(neighbour_block)

template <bool FAULT>
__device__ void blocks_write_one_word(PARAMETERS) {
  if (threadIdx.x == 0) a[FAULT ? 0 : blockIdx.x] = blockIdx.x + n;  //@ blocks_write_one_word
}
PAIR(blocks_write_one_word)

template <bool FAULT>
__device__ void plain_counter(PARAMETERS) {
  if (threadIdx.x != 0) return;
  if (FAULT) {
    a[0] += 1;  //@ plain_counter
  } else {
    atomicAdd(a, 1);
  }
}
PAIR(plain_counter)

template <bool FAULT>
__device__ void counter_read_too_early(PARAMETERS) {
  if (threadIdx.x == 0) atomicAdd(a, 1);  //@ counter_read_too_early
  if (blockIdx.x == 2 && threadIdx.x == 1) {
    b[0] = FAULT ? a[0] : atomicAdd(a, 0);  //@ counter_read_too_early
  }
}
PAIR(counter_read_too_early)

template <bool FAULT>
__device__ void counter_of_the_block(PARAMETERS) {
  if (threadIdx.x != 0) return;
  if (FAULT) {
    atomicAdd_block(a, 1);  //@ counter_of_the_block
  } else {
    atomicAdd(a, 1);
  }
}
PAIR(counter_of_the_block)

// The block that finishes last adds up what the others have left. a[0]: how many are done; b: their parts.
enum { WHOLE_FENCE, NO_FENCE, BLOCK_FENCE };
template <int FENCE, bool BARRIER>
__device__ void last_block(PARAMETERS) {
  __shared__ bool last;
  b[blockIdx.x * blockDim.x + threadIdx.x] = threadIdx.x;  //@ last_block
  if (BARRIER) __syncthreads();
  if (threadIdx.x == 0) {
    if (FENCE == WHOLE_FENCE) __threadfence();
    if (FENCE == BLOCK_FENCE) __threadfence_block();
    last = atomicAdd(a, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  int sum = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += b[n - 1 - i];  //@ last_block
  atomicAdd(a + 1, sum);
}
template <bool FAULT>
__device__ void last_block_no_fence(PARAMETERS) {
  last_block<FAULT ? NO_FENCE : WHOLE_FENCE, true>(a, b, n);
}
PAIR(last_block_no_fence)
template <bool FAULT>
__device__ void last_block_block_fence(PARAMETERS) {
  last_block<FAULT ? BLOCK_FENCE : WHOLE_FENCE, true>(a, b, n);
}
PAIR(last_block_block_fence)
template <bool FAULT>
__device__ void last_block_no_barrier(PARAMETERS) {
  last_block<WHOLE_FENCE, !FAULT>(a, b, n);
}
PAIR(last_block_no_barrier)

// Each thread fences its own part, one counts: the other form in use.
template <bool FAULT>
__device__ void fences_of_all_threads(PARAMETERS) {
  __shared__ bool last;
  b[blockIdx.x * blockDim.x + threadIdx.x] = threadIdx.x;  //@ fences_of_all_threads
  if (!FAULT || threadIdx.x != 5) __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(a, 1) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  int sum = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += b[n - 1 - i];  //@ fences_of_all_threads
  atomicAdd(a + 1, sum);
}
PAIR(fences_of_all_threads)

// A flag that the next block waits for: look-back. a[i]: flag of block i; b[i]: its sum.
template <bool RELEASE, bool ACQUIRE>
__device__ void look_back(PARAMETERS) {
  if (threadIdx.x != 0) return;
  const int block = blockIdx.x;
  int before = 0;
  if (block > 0) {
    while (*(volatile int *)(a + block - 1) == 0) continue;
    if (ACQUIRE) __threadfence();
    before = b[block - 1];  //@ look_back
  }
  b[block] = before + block;  //@ look_back
  if (RELEASE) __threadfence();
  *(volatile int *)(a + block) = 1;
}
template <bool FAULT>
__device__ void look_back_without_release(PARAMETERS) {
  look_back<!FAULT, true>(a, b, n);
}
PAIR(look_back_without_release)
template <bool FAULT>
__device__ void look_back_without_acquire(PARAMETERS) {
  look_back<true, !FAULT>(a, b, n);
}
PAIR(look_back_without_acquire)

// The same with .release and .acquire, which need no fence.
template <bool FAULT>
__device__ void relaxed_for_acquire(PARAMETERS) {
  if (threadIdx.x != 0) return;
  const int block = blockIdx.x;
  int before = 0;
  if (block > 0) {
    for (int flag = 0; flag == 0;) {
      if (FAULT) {
        asm volatile("ld.relaxed.gpu.global.b32 %0, [%1];" : "=r"(flag) : "l"(a + block - 1) : "memory");
      } else {
        asm volatile("ld.acquire.gpu.global.b32 %0, [%1];" : "=r"(flag) : "l"(a + block - 1) : "memory");
      }
    }
    before = b[block - 1];  //@ relaxed_for_acquire
  }
  b[block] = before + block;  //@ relaxed_for_acquire
  asm volatile("st.release.gpu.global.b32 [%0], %1;" ::"l"(a + block), "r"(1) : "memory");
}
PAIR(relaxed_for_acquire)

template <bool FAULT>
__device__ void plain_flag(PARAMETERS) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    if (FAULT) {
      a[0] = 1;  //@ plain_flag
    } else {
      atomicExch(a, 1);
    }
  } else {
    b[blockIdx.x] = FAULT ? a[0] : *(volatile int *)a;  //@ plain_flag
  }
}
PAIR(plain_flag)

// All blocks of a cooperative launch pass a counter before they read what the others wrote.
template <bool FAULT>
__device__ void grid_barrier(PARAMETERS) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  b[i] = i;  //@ grid_barrier
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(a, 1);
    while (!FAULT && *(volatile int *)a < (int)gridDim.x) continue;
    __threadfence();
  }
  __syncthreads();
  a[1 + i] = b[n - 1 - i];  //@ grid_barrier
}
PAIR(grid_barrier)
