/* What the tests with other people's device code share: PTX that nvcc made of tests/foreign/kernels, arrays on the
 * virtual GPU, launches. */
#ifndef TESTS_FOREIGN_SUPPORT_H
#define TESTS_FOREIGN_SUPPORT_H

#include <cuda.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "engine/vgpu/vgpu.h"
}

namespace foreign {

/* The virtual GPU's cuXxx: CU(cuMemAlloc)(&p, n). cuda.h's macros turn the plain name into the exported one first. */
#define FOREIGN_EXPORTED(name) reinterpret_cast<decltype(&name)>(vgpu_symbol(#name))
#define CU(name) FOREIGN_EXPORTED(name)

/* Ends the test program's case with the call and the virtual GPU's reason. */
void require(CUresult result, const char *call);
#define CUDA(name, ...) ::foreign::require(CU(name)(__VA_ARGS__), #name)

/* An array in device memory. */
template <typename T>
class Array {
 public:
  explicit Array(size_t count) : count_(count) { CUDA(cuMemAlloc, &address_, count * sizeof(T)); }
  explicit Array(const std::vector<T> &values) : Array(values.size()) {
    CUDA(cuMemcpyHtoD, address_, values.data(), count_ * sizeof(T));
  }
  ~Array() { CU(cuMemFree)(address_); }
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  std::vector<T> values() const {
    std::vector<T> values(count_);
    CUDA(cuMemcpyDtoH, values.data(), address_, count_ * sizeof(T));
    return values;
  }
  void zero() const { CUDA(cuMemsetD8, address_, 0, count_ * sizeof(T)); }
  CUdeviceptr address() const { return address_; }

 private:
  CUdeviceptr address_ = 0;
  size_t count_;
};

template <typename T>
CUdeviceptr argument(const Array<T> &array) {
  return array.address();
}
template <typename T>
T argument(const T &value) {
  return value;
}

/* The module NAME.ptx of the build folder. */
class Module {
 public:
  explicit Module(const std::string &name);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;
  template <typename... Arguments>
  void launch(const std::string &kernel, unsigned grid, unsigned block, const Arguments &...arguments) const {
    start(kernel, grid, block, false, argument(arguments)...);
  }
  template <typename... Arguments>
  void launch_cooperative(const std::string &kernel, unsigned grid, unsigned block,
                          const Arguments &...arguments) const {
    start(kernel, grid, block, true, argument(arguments)...);
  }

 private:
  template <typename... Values>
  void start(const std::string &kernel, unsigned grid, unsigned block, bool cooperative, Values... values) const {
    void *parameters[] = {&values...};
    run(kernel, grid, block, cooperative, parameters);
  }
  void run(const std::string &kernel, unsigned grid, unsigned block, bool cooperative, void **parameters) const;
  CUmodule module_ = nullptr;
};

/* A test that needs some of the modules; skipped where the toolkit has not the headers they are made of. */
class Test : public ::testing::Test {
 protected:
  static bool built(const std::string &module);
  void SetUp() override;
  void TearDown() override;
};

#define NEEDS_MODULE(name) \
  if (!built(name)) GTEST_SKIP() << "the CUDA toolkit here lacks the headers that " << (name) << ".cu includes"

}  // namespace foreign

#endif
