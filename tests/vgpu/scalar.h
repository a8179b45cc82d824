/* A second opinion on PTX: an interpreter of another design than the engine's. It works straight on the text, shares no
 * code with engine/vgpu, runs one thread at a time in plain C types, and covers a subset: integer and floating-point
 * arithmetic of 16 to 64 bits, logic, comparisons, conversions, memory, atomics, branches, barriers, shuffles and
 * votes. What is outside the subset throws. It is also the baseline "one thread at a time" of the benchmarks.
 *
 *   scalar::Module module(ptx_text);
 *   uint64_t instructions = module.run("kernel", {{grid_x, 1, 1}, {block_x, 1, 1}, dynamic_shared, params, bytes});
 *
 * Device addresses are host pointers, as on the virtual GPU, so that both can work on the same memory. */
#ifndef TESTS_VGPU_SCALAR_H
#define TESTS_VGPU_SCALAR_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace scalar {

struct Launch {
  unsigned grid[3], block[3], dynamic_shared;
  const void *params; /* laid out as the kernel's .param list says */
  size_t param_bytes;
};

/* The text holds something outside the subset, or is no PTX; or a kernel did what has no meaning (a barrier that not
 * all threads reach). */
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Kernel;

class Module {
 public:
  explicit Module(const std::string &text);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  /* Runs all blocks in order. Returns the number of instructions executed, counted per thread. */
  uint64_t run(const std::string &kernel, const Launch &launch);

 private:
  struct Contents;
  std::unique_ptr<Contents> contents_;
};

}  // namespace scalar

#endif
