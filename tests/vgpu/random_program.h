/* Random PTX kernels, well defined by construction: loops end, divisors are not zero, barriers and exchanges stand
 * where all threads come, results do not depend on the order of threads, and every NaN is replaced by the canonical
 * one. */
#ifndef TESTS_VGPU_RANDOM_PROGRAM_H
#define TESTS_VGPU_RANDOM_PROGRAM_H

#include <cstdint>
#include <string>
#include <vector>

namespace random_program {

/* Lines of PTX, and what they enclose. Without its enclosing lines a statement has no meaning; whole statements can be
 * left out. */
struct Statement {
  std::vector<std::string> before, between, after;
  std::vector<Statement> body, otherwise; /* after `before`, after `between` */
};

/* k(.param .u64 in, .u64 out, .u64 sums, .u32 uniform): each of grid * block threads reads anywhere in in[in_bytes],
 * writes its own out_bytes_each bytes of `out`, and adds to sums[sum_bytes]. */
struct Program {
  static constexpr size_t in_bytes = 4096, out_bytes_each = 512, sum_bytes = 128;
  unsigned grid = 1, block = 32, dynamic_shared = 0;
  std::vector<Statement> statements;
  /* The kernel alone, or with the module's head. */
  std::string kernel(const std::string &name) const;
  std::string module() const;
};

std::string head();

Program generate(uint64_t seed);

/* The smallest program found, by leaving out statements, for which `fails` still holds. */
template <typename F>
Program reduce(Program program, F fails);

}  // namespace random_program

/* ---- reduction ---- */

namespace random_program {

template <typename F>
bool reduce_list(Program &program, std::vector<Statement> &list, F &fails) {
  bool smaller = false;
  for (size_t size = list.size(); size > 0; size /= 2) { /* long runs first */
    for (size_t at = 0; at + size <= list.size();) {
      const std::vector<Statement> before = list;
      list.erase(list.begin() + static_cast<long>(at), list.begin() + static_cast<long>(at + size));
      if (fails(program)) {
        smaller = true;
      } else {
        list = before;
        at += size;
      }
    }
  }
  for (Statement &statement : list) {
    smaller |= reduce_list(program, statement.body, fails);
    smaller |= reduce_list(program, statement.otherwise, fails);
  }
  return smaller;
}

template <typename F>
Program reduce(Program program, F fails) {
  for (int round = 0; round < 4 && reduce_list(program, program.statements, fails); round++) continue;
  return program;
}

}  // namespace random_program

#endif
