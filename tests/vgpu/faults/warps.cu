// Barriers that not all meet, and warp-wide instructions with the wrong lanes.
#include "faults.h"

template <bool FAULT>
__device__ void barrier_in_half_a_warp(PARAMETERS) {
  const int t = threadIdx.x;
  if (!FAULT || t < 16) __syncthreads();  //@ barrier_in_half_a_warp
  b[t] = a[t] + n;
}
PAIR(barrier_in_half_a_warp)

template <bool FAULT>
__device__ void two_barriers(PARAMETERS) {
  const int t = threadIdx.x;
  if (FAULT ? t < 32 : n > 0) {
    b[t] = 1;
    __syncthreads();  //@ two_barriers
  } else {
    b[t] = 2;
    __syncthreads();  //@ two_barriers
  }
}
PAIR(two_barriers)

// The count names more threads than ever come.
template <bool FAULT>
__device__ void barrier_that_is_never_complete(PARAMETERS) {
  const int t = threadIdx.x;
  if (t < 64) asm volatile("bar.sync 1, %0;" ::"r"(FAULT ? 96 : 64) : "memory");  //@ barrier_that_is_never_complete
  b[t] = a[t] + n;
}
PAIR(barrier_that_is_never_complete)

template <bool FAULT>
__device__ void count_of_no_whole_warps(PARAMETERS) {
  const int t = threadIdx.x;
  asm volatile("bar.sync 1, %0;" ::"r"(FAULT ? n - 16 : n) : "memory");  //@ count_of_no_whole_warps
  b[t] = a[t];
}
PAIR(count_of_no_whole_warps)

// Warps wait for each other at different barriers.
template <bool FAULT>
__device__ void barriers_with_different_numbers(PARAMETERS) {
  const int t = threadIdx.x;
  asm volatile("bar.sync %0, 64;" ::"r"(FAULT ? 1 + t / 32 : 1) : "memory");  //@ barriers_with_different_numbers
  b[t] = a[t] + n;
}
PAIR(barriers_with_different_numbers)

template <bool FAULT>
__device__ void barrier_in_a_loop_of_varying_length(PARAMETERS) {
  const int t = threadIdx.x, rounds = FAULT ? 1 + t % 2 : n;
  for (int i = 0; i < rounds; ++i) __syncthreads();  //@ barrier_in_a_loop_of_varying_length
  b[t] = a[t];
}
PAIR(barrier_in_a_loop_of_varying_length)

template <bool FAULT>
__device__ void shuffle_from_a_lane_that_is_elsewhere(PARAMETERS) {
  const int t = threadIdx.x;
  int v = a[t];
  if (t < 16) v = __shfl_sync(0xffff, v, FAULT ? t + 16 : 15 - t);  //@ shuffle_from_a_lane_that_is_elsewhere
  b[t] = v + n;
}
PAIR(shuffle_from_a_lane_that_is_elsewhere)

template <bool FAULT>
__device__ void shuffle_from_a_lane_that_has_ended(PARAMETERS) {
  const int t = threadIdx.x;
  if (FAULT && t >= 24) return;
  int v = a[t];
  v += __shfl_down_sync(FAULT ? 0xffffff : ~0u, v, 8);  //@ shuffle_from_a_lane_that_has_ended
  b[t] = v + n;
}
PAIR(shuffle_from_a_lane_that_has_ended)

template <bool FAULT>
__device__ void shuffle_mask_names_absent_lanes(PARAMETERS) {
  const int t = threadIdx.x;
  int v = a[t];
  if (t < 16) v = __shfl_xor_sync(FAULT ? ~0u : 0xffff, v, 1);  //@ shuffle_mask_names_absent_lanes
  b[t] = v + n;
}
PAIR(shuffle_mask_names_absent_lanes)

template <bool FAULT>
__device__ void vote_mask_names_absent_lanes(PARAMETERS) {
  const int t = threadIdx.x;
  int v = 0;
  if (t % 2 == 0) v = __any_sync(FAULT ? ~0u : 0x55555555, a[t] > n);  //@ vote_mask_names_absent_lanes
  b[t] = v;
}
PAIR(vote_mask_names_absent_lanes)

template <bool FAULT>
__device__ void lane_outside_its_own_mask(PARAMETERS) {
  const int t = threadIdx.x;
  b[t] = __ballot_sync(FAULT ? 0x7fffffff : ~0u, a[t] > n);  //@ lane_outside_its_own_mask
}
PAIR(lane_outside_its_own_mask)

template <bool FAULT>
__device__ void syncwarp_that_not_all_meet(PARAMETERS) {
  const int t = threadIdx.x;
  if (t < 8) __syncwarp(FAULT ? 0xffff : 0xff);  //@ syncwarp_that_not_all_meet
  b[t] = a[t] + n;
}
PAIR(syncwarp_that_not_all_meet)
