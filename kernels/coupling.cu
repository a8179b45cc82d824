// Minibatch optimal transport: which row's noise each row of a coming batch takes.
//
// For every group of at most COUPLING_ROWS positions of a batch the permutation p that minimises
// sum_i |z1_i - e_p(i)|^2 (Tong et al. 2024, "Improving and generalizing flow-based generative models with minibatch
// optimal transport", section 3.2.1), exactly: a linear assignment problem, solved by shortest augmenting paths after
// Jonker and Volgenant (Computing 38, 1987): column reduction, augmenting row reduction, then one Dijkstra search for
// each row still free. Rows are data, columns are noises.
//
// A block is one warp and solves one problem; lane l owns columns l, l + 32, .... Nothing depends on the
// weights, so the steps of a whole stretch of training are solved by one launch. Among equals the lowest column is
// taken, so the result depends on the data and the counters alone.
#include "coupling_arguments.h"
#include "rows.cuh"

namespace {

enum { LANES = 32, CHUNKS = COUPLING_ROWS / LANES, FEATURES = 8, ROWS_AT_ONCE = 4 };
constexpr int FREE = -1;
// Costs are whole numbers: the group's largest becomes LARGEST, so that a row's cost is exact to 2^-20 of it. Their
// lowest bits are the column's number: the smallest sum then names its column, too. Prices
// and ways stay within three times the largest cost (every row could go straight to a free column), so below NEVER.
constexpr int COLUMN_BITS = 8, LARGEST = 1 << 20, NEVER = 1 << 30;
static_assert(1 << COLUMN_BITS == COUPLING_ROWS, "a column's number has to fit");

// What the lanes exchange.
struct problem {
  int price[COUPLING_ROWS];      // v_j; -NEVER while a search has settled the column
  int column_of[COUPLING_ROWS];  // of a row, or FREE
  int row_of[COUPLING_ROWS];     // of a column, or FREE
  int free_rows[COUPLING_ROWS];
  // The columns that a search has settled, in order: where, the row that has it, what the search knew.
  int column[COUPLING_ROWS], row[COUPLING_ROWS];
  int offset[COUPLING_ROWS];    // cost(row, j) - offset - price(j) is the length of the way through the row to column j
  int before[COUPLING_ROWS];    // the column's price before the search
  int distance[COUPLING_ROWS];  // the length of the way to the column
};

__device__ __forceinline__ float value_of(const couple_arguments &a, unsigned row, int feature) {
  const int kind = a.target_kind;
  if (kind == ROW_LABEL_INT32) return ((const int *)a.train.target)[row] == feature ? 1.0f : a.off_value;
  if (kind == ROW_LABEL_UINT8) return ((const unsigned char *)a.train.target)[row] == feature ? 1.0f : a.off_value;
  const unsigned long long at = (unsigned long long)row * a.width + feature;
  const float raw =
      kind == ROW_FLOAT ? ((const float *)a.train.target)[at] : (float)((const unsigned char *)a.train.target)[at];
  return fmaf(raw, a.train.target_scale[feature], a.train.target_shift[feature]);
}

__device__ __forceinline__ int warp_least(int value) {
#if __CUDA_ARCH__ >= 800
  return __reduce_min_sync(0xffffffffu, value);
#else
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1)
    value = min(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return __shfl_sync(0xffffffffu, value, 0);
#endif
}

// costs[i][j] = |z1_i - e_j|^2 for the group's rows, in units of their largest / LARGEST; NEVER for columns past the
// end.
__device__ __forceinline__ void fill_costs(int *costs, const couple_arguments &a, const batch_rows &batch,
                                           unsigned first, int count, unsigned draw) {
  __shared__ float data[FEATURES][COUPLING_ROWS], noise[FEATURES][COUPLING_ROWS];
  const int lane = threadIdx.x;
  float *const mine = (float *)costs + lane;
  float most = 0.0f;
  for (int begin = 0; begin < a.width; begin += FEATURES) {
    const int features = min((int)FEATURES, a.width - begin);
    __syncwarp();
    for (int i = lane; i < COUPLING_ROWS; i += LANES) {
      const tile_row row = row_at(a.train, batch, first + min(i, count - 1));
      for (int f = 0; f < features; f += 4) {
        const float4 normals = normal4(
            philox(a.train.seed, (begin + f) / 4, row.number, philox_stream(STREAM_NOISE, 0, draw), batch.step));
        noise[f][i] = normals.x;
        noise[f + 1][i] = normals.y;
        noise[f + 2][i] = normals.z;
        noise[f + 3][i] = normals.w;
      }
      for (int f = 0; f < features; ++f) data[f][i] = value_of(a, row.data, begin + f);
    }
    __syncwarp();
    for (int i = 0; i < count; i += ROWS_AT_ONCE) {
      float sums[ROWS_AT_ONCE][CHUNKS];
#pragma unroll
      for (int r = 0; r < ROWS_AT_ONCE; ++r)
#pragma unroll
        for (int c = 0; c < CHUNKS; ++c)
          sums[r][c] = begin ? mine[(unsigned)(i + r) * COUPLING_ROWS + c * LANES] : 0.0f;
      for (int f = 0; f < features; ++f) {
        float z[ROWS_AT_ONCE];
#pragma unroll
        for (int r = 0; r < ROWS_AT_ONCE; ++r) z[r] = data[f][i + r];
#pragma unroll
        for (int c = 0; c < CHUNKS; ++c) {
          const float e = noise[f][lane + c * LANES];
#pragma unroll
          for (int r = 0; r < ROWS_AT_ONCE; ++r) sums[r][c] = fmaf(z[r] - e, z[r] - e, sums[r][c]);
        }
      }
#pragma unroll
      for (int r = 0; r < ROWS_AT_ONCE; ++r)
#pragma unroll
        for (int c = 0; c < CHUNKS; ++c)
          mine[(unsigned)(i + r) * COUPLING_ROWS + c * LANES] = sums[r][c], most = fmaxf(most, sums[r][c]);
    }
  }
  // Bits of numbers that are not negative are in their order.
  most = __uint_as_float(0x7fffffff - warp_least(0x7fffffff - (int)__float_as_uint(most)));
  const float scale = (float)LARGEST / most;
  for (int i = 0; i < count; ++i)
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      const int column = lane + c * LANES;
      const int cost = __float2int_rn(mine[(unsigned)i * COUPLING_ROWS + c * LANES] * scale);
      ((int *)mine)[(unsigned)i * COUPLING_ROWS + c * LANES] =
          column < count ? min(max(cost, 0), (int)LARGEST) << COLUMN_BITS | column : NEVER | column;
    }
  __syncwarp();
}

// v_j = min_i cost(i, j); a row that is the cheapest of several columns gets the first of them.
__device__ __forceinline__ void reduce_columns(const int *costs, problem &p, int count) {
  const int lane = threadIdx.x;
  const int *const mine = costs + lane;
  int cheapest[CHUNKS];
  int price[CHUNKS];
#pragma unroll
  for (int c = 0; c < CHUNKS; ++c) price[c] = mine[c * LANES], cheapest[c] = 0;
  for (int i = 1; i < count; ++i)
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      const int cost = mine[(unsigned)i * COUPLING_ROWS + c * LANES];
      if (cost < price[c]) price[c] = cost, cheapest[c] = i;
    }
  for (int i = lane; i < COUPLING_ROWS; i += LANES) p.column_of[i] = COUPLING_ROWS;
  __syncwarp();
#pragma unroll
  for (int c = 0; c < CHUNKS; ++c)
    if (lane + c * LANES < count) atomicMin(&p.column_of[cheapest[c]], lane + c * LANES);
  __syncwarp();
#pragma unroll
  for (int c = 0; c < CHUNKS; ++c) {
    const int column = lane + c * LANES;
    p.price[column] = column < count ? price[c] - column : 0;
    p.row_of[column] = column < count && p.column_of[cheapest[c]] == column ? cheapest[c] : FREE;
  }
  __syncwarp();
  for (int i = lane; i < COUPLING_ROWS; i += LANES)
    if (p.column_of[i] == COUPLING_ROWS) p.column_of[i] = FREE;
  __syncwarp();
}

// Lists the free rows in order; returns how many.
__device__ __forceinline__ int list_free(problem &p, int count) {
  int found = 0;
  for (int begin = 0; begin < count; begin += LANES) {
    const int i = begin + threadIdx.x;
    const bool is_free = i < count && p.column_of[i] == FREE;
    const unsigned mask = __ballot_sync(0xffffffffu, is_free);
    if (is_free) p.free_rows[found + __popc(mask & ((1u << threadIdx.x) - 1u))] = i;
    found += __popc(mask);
  }
  __syncwarp();
  return found;
}

// The cheapest way to give `start` a column by moving others (Dijkstra's search over columns, with reduced costs), then
// the move. How the way came is not noted on the way: afterwards it is found among the settled rows, by equality.
__device__ __forceinline__ void augment(const int *costs, problem &p, int start, int count) {
  const int lane = threadIdx.x;
  const int *const mine = costs + lane;  // added first: the rest of an address is then the same for all lanes
  int length[CHUNKS], offset = 0, reach, row = start, column, settled = 0;
#pragma unroll
  for (int c = 0; c < CHUNKS; ++c) length[c] = NEVER;
  p.row[0] = start;
  p.offset[0] = 0;
  __syncwarp();  // the first column may be free: then these are read next
  for (;;) {
    const int *cost = mine + (unsigned)row * COUPLING_ROWS;
    int least = 0x7fffffff;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      length[c] = min(length[c], cost[c * LANES] - offset);
      least = min(least, length[c] - p.price[lane + c * LANES]);
    }
    least = warp_least(least);
    column = least & (COUPLING_ROWS - 1);
    reach = least - column;
    row = p.row_of[column];
    if (row == FREE || settled == count) break;
    const int price = p.price[column];
    __syncwarp();
    p.before[settled] = price;
    p.distance[settled] = reach;
    p.column[settled] = column;
    offset = costs[row * COUPLING_ROWS + column] - column - price - reach;
    ++settled;
    p.row[settled] = row;
    p.offset[settled] = offset;
    p.price[column] = -NEVER;
    __syncwarp();
  }
  // Back from the free column: the settled row (the earliest, so that the way ends) whose way is as long as the
  // column's.
  int price = p.price[column], distance = reach;
  for (int last = settled; last >= 0;) {
    int found = FREE;
    for (int begin = 0; begin <= last && found == FREE; begin += LANES) {
      const int k = min(begin + lane, last);
      const int way = costs[p.row[k] * COUPLING_ROWS + column] - column - p.offset[k] - price;
      const unsigned equal = __ballot_sync(0xffffffffu, way == distance);
      if (equal) found = min(begin + __ffs(equal) - 1, last);
    }
    if (found == FREE) break;
    const int owner = p.row[found];
    __syncwarp();
    p.row_of[column] = owner;
    p.column_of[owner] = column;
    last = found - 1;
    if (last >= 0) column = p.column[last], price = p.before[last], distance = p.distance[last];
    __syncwarp();
  }
  for (int k = lane; k < settled; k += LANES) p.price[p.column[k]] = p.before[k] + (p.distance[k] - reach);
  __syncwarp();
}

}  // namespace

extern "C" __global__ void __launch_bounds__(COUPLING_THREADS) couple(const couple_arguments a) {
  __shared__ problem p;
  const unsigned group = blockIdx.x % a.groups, draw = blockIdx.x / a.groups % a.draws;
  const unsigned step = a.first_step + blockIdx.x / (a.groups * a.draws);
  batch_rows batch = batch_of_step(a.train, step);
  const unsigned first = group * COUPLING_ROWS;
  if (first >= batch.count) return;
  const int count = (int)min((unsigned)COUPLING_ROWS, batch.count - first);
  int *const costs = a.costs + (unsigned long long)blockIdx.x * COUPLING_ROWS * COUPLING_ROWS;
  fill_costs(costs, a, batch, first, count, draw);
  reduce_columns(costs, p, count);
  const int rows = list_free(p, count);
  for (int k = 0; k < rows; ++k) augment(costs, p, p.free_rows[k], count);
  unsigned *const pairs = a.pairs + ((unsigned long long)(step % a.ring) * a.draws + draw) * a.train.batch;
  for (int i = threadIdx.x; i < count; i += LANES) {
    pairs[first + i] = first + p.column_of[i] + (a.train.request ? a.train.row_base : 0);
  }
}
