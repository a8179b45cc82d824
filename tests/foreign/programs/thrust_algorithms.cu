// Programs with Thrust, written as its documentation shows.
#include <thrust/copy.h>
#include <thrust/device_vector.h>
#include <thrust/gather.h>
#include <thrust/iterator/constant_iterator.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/reduce.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>

#include "tests/foreign/programs/thrust_algorithms.h"

namespace thrust_algorithms {

template <typename T>
static std::vector<T> to_host(const thrust::device_vector<T> &x, size_t count) {
  std::vector<T> values(count);
  thrust::copy(x.begin(), x.begin() + count, values.begin());
  return values;
}

struct Square {
  __host__ __device__ int operator()(int x) const { return x * x; }
};
struct MultiplyAdd {
  float a;
  __host__ __device__ float operator()(float x, float y) const { return a * x + y; }
};
struct IsPrime {
  __host__ __device__ bool operator()(int x) const {
    for (int divisor = 2; divisor * divisor <= x; ++divisor) {
      if (x % divisor == 0) return false;
    }
    return x > 1;
  }
};

int sum_of_squares(const std::vector<int> &x) {
  const thrust::device_vector<int> in(x.begin(), x.end());
  return thrust::transform_reduce(in.begin(), in.end(), Square(), 0, cuda::std::plus<int>());
}

std::vector<float> saxpy(float a, const std::vector<float> &x, const std::vector<float> &y) {
  const thrust::device_vector<float> in(x.begin(), x.end());
  thrust::device_vector<float> out(y.begin(), y.end());
  thrust::transform(in.begin(), in.end(), out.begin(), out.begin(), MultiplyAdd{a});
  return to_host(out, out.size());
}

std::vector<int> most_frequent(const std::vector<int> &words) {
  thrust::device_vector<int> sorted(words.begin(), words.end()), names(words.size()), counts(words.size());
  thrust::sort(sorted.begin(), sorted.end());
  const auto end = thrust::reduce_by_key(sorted.begin(), sorted.end(), thrust::constant_iterator<int>(-1),
                                         names.begin(), counts.begin());
  thrust::stable_sort_by_key(counts.begin(), end.second, names.begin());
  return to_host(names, end.first - names.begin());
}

std::vector<int> primes(int bound) {
  thrust::device_vector<int> found(bound);
  const thrust::counting_iterator<int> numbers(0);
  const auto end = thrust::copy_if(thrust::device, numbers, numbers + bound, found.begin(), IsPrime());
  return to_host(found, end - found.begin());
}

std::vector<int> gathered(const std::vector<int> &x, const std::vector<int> &places) {
  const thrust::device_vector<int> in(x.begin(), x.end()), map(places.begin(), places.end());
  thrust::device_vector<int> out(places.size());
  thrust::gather(map.begin(), map.end(), in.begin(), out.begin());
  return to_host(out, out.size());
}

}  // namespace thrust_algorithms
