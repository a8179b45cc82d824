/* What the programs share: arrays in device memory through the CUDA runtime, and errors as exceptions. */
#ifndef TESTS_FOREIGN_PROGRAMS_ARRAY_H
#define TESTS_FOREIGN_PROGRAMS_ARRAY_H

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <vector>

#define CHECK_CUDA(call) check_cuda(call, #call)

inline void check_cuda(cudaError_t error, const char *call) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
}

template <typename T>
class Array {
 public:
  explicit Array(size_t count) : count_(count) { CHECK_CUDA(cudaMalloc(&data_, (count + (count == 0)) * sizeof(T))); }
  explicit Array(const std::vector<T> &values) : Array(values.size()) {
    CHECK_CUDA(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Array() { cudaFree(data_); }
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  T *data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(count_);
    CHECK_CUDA(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T *data_ = nullptr;
  size_t count_;
};

#endif
