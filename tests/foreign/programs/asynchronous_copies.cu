// Copies from global to shared memory that go on while threads compute.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda_pipeline.h>

#include <cuda/barrier>
#include <cuda/pipeline>

#include "tests/foreign/programs/array.h"
#include "tests/foreign/programs/asynchronous_copies.h"

namespace asynchronous_copies {

namespace cg = cooperative_groups;

__global__ static void add_256(const int *x, int *result) {
  __shared__ int values[256];
  const cg::thread_block block = cg::this_thread_block();
  cg::memcpy_async(block, values, x + blockIdx.x * 256, sizeof values);
  cg::wait(block);
  for (unsigned half = 128; half > 0; half /= 2) {
    if (block.thread_rank() < half) values[block.thread_rank()] += values[block.thread_rank() + half];
    block.sync();
  }
  if (block.thread_rank() == 0) result[block.group_index().x] = values[0];
}

std::vector<int> sums_of_256(const std::vector<int> &x) {
  const int blocks = static_cast<int>(x.size() / 256);
  const Array<int> in(x), out(blocks);
  add_256<<<blocks, 128>>>(in.data(), out.data());
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

constexpr int kTile = 128;

__global__ static void turn_by_groups(const int *x, int *result, int tiles) {
  __shared__ alignas(16) int values[2][kTile];
  const cg::thread_block block = cg::this_thread_block();
  cg::memcpy_async(block, values[0], x, cuda::aligned_size_t<16>(sizeof values[0]));
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      cg::memcpy_async(block, values[(tile + 1) % 2], x + (tile + 1) * kTile,
                       cuda::aligned_size_t<16>(sizeof values[0]));
      cg::wait_prior<1>(block);
    } else {
      cg::wait(block);
    }
    result[tile * kTile + threadIdx.x] = values[tile % 2][kTile - 1 - threadIdx.x] * tile;
    block.sync();
  }
}

__global__ static void turn_by_pipeline(const int *x, int *result, int tiles) {
  constexpr int kStages = 4;
  __shared__ int values[kStages][kTile];
  cuda::pipeline<cuda::thread_scope_thread> pipeline = cuda::make_pipeline();
  const int other = kTile - 1 - threadIdx.x;  // a thread waits for its own copies only
  for (int tile = 0, fetched = 0; tile < tiles; ++tile) {
    for (; fetched < min(tile + kStages, tiles); ++fetched) {
      pipeline.producer_acquire();
      cuda::memcpy_async(&values[fetched % kStages][threadIdx.x], &x[fetched * kTile + other], sizeof(int), pipeline);
      pipeline.producer_commit();
    }
    pipeline.consumer_wait();
    result[tile * kTile + threadIdx.x] = values[tile % kStages][threadIdx.x] * tile;
    pipeline.consumer_release();
  }
}

using Barrier = cuda::barrier<cuda::thread_scope_block>;

__global__ static void turn_by_barrier(const int *x, int *result, int tiles) {
  __shared__ alignas(16) int values[2][kTile];
  __shared__ Barrier arrived[2];
  const cg::thread_block block = cg::this_thread_block();
  if (block.thread_rank() < 2) init(&arrived[block.thread_rank()], kTile);
  block.sync();
  cuda::memcpy_async(block, values[0], x, sizeof values[0], arrived[0]);
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      cuda::memcpy_async(block, values[(tile + 1) % 2], x + (tile + 1) * kTile,
                         cuda::aligned_size_t<16>(sizeof values[0]), arrived[(tile + 1) % 2]);
    }
    arrived[tile % 2].arrive_and_wait();
    result[tile * kTile + threadIdx.x] = values[tile % 2][kTile - 1 - threadIdx.x] * tile;
    block.sync();
  }
}

__global__ static void turn_by_block_pipeline(const int *x, int *result, int tiles) {
  constexpr int kStages = 3;
  __shared__ alignas(16) int values[kStages][kTile];
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, kStages> state;
  const cg::thread_block block = cg::this_thread_block();
  cuda::pipeline<cuda::thread_scope_block> pipeline = cuda::make_pipeline(block, &state);
  for (int tile = 0, fetched = 0; tile < tiles; ++tile) {
    for (; fetched < min(tile + kStages, tiles); ++fetched) {
      pipeline.producer_acquire();
      cuda::memcpy_async(block, values[fetched % kStages], x + fetched * kTile,
                         cuda::aligned_size_t<16>(sizeof values[0]), pipeline);
      pipeline.producer_commit();
    }
    pipeline.consumer_wait();
    result[tile * kTile + threadIdx.x] = values[tile % kStages][kTile - 1 - threadIdx.x] * tile;
    pipeline.consumer_release();
  }
}

__global__ static void turn_by_producer_and_consumers(const int *x, int *result, int tiles) {
  constexpr int kStages = 2, kProducers = 32;
  __shared__ alignas(16) int values[kStages][kTile];
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, kStages> state;
  const cg::thread_block block = cg::this_thread_block();
  const bool produces = block.thread_rank() < kProducers;
  cuda::pipeline<cuda::thread_scope_block> pipeline =
      cuda::make_pipeline(block, &state, produces ? cuda::pipeline_role::producer : cuda::pipeline_role::consumer);
  for (int tile = 0; tile < tiles; ++tile) {
    int *stage = values[tile % kStages];
    if (produces) {
      pipeline.producer_acquire();
      for (int i = threadIdx.x; i < kTile; i += kProducers)
        cuda::memcpy_async(&stage[i], &x[tile * kTile + i], sizeof(int), pipeline);
      pipeline.producer_commit();
    } else {
      pipeline.consumer_wait();
      for (int i = threadIdx.x - kProducers; i < kTile; i += kTile - kProducers)
        result[tile * kTile + i] = stage[kTile - 1 - i] * tile;
      pipeline.consumer_release();
    }
  }
  pipeline.quit();
}

template <typename Kernel>
static std::vector<int> tiles(Kernel kernel, const std::vector<int> &x) {
  const Array<int> in(x), out(x.size());
  kernel<<<1, kTile>>>(in.data(), out.data(), static_cast<int>(x.size() / kTile));
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

std::vector<int> tiles_by_groups(const std::vector<int> &x) { return tiles(turn_by_groups, x); }
std::vector<int> tiles_by_pipeline(const std::vector<int> &x) { return tiles(turn_by_pipeline, x); }

std::vector<int> tiles_by_barrier(const std::vector<int> &x) { return tiles(turn_by_barrier, x); }
std::vector<int> tiles_by_block_pipeline(const std::vector<int> &x) { return tiles(turn_by_block_pipeline, x); }
std::vector<int> tiles_by_producer_and_consumers(const std::vector<int> &x) {
  return tiles(turn_by_producer_and_consumers, x);
}

// What all write before they arrive must be there after they have waited.
__global__ static void count_turns(int *result, int turns) {
  __shared__ Barrier barrier;
  __shared__ int written[kTile];
  if (threadIdx.x == 0) init(&barrier, kTile);
  __syncthreads();
  int total = 0;
  for (int turn = 1; turn <= turns; ++turn) {
    written[threadIdx.x] = turn;
    Barrier::arrival_token token = barrier.arrive();
    barrier.wait(cuda::std::move(token));
    total += written[(threadIdx.x + 33 * turn) % kTile];
    barrier.arrive_and_wait();  // nobody writes again before all have read
  }
  result[threadIdx.x] = total;
}

std::vector<int> turns_of_a_barrier(int turns) {
  const Array<int> out(kTile);
  count_turns<<<1, kTile>>>(out.data(), turns);
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

__global__ static void copy_part(const int4 *x, int4 *result, int bytes) {
  __shared__ int4 values[64];
  values[threadIdx.x] = make_int4(-1, -1, -1, -1);
  __pipeline_memcpy_async(&values[threadIdx.x], &x[blockIdx.x * 64 + threadIdx.x], 16, 16 - bytes);
  __pipeline_commit();
  __pipeline_wait_prior(0);
  result[blockIdx.x * 64 + threadIdx.x] = values[threadIdx.x];
}

std::vector<int> with_zeros(const std::vector<int> &x, int bytes) {
  const Array<int> in(x), out(x.size());
  copy_part<<<static_cast<unsigned>(x.size() / 256), 64>>>(reinterpret_cast<int4 *>(in.data()),
                                                           reinterpret_cast<int4 *>(out.data()), bytes);
  CHECK_CUDA(cudaGetLastError());
  return out.values();
}

}  // namespace asynchronous_copies
