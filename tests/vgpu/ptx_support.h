/* What the tests of PTX instructions share: kernels written around one instruction, run by every executor there is (the
 * interpreter's instruction sets and the translator), with all lanes and with every other lane, and compared with an
 * independent statement computed by the host. */
#ifndef TESTS_VGPU_PTX_SUPPORT_H
#define TESTS_VGPU_PTX_SUPPORT_H

#include <gtest/gtest.h>

#if !defined(__clang__) /* g++'s <stdatomic.h> declares nothing before C++23 */
#include <atomic>
using std::atomic_int;
#endif
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

extern "C" {
#include "engine/vgpu/executor.h"
#include "engine/vgpu/observe.h"
#include "engine/vgpu/ptx.h"
}

namespace ptx {

/* Device memory that the executors may touch; registered while it lives. */
class Memory {
 public:
  explicit Memory(size_t bytes);
  ~Memory();
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  template <typename T>
  T *as() const {
    return static_cast<T *>(data_);
  }
  uint64_t address() const { return reinterpret_cast<uint64_t>(data_); }

 private:
  void *data_;
};

struct Executor {
  std::string name;
  std::function<void *(const ptx_function *, const unsigned block[3], std::string *reason)> prepare;
  std::function<void(void *)> discard;
  std::function<int(const vgpu_launch *, vgpu_scratch *, const unsigned[3], unsigned, vgpu_fault *)> run_block;
  const vgpu_observer *observer = nullptr;
};
/* The interpreter that shows every step to `observer`. */
Executor observed(const vgpu_observer *observer);
const std::vector<Executor> &executors();
/* Also the translator for less than this CPU has, which most tests leave out to save time. */
const std::vector<Executor> &all_executors();

/* A parsed and placed module. `error` is empty if that worked. */
class Module {
 public:
  explicit Module(const std::string &text);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;
  const ptx_module *get() const { return module_; }
  const ptx_function *function(const char *name) const { return ptx_find_function(module_, name); }
  ptx_error error = {};

 private:
  ptx_module *module_ = nullptr;
  Memory *segment_ = nullptr;
};

struct Shape {
  unsigned grid[3] = {1, 1, 1}, block[3] = {32, 1, 1}, dynamic_shared = 0;
};

/* Runs all blocks in order. The fault's text, or "" if there was none. */
std::string launch(const Executor &executor, const ptx_function *function, const Shape &shape,
                   const std::vector<uint64_t> &params);

/* The module header and a kernel `k(.param .u64 p0, .u64 p1, ...)` with the given body. */
std::string kernel(const std::string &body, int params = 1, const std::string &before = "");

/* The reason why the text is refused; "" if it is not. */
std::string refusal(const std::string &text, unsigned *line = nullptr);

/* ---- one instruction on many operands ---- */

struct Input {
  uint64_t a, b, c, e;
};
enum class Values { integers, f32, f64 };
enum class Same { bits, f32, f64 }; /* f32, f64: any NaN equals any NaN */

std::vector<Input> inputs(Values values);

/* Runs `body`, which computes %d (of `width` bits) from %a, %b, %c, %e (of `widths`) and may use predicates %p, %q and
 * registers %r0..%r9, %l0..%l9, and expects reference(input) of every input. */
void check(const std::string &body, int width, const std::vector<int> &widths, Values values,
           const std::function<uint64_t(const Input &)> &reference, Same same = Same::bits);
/* The results of one executor, for tests of their own. */
std::vector<uint64_t> evaluate(const Executor &executor, const std::string &body, int width,
                               const std::vector<int> &widths, const std::vector<Input> &inputs,
                               bool divergent = false);

template <typename To, typename From>
To bits_as(From from) {
  static_assert(sizeof(To) <= sizeof(From) || sizeof(From) <= sizeof(To), "");
  To to = {};
  __builtin_memcpy(&to, &from, sizeof(To) < sizeof(From) ? sizeof(To) : sizeof(From));
  return to;
}
inline float f32(uint64_t bits) { return bits_as<float>(static_cast<uint32_t>(bits)); }
inline double f64(uint64_t bits) { return bits_as<double>(bits); }
inline uint64_t bits(float x) { return bits_as<uint32_t>(x); }
inline uint64_t bits(double x) { return bits_as<uint64_t>(x); }

}  // namespace ptx

#endif
