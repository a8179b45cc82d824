// CUB's block and warp primitives: every block works on its own tile of the arrays.
#include <cub/block/block_adjacent_difference.cuh>
#include <cub/block/block_discontinuity.cuh>
#include <cub/block/block_exchange.cuh>
#include <cub/block/block_histogram.cuh>
#include <cub/block/block_load.cuh>
#include <cub/block/block_merge_sort.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/block/block_store.cuh>
#include <cub/warp/warp_merge_sort.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cub/warp/warp_scan.cuh>

constexpr int kThreads = 128, kItems = 4, kTile = kThreads * kItems;

struct Less {
  template <typename T>
  __device__ bool operator()(const T &a, const T &b) const {
    return a < b;
  }
};
struct Largest {
  template <typename T>
  __device__ T operator()(const T &a, const T &b) const {
    return a < b ? b : a;
  }
};

template <cub::BlockReduceAlgorithm algorithm>
__device__ void reduce(const int *x, int *result, int valid) {
  using Reduce = cub::BlockReduce<int, kThreads, algorithm>;
  __shared__ typename Reduce::TempStorage storage;
  const int base = blockIdx.x * kThreads;
  const int sum = Reduce(storage).Sum(x[base + threadIdx.x]);
  __syncthreads();
  const int largest = Reduce(storage).Reduce(x[base + threadIdx.x], Largest(), valid);
  if (threadIdx.x == 0) result[2 * blockIdx.x] = sum, result[2 * blockIdx.x + 1] = largest;
}
extern "C" __global__ void reduce_raking(const int *x, int *result, int valid) {
  reduce<cub::BLOCK_REDUCE_RAKING>(x, result, valid);
}
extern "C" __global__ void reduce_warps(const int *x, int *result, int valid) {
  reduce<cub::BLOCK_REDUCE_WARP_REDUCTIONS>(x, result, valid);
}

template <cub::BlockScanAlgorithm algorithm>
__device__ void scan(const int *x, int *inclusive, int *exclusive_largest) {
  using Load = cub::BlockLoad<int, kThreads, kItems, cub::BLOCK_LOAD_TRANSPOSE>;
  using Store = cub::BlockStore<int, kThreads, kItems, cub::BLOCK_STORE_WARP_TRANSPOSE>;
  using Scan = cub::BlockScan<int, kThreads, algorithm>;
  __shared__ union {
    typename Load::TempStorage load;
    typename Store::TempStorage store;
    typename Scan::TempStorage scan;
  } storage;
  const int base = blockIdx.x * kTile;
  int items[kItems], sums[kItems];
  Load(storage.load).Load(x + base, items);
  __syncthreads();
  Scan(storage.scan).InclusiveSum(items, sums);
  __syncthreads();
  Scan(storage.scan).ExclusiveScan(items, items, -1000000, Largest());
  __syncthreads();
  Store(storage.store).Store(inclusive + base, sums);
  __syncthreads();
  Store(storage.store).Store(exclusive_largest + base, items);
}
extern "C" __global__ void scan_raking(const int *x, int *a, int *b) { scan<cub::BLOCK_SCAN_RAKING>(x, a, b); }
extern "C" __global__ void scan_warps(const int *x, int *a, int *b) { scan<cub::BLOCK_SCAN_WARP_SCANS>(x, a, b); }

template <typename Key>
__device__ void radix_sort(const Key *x, Key *sorted, int *places, bool down) {
  using Sort = cub::BlockRadixSort<Key, kThreads, kItems, int>;
  __shared__ typename Sort::TempStorage storage;
  const int base = blockIdx.x * kTile;
  Key keys[kItems];
  int values[kItems];
  for (int i = 0; i < kItems; ++i) {
    values[i] = threadIdx.x * kItems + i;
    keys[i] = x[base + values[i]];
  }
  if (down) {
    Sort(storage).SortDescending(keys, values);
  } else {
    Sort(storage).Sort(keys, values);
  }
  for (int i = 0; i < kItems; ++i) {
    sorted[base + threadIdx.x * kItems + i] = keys[i];
    places[base + threadIdx.x * kItems + i] = values[i];
  }
}
extern "C" __global__ void radix_sort_float(const float *x, float *sorted, int *places, int down) {
  radix_sort(x, sorted, places, down != 0);
}
extern "C" __global__ void radix_sort_int(const int *x, int *sorted, int *places, int down) {
  radix_sort(x, sorted, places, down != 0);
}

extern "C" __global__ void merge_sort(const float *x, float *sorted, int *places) {
  using Sort = cub::BlockMergeSort<float, kThreads, kItems, int>;
  __shared__ typename Sort::TempStorage storage;
  const int base = blockIdx.x * kTile;
  float keys[kItems];
  int values[kItems];
  for (int i = 0; i < kItems; ++i) {
    values[i] = threadIdx.x * kItems + i;
    keys[i] = x[base + values[i]];
  }
  Sort(storage).StableSort(keys, values, Less());
  for (int i = 0; i < kItems; ++i) {
    sorted[base + threadIdx.x * kItems + i] = keys[i];
    places[base + threadIdx.x * kItems + i] = values[i];
  }
}

// Blocked to striped, to warp-striped, and scattered to where `places` says.
extern "C" __global__ void exchange(const int *x, const int *places, int *striped, int *warps, int *scattered) {
  using Exchange = cub::BlockExchange<int, kThreads, kItems>;
  __shared__ typename Exchange::TempStorage storage;
  const int base = blockIdx.x * kTile;
  int items[kItems], moved[kItems], ranks[kItems];
  for (int i = 0; i < kItems; ++i) {
    items[i] = x[base + threadIdx.x * kItems + i];
    ranks[i] = places[base + threadIdx.x * kItems + i];
  }
  Exchange(storage).BlockedToStriped(items, moved);
  for (int i = 0; i < kItems; ++i) striped[base + i * kThreads + threadIdx.x] = moved[i];
  __syncthreads();
  Exchange(storage).BlockedToWarpStriped(items, moved);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = 0; i < kItems; ++i) warps[base + warp * 32 * kItems + i * 32 + lane] = moved[i];
  __syncthreads();
  Exchange(storage).ScatterToStriped(items, moved, ranks);
  for (int i = 0; i < kItems; ++i) scattered[base + i * kThreads + threadIdx.x] = moved[i];
}

template <cub::BlockHistogramAlgorithm algorithm>
__device__ void histogram(const unsigned char *x, unsigned *counts) {
  using Histogram = cub::BlockHistogram<unsigned char, kThreads, kItems, 256, algorithm>;
  __shared__ typename Histogram::TempStorage storage;
  __shared__ unsigned bins[256];
  unsigned char items[kItems];
  for (int i = 0; i < kItems; ++i) items[i] = x[blockIdx.x * kTile + threadIdx.x * kItems + i];
  Histogram(storage).Histogram(items, bins);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += kThreads) counts[blockIdx.x * 256 + i] = bins[i];
}
extern "C" __global__ void histogram_sort(const unsigned char *x, unsigned *counts) {
  histogram<cub::BLOCK_HISTO_SORT>(x, counts);
}
extern "C" __global__ void histogram_atomic(const unsigned char *x, unsigned *counts) {
  histogram<cub::BLOCK_HISTO_ATOMIC>(x, counts);
}

extern "C" __global__ void differences(const int *x, int *left, int *heads) {
  using Difference = cub::BlockAdjacentDifference<int, kThreads>;
  using Discontinuity = cub::BlockDiscontinuity<int, kThreads>;
  __shared__ union {
    typename Difference::TempStorage difference;
    typename Discontinuity::TempStorage discontinuity;
  } storage;
  const int base = blockIdx.x * kTile + threadIdx.x * kItems;
  int items[kItems], result[kItems];
  for (int i = 0; i < kItems; ++i) items[i] = x[base + i];
  Difference(storage.difference).SubtractLeft(items, result, [](int a, int b) { return a - b; });
  for (int i = 0; i < kItems; ++i) left[base + i] = result[i];
  __syncthreads();
  Discontinuity(storage.discontinuity).FlagHeads(result, items, [](int a, int b) { return a != b; });
  for (int i = 0; i < kItems; ++i) heads[base + i] = result[i];
}

// Loads of all kinds, the last tile only in part.
template <cub::BlockLoadAlgorithm load_as, cub::BlockStoreAlgorithm store_as>
__device__ void copy(const short *x, short *y, int count) {
  using Load = cub::BlockLoad<short, kThreads, kItems, load_as>;
  using Store = cub::BlockStore<short, kThreads, kItems, store_as>;
  __shared__ union {
    typename Load::TempStorage load;
    typename Store::TempStorage store;
  } storage;
  const int base = blockIdx.x * kTile;
  short items[kItems];
  if (count - base >= kTile) {
    Load(storage.load).Load(x + base, items);
    __syncthreads();
    Store(storage.store).Store(y + base, items);
  } else {
    Load(storage.load).Load(x + base, items, count - base, short(-1));
    __syncthreads();
    Store(storage.store).Store(y + base, items, count - base);
  }
}
extern "C" __global__ void copy_direct(const short *x, short *y, int n) {
  copy<cub::BLOCK_LOAD_DIRECT, cub::BLOCK_STORE_DIRECT>(x, y, n);
}
extern "C" __global__ void copy_vector(const short *x, short *y, int n) {
  copy<cub::BLOCK_LOAD_VECTORIZE, cub::BLOCK_STORE_VECTORIZE>(x, y, n);
}
extern "C" __global__ void copy_striped(const short *x, short *y, int n) {
  copy<cub::BLOCK_LOAD_STRIPED, cub::BLOCK_STORE_STRIPED>(x, y, n);
}
extern "C" __global__ void copy_timesliced(const short *x, short *y, int n) {
  copy<cub::BLOCK_LOAD_WARP_TRANSPOSE_TIMESLICED, cub::BLOCK_STORE_TRANSPOSE>(x, y, n);
}

// Logical warps of 8 lanes, and of 32.
template <int lanes>
__device__ void warps(const int *x, int *sums, int *scans) {
  using Reduce = cub::WarpReduce<int, lanes>;
  using Scan = cub::WarpScan<int, lanes>;
  __shared__ typename Reduce::TempStorage reduce_storage[kThreads / lanes];
  __shared__ typename Scan::TempStorage scan_storage[kThreads / lanes];
  const int warp = threadIdx.x / lanes, at = blockIdx.x * kThreads + threadIdx.x;
  int sum = Reduce(reduce_storage[warp]).Sum(x[at]);
  if (threadIdx.x % lanes == 0) sums[at / lanes] = sum;
  int scanned;
  Scan(scan_storage[warp]).InclusiveSum(x[at], scanned);
  scans[at] = scanned;
}
extern "C" __global__ void warps_of_8(const int *x, int *sums, int *scans) { warps<8>(x, sums, scans); }
extern "C" __global__ void warps_of_32(const int *x, int *sums, int *scans) { warps<32>(x, sums, scans); }

extern "C" __global__ void warp_merge_sort(const float *x, float *sorted) {
  using Sort = cub::WarpMergeSort<float, kItems, 32>;
  __shared__ typename Sort::TempStorage storage[kThreads / 32];
  float keys[kItems];
  const int base = blockIdx.x * kTile + threadIdx.x * kItems;
  for (int i = 0; i < kItems; ++i) keys[i] = x[base + i];
  Sort(storage[threadIdx.x / 32]).Sort(keys, Less());
  for (int i = 0; i < kItems; ++i) sorted[base + i] = keys[i];
}
