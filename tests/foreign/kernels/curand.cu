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
template <typename State>
__device__ double uniform_double(State *state) {
  return curand_uniform_double(state);
}

#define KERNEL(name, State, Number, draw)                                                                         \
  extern "C" __global__ void name(Number *numbers, unsigned long long seed, unsigned long long offset, int per) { \
    fill<State>(numbers, seed, offset, per, draw<State>);                                                         \
  }
KERNEL(xorwow_words, curandStateXORWOW_t, unsigned, words)
KERNEL(xorwow_uniform, curandStateXORWOW_t, float, uniform)
KERNEL(philox_words, curandStatePhilox4_32_10_t, unsigned, words)
KERNEL(philox_uniform, curandStatePhilox4_32_10_t, float, uniform)
KERNEL(mrg32k3a_words, curandStateMRG32k3a_t, unsigned, words)
KERNEL(mrg32k3a_uniform, curandStateMRG32k3a_t, float, uniform)
KERNEL(mrg32k3a_uniform_double, curandStateMRG32k3a_t, double, uniform_double)

// Sobol's quasi-random numbers: block d draws from dimension d, thread t from its own part of it.
extern "C" __global__ void sobol32_words(unsigned *numbers, const curandDirectionVectors32_t *directions, int per) {
  curandStateSobol32_t state;
  curandDirectionVectors32_t vectors;
  for (int i = 0; i < 32; ++i) vectors[i] = directions[blockIdx.x][i];
  curand_init(vectors, threadIdx.x * per, &state);
  for (int i = 0; i < per; ++i) numbers[(blockIdx.x * blockDim.x + threadIdx.x) * per + i] = curand(&state);
}
