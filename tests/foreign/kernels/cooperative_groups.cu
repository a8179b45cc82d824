// Cooperative groups: tiles, coalesced and labelled groups, reductions and scans, the grid; and warp-level functions.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

#include "cooperative_groups_results.h"

namespace cg = cooperative_groups;

template <int size>
__device__ void tile(const int *x, int *result) {
  const cg::thread_block block = cg::this_thread_block();
  const cg::thread_block_tile<size> tile = cg::tiled_partition<size>(block);
  const int at = blockIdx.x * blockDim.x + block.thread_rank(), value = x[at];
  int *mine = result + at * TILE_RESULTS;
  mine[RANK] = tile.thread_rank();
  mine[SIZE] = tile.num_threads();
  mine[TILE] = tile.meta_group_rank();
  mine[SUM] = cg::reduce(tile, value, cg::plus<int>());
  mine[LARGEST] = cg::reduce(tile, value, cg::greater<int>());
  mine[INCLUSIVE] = cg::inclusive_scan(tile, value);
  mine[EXCLUSIVE] = cg::exclusive_scan(tile, value, cg::plus<int>());
  mine[DOWN] = tile.shfl_down(value, 1);
  mine[MIRROR] = tile.shfl_xor(value, size - 1);
  mine[FIRST] = tile.shfl(value, 0);
  mine[ANY] = tile.any(value > 900);
  mine[ALL] = tile.all(value > -900);
  mine[BALLOT] = tile.ballot(value > 0);
  mine[MATCHED] = tile.match_any(value & 3);
}
extern "C" __global__ void tiles_of_2(const int *x, int *result) { tile<2>(x, result); }
extern "C" __global__ void tiles_of_4(const int *x, int *result) { tile<4>(x, result); }
extern "C" __global__ void tiles_of_8(const int *x, int *result) { tile<8>(x, result); }
extern "C" __global__ void tiles_of_16(const int *x, int *result) { tile<16>(x, result); }
extern "C" __global__ void tiles_of_32(const int *x, int *result) { tile<32>(x, result); }

// Lanes with positive x form a group: its size, my rank, its sum and inclusive sum, and one addition for all of them.
extern "C" __global__ void coalesced(const int *x, int *result, int *total) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  int *mine = result + 4 * at;
  mine[0] = mine[1] = mine[2] = mine[3] = -1;
  if (x[at] > 0) {
    const cg::coalesced_group group = cg::coalesced_threads();
    mine[0] = group.num_threads();
    mine[1] = group.thread_rank();
    mine[2] = cg::reduce(group, x[at], cg::plus<int>());
    mine[3] = cg::inclusive_scan(group, x[at], cg::plus<int>());
    if (group.thread_rank() == 0) atomicAdd(total, mine[2]);
  }
}

// The lanes of a warp with the same x % 5: size and sum; and with the same sign.
extern "C" __global__ void labelled(const int *x, int *result) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  const auto warp = cg::tiled_partition<32>(cg::this_thread_block());
  const auto group = cg::labeled_partition(warp, (x[at] % 5 + 5) % 5);
  result[4 * at] = group.num_threads();
  result[4 * at + 1] = cg::reduce(group, x[at], cg::plus<int>());
  const auto half = cg::binary_partition(warp, x[at] < 0);
  result[4 * at + 2] = half.num_threads();
  result[4 * at + 3] = half.shfl(x[at], half.num_threads() - 1);
}

// All blocks add to each other's slots in turns: right only if grid.sync() waits for everybody.
extern "C" __global__ void grid_turns(int *slots, int turns) {
  const cg::grid_group grid = cg::this_grid();
  for (int turn = 0; turn < turns; ++turn) {
    const int next = (blockIdx.x + turn) % gridDim.x;
    if (threadIdx.x == 0) slots[next] = slots[next] * 3 + static_cast<int>(blockIdx.x) + turn;
    grid.sync();
  }
}

// Warp-level functions without groups.

extern "C" __global__ void warp_functions(const unsigned *x, unsigned *result) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned *mine = result + at * WARP_RESULTS;
  mine[UP] = __shfl_up_sync(~0u, x[at], 3, 16);
  mine[XOR] = __shfl_xor_sync(~0u, x[at], 5);
  mine[SUM_SYNC] = __reduce_add_sync(~0u, x[at]);
  mine[MIN_SYNC] = __reduce_min_sync(~0u, x[at]);
  mine[MAX_SYNC] = __reduce_max_sync(~0u, x[at]);
  mine[AND_SYNC] = __reduce_and_sync(~0u, x[at]);
  mine[OR_SYNC] = __reduce_or_sync(~0u, x[at]);
  mine[XOR_SYNC] = __reduce_xor_sync(~0u, x[at]);
  int same;
  const unsigned matched = __match_all_sync(~0u, x[at] >> 10, &same);
  mine[MATCH_ALL] = same ? matched : 0;
  mine[MATCH_ANY] = __match_any_sync(~0u, x[at] & 7);
  mine[ACTIVE] = 0;
  if (x[at] & 1) mine[ACTIVE] = __activemask();
}
