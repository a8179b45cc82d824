/* The scalar interpreter's machine: memory, control, exchanges between lanes, and threads run one after the other. */
#include "tests/vgpu/scalar_machine.h"

#include <algorithm>
#include <functional>

namespace scalar {

namespace {

#define HANDLER(...) [](Thread &t, const Instruction &i) { __VA_ARGS__ }

/* ---- memory ---- */

unsigned char *place(const Thread &t, const Instruction &i) {
  const uint64_t address = t.r[i.a] + static_cast<uint64_t>(i.offset);
  switch (static_cast<Space>(i.mode)) {
    case Space::shared:
      return t.block->shared->data() + static_cast<uint32_t>(address);
    case Space::local:
      return t.local + static_cast<uint32_t>(address);
    case Space::param:
      return static_cast<unsigned char *>(const_cast<void *>(t.block->launch->params)) + address;
    default:
      return reinterpret_cast<unsigned char *>(address);
  }
}

template <typename T>
void load(Thread &t, const Instruction &i) {
  const unsigned char *from = place(t, i);
  T values[8];
  std::memcpy(values, from, i.list.size() * sizeof(T));
  for (size_t k = 0; k < i.list.size(); k++) {
    /* A register that is wider gets the value sign or zero extended; floats have registers of their own width. */
    if (i.bits <= 8 * sizeof(T)) {
      put(t, i.list[k], values[k]);
    } else {
      const uint64_t wide = static_cast<uint64_t>(static_cast<int64_t>(values[k]));
      t.r[i.list[k]] = i.bits == 64 ? wide : wide & ((uint64_t{1} << i.bits) - 1);
    }
  }
}

template <typename T>
void store(Thread &t, const Instruction &i) {
  unsigned char *to = place(t, i);
  for (size_t k = 0; k < i.list.size(); k++) std::memcpy(to + k * sizeof(T), &t.r[i.list[k]], sizeof(T));
}

template <typename T, typename F>
void update(Thread &t, const Instruction &i, F change) {
  unsigned char *at = place(t, i);
  T before;
  std::memcpy(&before, at, sizeof before);
  const T after = change(before);
  std::memcpy(at, &after, sizeof after);
  if (i.d) put(t, i.d, before);
}

#define CHANGE(...)                                                    \
  return [](Thread &t, const Instruction &i) {                         \
    update<T>(t, i, [&](T old [[maybe_unused]]) -> T {                 \
      const T b = get<T>(t, i.b), c [[maybe_unused]] = get<T>(t, i.c); \
      return static_cast<T>(__VA_ARGS__);                              \
    });                                                                \
  }

template <typename T>
Handler atomic(const Opcode &op) {
  if (op.has("add")) CHANGE(old + b);
  if (op.has("exch")) CHANGE(b);
  if (op.has("cas")) CHANGE(old == b ? c : old);
  if constexpr (std::is_integral<T>::value) {
    if (op.has("min")) CHANGE(old < b ? old : b);
    if (op.has("max")) CHANGE(old > b ? old : b);
    if (op.has("and")) CHANGE(old & b);
    if (op.has("or")) CHANGE(old | b);
    if (op.has("xor")) CHANGE(old ^ b);
    if (op.has("inc")) CHANGE(old >= b ? 0 : old + 1);
    if (op.has("dec")) CHANGE(old == 0 || old > b ? b : old - 1);
  }
  return nullptr;
}

/* ---- special registers ---- */

const char *const special_names[] = {
    "",         "%tid.x",       "%tid.y",       "%tid.z",       "%ntid.x",      "%ntid.y",     "%ntid.z",
    "%ctaid.x", "%ctaid.y",     "%ctaid.z",     "%nctaid.x",    "%nctaid.y",    "%nctaid.z",   "%laneid",
    "%warpid",  "%lanemask_lt", "%lanemask_le", "%lanemask_eq", "%lanemask_gt", "%lanemask_ge"};

/* ---- exchanges between the lanes of a warp ---- */

void stop_for_exchange(Thread &t, const Instruction &i) {
  (void)i;
  t.state = State::exchange;
}
/* One function each, so that the machine can tell them apart. */
void shuffle(Thread &t, const Instruction &i) { stop_for_exchange(t, i); }
void vote(Thread &t, const Instruction &i) { stop_for_exchange(t, i); }
void reduce(Thread &t, const Instruction &i) { stop_for_exchange(t, i); }
void meet(Thread &t, const Instruction &i) { stop_for_exchange(t, i); }
void barrier(Thread &t, const Instruction &i) {
  (void)i;
  t.state = State::barrier;
}

enum { UP, DOWN, BFLY, IDX };
enum { ALL, ANY, UNI, BALLOT };
enum { ADD, MIN, MAX, AND, OR, XOR, SIGNED_MIN, SIGNED_MAX };

uint32_t member_mask(const Thread &t, const Instruction &i) {
  if (i.run == shuffle) return get<uint32_t>(t, i.e);
  if (i.run == meet) return get<uint32_t>(t, i.a);
  return get<uint32_t>(t, i.b);
}

}  // namespace

unsigned special_number(const std::string &name) {
  for (unsigned k = 1; k < sizeof special_names / sizeof *special_names; k++)
    if (name == special_names[k]) return k;
  return 0;
}

uint64_t special(const Thread &t, unsigned number) {
  const unsigned *n = t.block->launch->block, *grid = t.block->launch->grid;
  const uint32_t lane = t.index % 32;
  const uint32_t values[] = {0,
                             t.index % n[0],
                             t.index / n[0] % n[1],
                             t.index / n[0] / n[1],
                             n[0],
                             n[1],
                             n[2],
                             t.block->index[0],
                             t.block->index[1],
                             t.block->index[2],
                             grid[0],
                             grid[1],
                             grid[2],
                             lane,
                             t.index / 32,
                             (1u << lane) - 1,
                             (2u << lane) - 1,
                             1u << lane,
                             ~((2u << lane) - 1),
                             ~((1u << lane) - 1)};
  return values[number];
}

Handler move_special() { return HANDLER(t.r[i.d] = special(t, i.mode);); }

Handler memory(const Opcode &op, Instruction *instruction) {
  const std::vector<std::string> types = op.types();
  if (types.empty()) return nullptr;
  const std::string &type = types[0], &name = op.name;
  const unsigned bytes = bytes_of(type);
  (void)instruction;
  if (name == "ld" || name == "ldu") {
    if (type == "s8") return load<int8_t>;
    if (type == "s16") return load<int16_t>;
    if (type == "s32") return load<int32_t>;
    return bytes == 1 ? load<uint8_t> : bytes == 2 ? load<uint16_t> : bytes == 4 ? load<uint32_t> : load<uint64_t>;
  }
  if (name == "st")
    return bytes == 1 ? store<uint8_t> : bytes == 2 ? store<uint16_t> : bytes == 4 ? store<uint32_t> : store<uint64_t>;
  if (type == "f32") return atomic<float>(op);
  if (type == "f64") return atomic<double>(op);
  if (type == "s32") return atomic<int32_t>(op);
  if (type == "s64") return atomic<int64_t>(op);
  if (bytes == 4) return atomic<uint32_t>(op);
  return bytes == 8 ? atomic<uint64_t>(op) : nullptr;
}

Handler control(const Opcode &op, Instruction *instruction) {
  const std::string &name = op.name;
  if (name == "bra") return HANDLER(t.pc = i.target;);
  if (name == "brx") {
    return HANDLER(const uint32_t index = get<uint32_t>(t, i.a);
                   if (index >= i.list.size()) throw Error("brx.idx beyond its table"); t.pc = i.list[index];);
  }
  if (name == "ret" || name == "exit") return HANDLER((void)i; t.state = State::ended;);
  if (name == "trap") return HANDLER((void)t; (void)i; throw Error("trap"););
  if (name == "membar" || name == "fence" || name == "nanosleep") return HANDLER((void)t; (void)i;);
  if (name == "cvta") {
    if (op.has("shared"))
      return op.has("to")
                 ? Handler(HANDLER(t.r[i.d] = t.r[i.a] - reinterpret_cast<uint64_t>(t.block->shared->data());))
                 : Handler(HANDLER(t.r[i.d] = t.r[i.a] + reinterpret_cast<uint64_t>(t.block->shared->data());));
    if (op.has("local"))
      return op.has("to") ? Handler(HANDLER(t.r[i.d] = t.r[i.a] - reinterpret_cast<uint64_t>(t.local);))
                          : Handler(HANDLER(t.r[i.d] = t.r[i.a] + reinterpret_cast<uint64_t>(t.local);));
    return HANDLER(t.r[i.d] = t.r[i.a];);
  }
  if (name == "bar" && op.has("warp")) return meet;
  if (name == "bar" || name == "barrier") return op.has("sync") ? barrier : nullptr;
  if (name == "shfl" && op.has("sync")) {
    instruction->mode = op.has("up") ? UP : op.has("down") ? DOWN : op.has("bfly") ? BFLY : IDX;
    return shuffle;
  }
  if (name == "vote" && op.has("sync")) {
    instruction->mode = op.has("all") ? ALL : op.has("any") ? ANY : op.has("uni") ? UNI : BALLOT;
    return vote;
  }
  if (name == "redux" && op.has("sync")) {
    const bool sign = op.has("s32");
    instruction->mode = op.has("add")   ? ADD
                        : op.has("min") ? (sign ? SIGNED_MIN : MIN)
                        : op.has("max") ? (sign ? SIGNED_MAX : MAX)
                        : op.has("and") ? AND
                        : op.has("or")  ? OR
                                        : XOR;
    return reduce;
  }
  return nullptr;
}

bool is_exchange(const Instruction &i) { return i.run == shuffle || i.run == vote || i.run == reduce || i.run == meet; }

/* `lanes`: the threads (of one warp) that stand at the instruction and name each other. */
void exchange(Block &block, const std::vector<uint32_t> &lanes, const Instruction &i) {
  std::vector<uint64_t> results(lanes.size());
  std::vector<bool> found(lanes.size(), true);
  const auto holds = [&](uint32_t index) {
    const Thread &t = block.threads[index];
    return (t.r[i.a] != 0) != i.negate_c;
  };
  for (size_t k = 0; k < lanes.size(); k++) {
    const Thread &t = block.threads[lanes[k]];
    if (i.run == shuffle) {
      const int lane = static_cast<int>(t.index % 32);
      const uint32_t b = get<uint32_t>(t, i.b), c = get<uint32_t>(t, i.c);
      const int distance = static_cast<int>(b & 31), limit = static_cast<int>(c & 31),
                segment = static_cast<int>(c >> 8 & 31);
      const int most = (lane & segment) | (limit & ~segment), least = lane & segment;
      int from = lane;
      switch (i.mode) {
        case UP:
          from = lane - distance;
          found[k] = from >= most;
          break;
        case DOWN:
          from = lane + distance;
          found[k] = from <= most;
          break;
        case BFLY:
          from = lane ^ distance;
          found[k] = from <= most;
          break;
        default:
          from = least | (distance & ~segment);
          found[k] = from <= most;
          break;
      }
      if (!found[k]) from = lane;
      const uint32_t source = t.index - static_cast<uint32_t>(lane) + static_cast<uint32_t>(from);
      if (std::find(lanes.begin(), lanes.end(), source) == lanes.end())
        throw Error("shfl.sync reads a lane that takes no part");
      results[k] = get<uint32_t>(block.threads[source], i.a);
    } else if (i.run == vote) {
      uint32_t ballot = 0;
      for (uint32_t other : lanes) ballot |= static_cast<uint32_t>(holds(other)) << (other % 32);
      uint32_t all = 0;
      for (uint32_t other : lanes) all |= 1u << (other % 32);
      results[k] = i.mode == BALLOT ? ballot
                   : i.mode == ALL  ? ballot == all
                   : i.mode == ANY  ? ballot != 0
                                    : ballot == all || ballot == 0;
    } else if (i.run == reduce) {
      uint32_t sum = get<uint32_t>(block.threads[lanes[0]], i.a);
      for (size_t other = 1; other < lanes.size(); other++) {
        const uint32_t v = get<uint32_t>(block.threads[lanes[other]], i.a);
        const auto s = static_cast<int32_t>(sum), w = static_cast<int32_t>(v);
        switch (i.mode) {
          case ADD:
            sum += v;
            break;
          case MIN:
            sum = std::min(sum, v);
            break;
          case MAX:
            sum = std::max(sum, v);
            break;
          case SIGNED_MIN:
            sum = static_cast<uint32_t>(std::min(s, w));
            break;
          case SIGNED_MAX:
            sum = static_cast<uint32_t>(std::max(s, w));
            break;
          case AND:
            sum &= v;
            break;
          case OR:
            sum |= v;
            break;
          default:
            sum ^= v;
            break;
        }
      }
      results[k] = sum;
    }
  }
  for (size_t k = 0; k < lanes.size(); k++) {
    Thread &t = block.threads[lanes[k]];
    if (i.run != meet) t.r[i.d] = results[k];
    if (!i.list.empty()) t.r[i.list[0]] = found[k];
    t.state = State::ready;
  }
}

namespace {

/* Runs a thread until it ends or waits. */
uint64_t run_thread(Thread &t, const Kernel &kernel) {
  uint64_t count = 0;
  const Instruction *code = kernel.code.data();
  while (t.state == State::ready) {
    const Instruction &i = code[t.pc++];
    count++;
    if (i.guard != none && (t.r[i.guard] != 0) == i.guard_negate) continue;
    i.run(t, i);
  }
  return count;
}

/* Lets lanes go that have all met at an exchange. */
bool release_exchanges(Block &block, const Kernel &kernel) {
  bool moved = false;
  const uint32_t count = static_cast<uint32_t>(block.threads.size());
  for (uint32_t index = 0; index < count; index++) {
    Thread &t = block.threads[index];
    if (t.state != State::exchange) continue;
    const Instruction &i = kernel.code[t.pc - 1];
    const uint32_t mask = member_mask(t, i), first = index / 32 * 32;
    std::vector<uint32_t> lanes;
    bool complete = true;
    for (uint32_t lane = 0; lane < 32 && first + lane < count; lane++) {
      const Thread &other = block.threads[first + lane];
      if (!(mask >> lane & 1) || other.state == State::ended) continue;
      if (other.state == State::exchange && other.pc == t.pc)
        lanes.push_back(first + lane);
      else
        complete = false;
    }
    if (!complete) continue;
    exchange(block, lanes, i);
    moved = true;
  }
  return moved;
}

bool release_barrier(Block &block) {
  bool any = false;
  for (const Thread &t : block.threads) {
    if (t.state != State::barrier && t.state != State::ended) return false;
    any |= t.state == State::barrier;
  }
  for (Thread &t : block.threads)
    if (t.state == State::barrier) t.state = State::ready;
  return any;
}

}  // namespace

struct Module::Contents {
  std::vector<std::unique_ptr<unsigned char[]>> variables;
  std::map<std::string, Kernel> kernels;
};

Module::Module(const std::string &text) : contents_(std::make_unique<Contents>()) {
  contents_->kernels = parse(text, &contents_->variables);
}

Module::~Module() = default;

uint64_t Module::run(const std::string &name, const Launch &launch) {
  const auto found = contents_->kernels.find(name);
  if (found == contents_->kernels.end()) throw Error("there is no kernel " + name);
  const Kernel &kernel = found->second;
  const size_t threads = size_t{launch.block[0]} * launch.block[1] * launch.block[2];
  const size_t file = kernel.registers + kernel.constants.size();
  std::vector<uint64_t> registers(threads * file);
  std::vector<unsigned char> shared(kernel.dynamic_start + launch.dynamic_shared + 16),
      local(threads * (kernel.local_bytes + 16));
  uint64_t count = 0;
  for (unsigned z = 0; z < launch.grid[2]; z++)
    for (unsigned y = 0; y < launch.grid[1]; y++)
      for (unsigned x = 0; x < launch.grid[0]; x++) {
        std::fill(registers.begin(), registers.end(), 0);
        std::fill(shared.begin(), shared.end(), static_cast<unsigned char>(0));
        std::fill(local.begin(), local.end(), static_cast<unsigned char>(0));
        Block block{&kernel, &launch, {x, y, z}, &shared, std::vector<Thread>(threads)};
        for (size_t k = 0; k < threads; k++) {
          Thread &t = block.threads[k];
          t.r = &registers[k * file];
          std::copy(kernel.constants.begin(), kernel.constants.end(), t.r + kernel.registers);
          t.index = static_cast<uint32_t>(k);
          t.block = &block;
          t.local = &local[k * (kernel.local_bytes + 16)];
        }
        for (bool moved = true; moved;) {
          for (Thread &t : block.threads) count += run_thread(t, kernel);
          moved = release_exchanges(block, kernel) || release_barrier(block);
        }
        for (const Thread &t : block.threads)
          if (t.state != State::ended) throw Error("kernel " + name + ": threads wait for each other");
      }
  return count;
}

}  // namespace scalar
