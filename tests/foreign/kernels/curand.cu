// cuRAND's device generators: thread t draws from subsequence t.
#include <curand_kernel.h>

template <typename State, typename Number, typename Draw>
__device__ void fill(Number *numbers, unsigned long long seed, unsigned long long offset, int per_thread, Draw draw) {
  const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x, threads = gridDim.x * blockDim.x;
  State state;
  curand_init(seed, thread, offset, &state);
  for (int i = 0; i < per_thread; ++i) numbers[i * threads + thread] = draw(&state);
}

template <typename State>
__device__ unsigned words(State *state) {
  return curand(state);
}
template <typename State>
__device__ float uniform(State *state) {
  return curand_uniform(state);
}

#define KERNEL(name, State, Number, draw)                                                                         \
  extern "C" __global__ void name(Number *numbers, unsigned long long seed, unsigned long long offset, int per) { \
    fill<State>(numbers, seed, offset, per, draw<State>);                                                         \
  }
KERNEL(xorwow_words, curandStateXORWOW_t, unsigned, words)
KERNEL(xorwow_uniform, curandStateXORWOW_t, float, uniform)
KERNEL(philox_words, curandStatePhilox4_32_10_t, unsigned, words)
KERNEL(philox_uniform, curandStatePhilox4_32_10_t, float, uniform)
