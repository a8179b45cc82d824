// Programs as CUDA's documentation and samples teach to write them.
#include <cooperative_groups.h>

#include <algorithm>

#include "tests/foreign/programs/array.h"
#include "tests/foreign/programs/samples.h"

namespace samples {

namespace cg = cooperative_groups;

static int blocks_for(size_t count, int threads) { return static_cast<int>((count + threads - 1) / threads); }

// ---- element by element ----

__global__ static void add(const float *a, const float *b, float *c, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) c[i] = a[i] + b[i];
}

Floats vector_add(const Floats &a, const Floats &b) {
  const Array<float> in_a(a), in_b(b), out(a.size());
  add<<<blocks_for(a.size(), 256), 256>>>(in_a.data(), in_b.data(), out.data(), static_cast<int>(a.size()));
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

// ---- tiles in shared memory ----

constexpr int kTile = 16;

__global__ static void multiply(const float *a, const float *b, float *c, int m, int n, int k) {
  __shared__ float tile_a[kTile][kTile], tile_b[kTile][kTile];
  const int row = blockIdx.y * kTile + threadIdx.y, column = blockIdx.x * kTile + threadIdx.x;
  float sum = 0;
  for (int begin = 0; begin < k; begin += kTile) {
    const int inner_a = begin + threadIdx.x, inner_b = begin + threadIdx.y;
    tile_a[threadIdx.y][threadIdx.x] = row < m && inner_a < k ? a[row * k + inner_a] : 0;
    tile_b[threadIdx.y][threadIdx.x] = inner_b < k && column < n ? b[inner_b * n + column] : 0;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTile; ++i) sum += tile_a[threadIdx.y][i] * tile_b[i][threadIdx.x];
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = sum;
}

Floats matrix_multiply(const Floats &a, const Floats &b, int m, int n, int k) {
  const Array<float> in_a(a), in_b(b), out(static_cast<size_t>(m) * n);
  const dim3 grid(blocks_for(n, kTile), blocks_for(m, kTile)), block(kTile, kTile);
  multiply<<<grid, block>>>(in_a.data(), in_b.data(), out.data(), m, n, k);
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

__global__ static void transpose_tiles(const float *x, float *y, int rows, int columns) {
  __shared__ float tile[32][32 + 1];  // the column more keeps its columns in different banks
  int column = blockIdx.x * 32 + threadIdx.x;
  for (int i = threadIdx.y; i < 32; i += blockDim.y) {
    const int row = blockIdx.y * 32 + i;
    if (row < rows && column < columns) tile[i][threadIdx.x] = x[row * columns + column];
  }
  __syncthreads();
  column = blockIdx.y * 32 + threadIdx.x;
  for (int i = threadIdx.y; i < 32; i += blockDim.y) {
    const int row = blockIdx.x * 32 + i;
    if (row < columns && column < rows) y[row * rows + column] = tile[threadIdx.x][i];
  }
}

Floats transpose(const Floats &x, int rows, int columns) {
  const Array<float> in(x), out(x.size());
  const dim3 grid(blocks_for(columns, 32), blocks_for(rows, 32)), block(32, 8);
  transpose_tiles<<<grid, block>>>(in.data(), out.data(), rows, columns);
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

// ---- reductions ----

__device__ static long long block_sum(long long value) {
  __shared__ long long warp_sums[32];
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_down_sync(~0u, value, distance);
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x >= 32) return 0;
  value = threadIdx.x < blockDim.x / 32 ? warp_sums[threadIdx.x] : 0;
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_down_sync(~0u, value, distance);
  return value;
}

__global__ static void add_up(const int *x, int count, unsigned long long *total) {
  long long value = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) value += x[i];
  value = block_sum(value);
  if (threadIdx.x == 0) atomicAdd(total, static_cast<unsigned long long>(value));
}

long long sum(const std::vector<int> &x) {
  const Array<int> in(x);
  const Array<unsigned long long> total(1);
  CHECK_CUDA(cudaMemset(total.data(), 0, sizeof(unsigned long long)));
  add_up<<<40, 256>>>(in.data(), static_cast<int>(x.size()), total.data());
  CHECK_CUDA(cudaGetLastError());
  return static_cast<long long>(total.values()[0]);
}

__global__ static void add_up_together(const int *x, int count, long long *sums) {
  const cg::grid_group grid = cg::this_grid();
  long long value = 0;
  for (unsigned i = grid.thread_rank(); i < count; i += grid.size()) value += x[i];
  value = block_sum(value);
  if (threadIdx.x == 0) sums[blockIdx.x] = value;
  for (unsigned half = gridDim.x / 2; half > 0; half /= 2) {
    grid.sync();
    if (grid.thread_rank() < half) sums[grid.thread_rank()] += sums[grid.thread_rank() + half];
  }
}

long long sum_cooperative(const std::vector<int> &x) {
  const Array<int> in(x);
  const Array<long long> sums(16);
  int *data = in.data(), count = static_cast<int>(x.size());
  long long *out = sums.data();
  void *arguments[] = {&data, &count, &out};
  CHECK_CUDA(cudaLaunchCooperativeKernel(reinterpret_cast<void *>(add_up_together), 16, 128, arguments));
  return sums.values()[0];
}

// ---- atomics in shared memory ----

__global__ static void count_bytes(const unsigned char *x, int count, unsigned *counts) {
  __shared__ unsigned bins[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x) bins[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) atomicAdd(&bins[x[i]], 1);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&counts[i], bins[i]);
}

std::vector<unsigned> histogram(const std::vector<unsigned char> &x) {
  const Array<unsigned char> in(x);
  const Array<unsigned> counts(256);
  CHECK_CUDA(cudaMemset(counts.data(), 0, 256 * sizeof(unsigned)));
  count_bytes<<<10, 192>>>(in.data(), static_cast<int>(x.size()), counts.data());
  CHECK_CUDA(cudaGetLastError());
  return counts.values();
}

// ---- constant memory ----

constexpr int kLargestFilter = 64;
__constant__ static float constant_filter[kLargestFilter];

__global__ static void convolve_rows(const float *x, float *y, int count, int taps) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (int tap = 0; tap < taps; ++tap) {
    const int at = i + tap - taps / 2;
    if (at >= 0 && at < count) sum += constant_filter[tap] * x[at];
  }
  y[i] = sum;
}

Floats convolve(const Floats &x, const Floats &filter) {
  const Array<float> in(x), out(x.size());
  CHECK_CUDA(cudaMemcpyToSymbol(constant_filter, filter.data(), filter.size() * sizeof(float)));
  convolve_rows<<<blocks_for(x.size(), 128), 128>>>(in.data(), out.data(), static_cast<int>(x.size()),
                                                    static_cast<int>(filter.size()));
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

// ---- dynamic shared memory ----

__global__ static void bitonic_sort(int *x, int count) {
  extern __shared__ int keys[];
  for (int i = threadIdx.x; i < count; i += blockDim.x) keys[i] = x[i];
  for (int size = 2; size <= count; size *= 2) {
    for (int distance = size / 2; distance > 0; distance /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const int other = i ^ distance;
        if (other > i && (keys[i] > keys[other]) == ((i & size) == 0)) {
          const int key = keys[i];
          keys[i] = keys[other];
          keys[other] = key;
        }
      }
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) x[i] = keys[i];
}

std::vector<int> bitonic_sorted(const std::vector<int> &x) {
  const Array<int> inout(x);
  const size_t bytes = x.size() * sizeof(int);
  CHECK_CUDA(cudaFuncSetAttribute(bitonic_sort, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  bitonic_sort<<<1, 512, bytes>>>(inout.data(), static_cast<int>(x.size()));
  CHECK_CUDA(cudaGetLastError());
  return inout.values();
}

// ---- streams, events, graphs ----

__global__ static void scale_by(float *x, int count, const float *scale) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) x[i] *= *scale;
}

__global__ static void write_scale(float *scale, float value) { *scale = value; }

Floats scaled_in_streams(const Floats &x, float scale, int streams) {
  const size_t part = (x.size() + streams - 1) / streams;
  const Array<float> data(x.size()), factor(1);
  float *pinned = nullptr;
  CHECK_CUDA(cudaMallocHost(reinterpret_cast<void **>(&pinned), x.size() * sizeof(float)));
  std::copy(x.begin(), x.end(), pinned);
  cudaEvent_t ready;
  CHECK_CUDA(cudaEventCreateWithFlags(&ready, cudaEventDisableTiming));
  std::vector<cudaStream_t> all(streams);
  for (cudaStream_t &stream : all) CHECK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  // The last stream writes the factor, for which all others wait.
  write_scale<<<1, 1, 0, all.back()>>>(factor.data(), scale);
  CHECK_CUDA(cudaEventRecord(ready, all.back()));
  for (int i = 0; i < streams; ++i) {
    const size_t begin = std::min(i * part, x.size()), count = std::min(part, x.size() - begin);
    if (count == 0) continue;
    CHECK_CUDA(
        cudaMemcpyAsync(data.data() + begin, pinned + begin, count * sizeof(float), cudaMemcpyHostToDevice, all[i]));
    CHECK_CUDA(cudaStreamWaitEvent(all[i], ready, 0));
    scale_by<<<blocks_for(count, 64), 64, 0, all[i]>>>(data.data() + begin, static_cast<int>(count), factor.data());
    CHECK_CUDA(
        cudaMemcpyAsync(pinned + begin, data.data() + begin, count * sizeof(float), cudaMemcpyDeviceToHost, all[i]));
  }
  CHECK_CUDA(cudaGetLastError());
  for (cudaStream_t stream : all) {
    CHECK_CUDA(cudaStreamSynchronize(stream));
    CHECK_CUDA(cudaStreamDestroy(stream));
  }
  const Floats result(pinned, pinned + x.size());
  CHECK_CUDA(cudaEventDestroy(ready));
  CHECK_CUDA(cudaFreeHost(pinned));
  return result;
}

__global__ static void diffuse(const float *x, float *y, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) y[i] = .25f * x[max(i - 1, 0)] + .5f * x[i] + .25f * x[min(i + 1, count - 1)];
}

Floats diffused_by_graph(const Floats &x, int steps, int times) {
  const int count = static_cast<int>(x.size());
  const Array<float> a(x), b(x.size());
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  CHECK_CUDA(cudaStreamCreate(&stream));
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (int step = 0; step < steps; ++step) {
    diffuse<<<blocks_for(x.size(), 128), 128, 0, stream>>>(a.data(), b.data(), count);
    CHECK_CUDA(cudaMemcpyAsync(a.data(), b.data(), x.size() * sizeof(float), cudaMemcpyDeviceToDevice, stream));
  }
  CHECK_CUDA(cudaGetLastError());
  CHECK_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK_CUDA(cudaGraphInstantiate(&executable, graph, 0));
  for (int i = 0; i < times; ++i) CHECK_CUDA(cudaGraphLaunch(executable, stream));
  CHECK_CUDA(cudaStreamSynchronize(stream));
  CHECK_CUDA(cudaGraphExecDestroy(executable));
  CHECK_CUDA(cudaGraphDestroy(graph));
  CHECK_CUDA(cudaStreamDestroy(stream));
  return a.values();
}

// ---- managed memory ----

struct Node {
  int value;
  Node *next;
};

__global__ static void follow(const Node *node, long long *total) {
  *total = 0;
  for (; node != nullptr; node = node->next) *total += node->value;
}

long long sum_of_list(const std::vector<int> &x) {
  Node *nodes = nullptr;
  long long *total = nullptr;
  CHECK_CUDA(cudaMallocManaged(reinterpret_cast<void **>(&total), sizeof *total));
  CHECK_CUDA(cudaMallocManaged(reinterpret_cast<void **>(&nodes), x.size() * sizeof(Node)));
  for (size_t i = 0; i < x.size(); ++i) nodes[i] = {x[i], i + 1 < x.size() ? &nodes[i + 1] : nullptr};
  follow<<<1, 1>>>(nodes, total);
  CHECK_CUDA(cudaGetLastError());
  CHECK_CUDA(cudaDeviceSynchronize());
  const long long result = *total;
  CHECK_CUDA(cudaFree(nodes));
  CHECK_CUDA(cudaFree(total));
  return result;
}

// ---- mathematics ----

__device__ static float normal_distribution(float x) { return .5f * erfcf(-x * 0.70710678f); }

__global__ static void price_calls(const float *price, const float *strike, const float *years, float rate,
                                   float volatility, float *calls, int count) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    const float deviation = volatility * sqrtf(years[i]);
    const float d1 = (logf(price[i] / strike[i]) + (rate + .5f * volatility * volatility) * years[i]) / deviation;
    calls[i] =
        price[i] * normal_distribution(d1) - strike[i] * expf(-rate * years[i]) * normal_distribution(d1 - deviation);
  }
}

Floats black_scholes_calls(const Floats &price, const Floats &strike, const Floats &years, float rate,
                           float volatility) {
  const Array<float> in_price(price), in_strike(strike), in_years(years), out(price.size());
  int blocks = 0, processors = 0;
  CHECK_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, price_calls, 128, 0));
  CHECK_CUDA(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0));
  float *data_price = in_price.data(), *data_strike = in_strike.data(), *data_years = in_years.data();
  float *calls = out.data();
  int count = static_cast<int>(price.size());
  void *arguments[] = {&data_price, &data_strike, &data_years, &rate, &volatility, &calls, &count};
  CHECK_CUDA(cudaLaunchKernel(reinterpret_cast<void *>(price_calls), blocks * processors, 128, arguments));
  return out.values();
}

struct alignas(16) Body {
  double x, y, z, weight;
};

__global__ static void attract(const Body *bodies, double *accelerations, int count, double softening) {
  extern __shared__ Body tile[];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const Body own = bodies[min(i, count - 1)];
  double x = 0, y = 0, z = 0;
  for (int begin = 0; begin < count; begin += blockDim.x) {
    tile[threadIdx.x] = bodies[min(begin + static_cast<int>(threadIdx.x), count - 1)];
    __syncthreads();
    for (int j = 0; j < blockDim.x && begin + j < count; ++j) {
      const double dx = tile[j].x - own.x, dy = tile[j].y - own.y, dz = tile[j].z - own.z;
      const double inverse = rsqrt(dx * dx + dy * dy + dz * dz + softening);
      const double weight = tile[j].weight * inverse * inverse * inverse;
      x += weight * dx, y += weight * dy, z += weight * dz;
    }
    __syncthreads();
  }
  if (i < count) accelerations[3 * i] = x, accelerations[3 * i + 1] = y, accelerations[3 * i + 2] = z;
}

std::vector<double> accelerations(const std::vector<double> &bodies, double softening) {
  const int count = static_cast<int>(bodies.size() / 4);
  const Array<double> in(bodies), out(static_cast<size_t>(count) * 3);
  attract<<<blocks_for(count, 64), 64, 64 * sizeof(Body)>>>(reinterpret_cast<Body *>(in.data()), out.data(), count,
                                                            softening);
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

}  // namespace samples
