/* Inside the scalar interpreter: what the parser hands to the machine. */
#ifndef TESTS_VGPU_SCALAR_MACHINE_H
#define TESTS_VGPU_SCALAR_MACHINE_H

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "tests/vgpu/scalar.h"

namespace scalar {

struct Thread;
struct Instruction;
using Handler = void (*)(Thread &, const Instruction &);

enum class Space { generic, global, shared, local, constant, param };

constexpr uint32_t none = 0xffffffff;

/* Operands are indices into the thread's registers, behind which stand the kernel's constants. Results that nobody
 * wants go to register 0. */
struct Instruction {
  Handler run = nullptr;
  uint32_t d = 0, a = 0, b = 0, c = 0, e = 0;
  uint32_t guard = none;
  bool guard_negate = false;
  bool negate_c = false;      /* the predicate of setp .and and the like */
  uint8_t mode = 0;           /* what a handler needs besides: table of lop3, mode of prmt, space, ... */
  uint8_t bits = 0;           /* width of the result register of ld and cvt */
  uint32_t target = 0;        /* bra */
  int64_t offset = 0;         /* ld, st, atom */
  std::vector<uint32_t> list; /* elements of vectors, targets of brx */
};

struct Kernel {
  std::string name;
  std::vector<Instruction> code;
  uint32_t registers = 1;          /* without constants */
  std::vector<uint64_t> constants; /* behind the registers */
  uint32_t shared_bytes = 0, dynamic_start = 0, local_bytes = 0;
};

struct Block;

enum class State { ready, barrier, exchange, ended };

struct Thread {
  uint64_t *r; /* registers, then constants */
  uint32_t pc = 0, index = 0;
  State state = State::ready;
  bool carry = false;
  Block *block = nullptr;
  unsigned char *local = nullptr;
};

struct Block {
  const Kernel *kernel;
  const Launch *launch;
  unsigned index[3];
  std::vector<unsigned char> *shared;
  std::vector<Thread> threads;
};

template <typename T>
T get(const Thread &t, uint32_t index) {
  T value;
  std::memcpy(&value, &t.r[index], sizeof value);
  return value;
}

template <typename T>
void put(Thread &t, uint32_t index, T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  t.r[index] = bits;
}

/* An opcode cut at its dots: "ld", {"global", "nc", "v4", "f32"}. */
struct Opcode {
  std::string name;
  std::vector<std::string> modifiers;
  bool has(const std::string &modifier) const;
  /* The types among the modifiers, in order. */
  std::vector<std::string> types() const;
};

/* The handler of an arithmetic instruction, or nullptr if it is not in the subset. May set mode and bits. */
Handler arithmetic(const Opcode &opcode, Instruction *instruction);
/* The handlers of ld, st, atom and red, of exchanges between the lanes of a warp, and of control. */
Handler memory(const Opcode &opcode, Instruction *instruction);
Handler control(const Opcode &opcode, Instruction *instruction);
/* Value of a special register. */
uint64_t special(const Thread &t, unsigned number);
unsigned special_number(const std::string &name); /* 0: none of that name */
Handler move_special();

unsigned bytes_of(const std::string &type); /* 0: not a type; pred: 1 */

/* Exchanges (shfl, vote, bar.warp) happen once all lanes of the member mask stand at the same instruction. */
void exchange(Block &block, const std::vector<uint32_t> &lanes, const Instruction &instruction);
bool is_exchange(const Instruction &instruction);

std::map<std::string, Kernel> parse(const std::string &text, std::vector<std::unique_ptr<unsigned char[]>> *variables);

}  // namespace scalar

#endif
