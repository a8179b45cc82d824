// The tile: 32 rows, one per lane, carried through the whole program by one block of four warps.
//
// Arrays of a tile are feature-major, [features][32]: a warp reads one feature of all rows as one conflict-free access,
// and weights are the same for all lanes (one broadcast). Warps divide the features among them.
//
// With TILE_ROWS = 16 or 8 everything is the same with groups of 16 or 8 lanes for warps: tile_lane() is the row and
// tile_warp() the group. What needs the hardware's warp uses lane_of_warp() and warp_of_block().
#pragma once

#include "arguments.h"
#include "philox.h"

__device__ __forceinline__ int lane_of_warp() { return threadIdx.x & 31; }
__device__ __forceinline__ int warp_of_block() { return threadIdx.x >> 5; }
// With TILE_THREAD_AGAIN a thread's number is read anew wherever it is asked for: what the compiler makes of one number
// before the loop over tiles (addresses, for the most part) takes some thirty registers through all of a wide program.
__device__ __forceinline__ unsigned tile_thread() {
#ifdef TILE_THREAD_AGAIN
  unsigned thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
#else
  return threadIdx.x;
#endif
}
__device__ __forceinline__ int tile_lane() { return tile_thread() % TILE_ROWS; }
__device__ __forceinline__ int tile_warp() { return tile_thread() / TILE_ROWS; }
__device__ __forceinline__ int round_up8(int n) { return (n + 7) & ~7; }

// A number or vector of the parameters: a plain load. In the persistent kernel weights change during the launch, so
// that the read-only cache must not be used; elsewhere it would not be quicker, and the compiler does not put constant
// distances into the addresses of __ldg.
template <typename T>
__device__ __forceinline__ T load_parameter(const T *from) {
  return *from;
}

// Sum over the warp in a fixed order; every lane receives it.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

// Four standard normals from four words (Box-Muller on two pairs).
__device__ __forceinline__ float4 normal4(philox_words words) {
  float sine0, cosine0, sine1, cosine1;
  const float radius0 = sqrtf(-2.0f * logf(philox_uniform(words.word[0])));
  const float radius1 = sqrtf(-2.0f * logf(philox_uniform(words.word[2])));
  sincospif(2.0f * philox_uniform(words.word[1]), &sine0, &cosine0);
  sincospif(2.0f * philox_uniform(words.word[3]), &sine1, &cosine1);
  return make_float4(radius0 * cosine0, radius0 * sine0, radius1 * cosine1, radius1 * sine1);
}

// Fills tile[d][32] with standard normals of the rows' numbers; d in groups of four over the warps. Rows of padding up
// to a multiple of four are not written.
template <int D>
__device__ __forceinline__ void tile_normals(float *tile, unsigned long long seed, unsigned row, unsigned stream,
                                             unsigned step) {
  for (int i = 4 * tile_warp(); i < D; i += 4 * TILE_WARPS) {
    const float4 normals = normal4(philox(seed, i / 4, row, stream, step));
    float *to = tile + i * TILE_ROWS + tile_lane();
    to[0] = normals.x;
    if (i + 1 < D) to[TILE_ROWS] = normals.y;
    if (i + 2 < D) to[2 * TILE_ROWS] = normals.z;
    if (i + 3 < D) to[3 * TILE_ROWS] = normals.w;
  }
}
