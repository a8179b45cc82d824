// A barrier of all blocks of a cooperative launch.
#pragma once

#include "arguments.h"

// Every block waits for every other. The last one to arrive begins the next generation; the others watch for that.
__device__ __forceinline__ void grid_barrier(grid_barrier_state *barrier) {
  __syncthreads();
  if (threadIdx.x == 0) {
    volatile unsigned *const generation = &barrier->generation;
    const unsigned present = *generation;  // cannot change before this block has arrived
    __threadfence();
    if (atomicAdd(&barrier->arrived, 1u) == gridDim.x - 1) {
      atomicExch(&barrier->arrived, 0u);
      __threadfence();
      atomicAdd(&barrier->generation, 1u);
    } else {
      while (*generation == present) __nanosleep(20);
    }
    __threadfence();
  }
  __syncthreads();
}
