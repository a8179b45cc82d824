/* Control flow: divergence and reconvergence, calls, barriers, and what passes between lanes and warps. */
#include <bitset>
#include <memory>
#include <random>

#include "tests/vgpu/ptx_support.h"

using ptx::evaluate;
using ptx::executors;
using ptx::Input;
using ptx::kernel;
using ptx::launch;
using ptx::Memory;
using ptx::Module;
using ptx::Shape;

namespace {

using u32 = uint32_t;
using u64 = uint64_t;

std::vector<Input> random_inputs(size_t count, u64 seed) {
  std::mt19937_64 random(seed);
  std::vector<Input> list(count);
  for (Input &x : list) x = {random(), random(), random(), random()};
  return list;
}

/* Runs a body that computes %d from %a, %b, %c, %e in each of 96-thread blocks, and compares with reference(i, inputs).
 */
template <typename F>
void check_lanes(const std::string &body, const std::vector<Input> &list, F reference) {
  for (const ptx::Executor &executor : executors()) {
    std::vector<u64> results = evaluate(executor, body, 32, {32, 32, 32, 32}, list);
    if (results.empty()) continue;
    for (size_t i = 0; i < list.size(); i++)
      ASSERT_EQ(static_cast<u32>(results[i]), reference(i)) << executor.name << ", thread " << i << ": " << body;
  }
}

/* ---- random structured programs, run as PTX and by a scalar interpreter of the tree they came from ---- */

struct Node;
using Tree = std::vector<std::unique_ptr<Node>>;
struct Node {
  enum Kind { assign, choose, loop, leave, finish } kind;
  int to, from, other, operation;
  u32 constant;
  Tree body, otherwise;
};

constexpr int variables = 5;

class Generator {
 public:
  explicit Generator(u64 seed) : random_(seed) {}

  Tree tree(int depth, int loops) {
    Tree list;
    int count = 1 + pick(4);
    for (int i = 0; i < count; i++) {
      auto node = std::make_unique<Node>();
      int what = depth > 0 ? pick(10) : pick(4);
      node->to = pick(variables);
      node->from = pick(variables);
      node->other = pick(variables);
      node->operation = pick(4);
      node->constant = static_cast<u32>(random_());
      node->kind = what < 4 ? Node::assign : what < 7 ? Node::choose : what < 9 ? Node::loop : Node::finish;
      if (what == 3 && loops > 0) node->kind = Node::leave;
      if (node->kind == Node::finish && pick(3)) node->kind = Node::assign;
      if (node->kind == Node::choose) {
        node->body = tree(depth - 1, loops);
        if (pick(2)) node->otherwise = tree(depth - 1, loops);
      }
      if (node->kind == Node::loop) node->body = tree(depth - 1, loops + 1);
      list.push_back(std::move(node));
    }
    return list;
  }

 private:
  int pick(int n) { return static_cast<int>(random_() % static_cast<u64>(n)); }
  std::mt19937_64 random_;
};

/* The condition "(from & 7) > (constant & 7)". */
bool condition(const Node &node, const u32 *v) { return (v[node.from] & 7) > (node.constant & 7); }

struct Writer {
  std::string text;
  int labels = 0, counters = 0;

  static std::string variable(int i) { return "%v" + std::to_string(i); }
  std::string label() { return "$L" + std::to_string(labels++); }

  void test(const Node &node) {
    text +=
        "and.b32 %t, " + variable(node.from) + ", 7; setp.gt.u32 %p, %t, " + std::to_string(node.constant & 7) + ";\n";
  }
  void write(const Tree &tree, const std::string &out) {
    for (const auto &owned : tree) {
      const Node &node = *owned;
      switch (node.kind) {
        case Node::assign: {
          const char *names[] = {"add.u32", "xor.b32", "mul.lo.u32", "shr.u32"};
          std::string second = node.operation == 3 ? std::to_string(node.constant % 13) : variable(node.other);
          text += std::string(names[node.operation]) + " %t, " + variable(node.from) + ", " + second + ";\n";
          text += "add.u32 " + variable(node.to) + ", %t, " + std::to_string(node.constant & 0xffff) + ";\n";
          break;
        }
        case Node::choose: {
          std::string other = label(), end = label();
          test(node);
          text += "@!%p bra " + other + ";\n";
          write(node.body, out);
          text += "bra " + end + ";\n" + other + ":\n";
          write(node.otherwise, out);
          text += end + ":\n";
          break;
        }
        case Node::loop: {
          std::string head = label(), end = label(), counter = "%k" + std::to_string(counters++);
          text += "and.b32 " + counter + ", " + variable(node.from) + ", 7;\n" + head + ":\n";
          text += "setp.eq.u32 %p, " + counter + ", 0; @%p bra " + end + ";\nsub.u32 " + counter + ", " + counter +
                  ", 1;\n";
          write(node.body, end);
          text += "bra.uni " + head + ";\n" + end + ":\n";
          break;
        }
        case Node::leave:
          test(node);
          text += "@%p bra " + out + ";\n";
          break;
        case Node::finish:
          test(node);
          text += "@%p bra STORE;\n";
          break;
      }
    }
  }
};

enum class Flow { next, leave, finish };

Flow interpret(const Tree &tree, u32 *v) {
  for (const auto &owned : tree) {
    const Node &node = *owned;
    Flow flow = Flow::next;
    switch (node.kind) {
      case Node::assign: {
        u32 a = v[node.from], b = v[node.other];
        u32 r = node.operation == 0   ? a + b
                : node.operation == 1 ? a ^ b
                : node.operation == 2 ? a * b
                                      : a >> node.constant % 13;
        v[node.to] = r + (node.constant & 0xffff);
        break;
      }
      case Node::choose:
        flow = interpret(condition(node, v) ? node.body : node.otherwise, v);
        break;
      case Node::loop:
        for (u32 k = v[node.from] & 7; k > 0; k--) {
          flow = interpret(node.body, v);
          if (flow != Flow::next) break;
        }
        if (flow == Flow::leave) flow = Flow::next;
        break;
      case Node::leave:
        flow = condition(node, v) ? Flow::leave : Flow::next;
        break;
      case Node::finish:
        flow = condition(node, v) ? Flow::finish : Flow::next;
        break;
    }
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

TEST(PtxFlow, RandomProgramsWithDivergentBranchesAndLoops) {
  for (u64 seed = 1; seed <= 60; seed++) {
    Tree tree = Generator(seed).tree(4, 0);
    Writer writer;
    writer.write(tree, "STORE");
    std::string body = ".reg .b32 %v<5>, %k<" + std::to_string(writer.counters + 1) +
                       ">, %t;\nmov.u32 %v0, %a; mov.u32 %v1, %b; mov.u32 %v2, %c; mov.u32 %v3, %e; mov.u32 %v4, 1;\n" +
                       writer.text +
                       "STORE:\nadd.u32 %d, %v0, %v1; xor.b32 %d, %d, %v2; add.u32 %d, %d, %v3; xor.b32 %d, %d, %v4;\n";
    std::vector<Input> list = random_inputs(96 * 2 + 17, seed);
    for (const ptx::Executor &executor : executors()) {
      if (executor.name == "translator" && seed % 6) continue; /* a second of compilation each */
      std::vector<u64> results = evaluate(executor, body, 32, {32, 32, 32, 32}, list);
      ASSERT_EQ(results.size(), list.size());
      for (size_t i = 0; i < list.size(); i++) {
        u32 v[variables] = {static_cast<u32>(list[i].a), static_cast<u32>(list[i].b), static_cast<u32>(list[i].c),
                            static_cast<u32>(list[i].e), 1};
        interpret(tree, v);
        ASSERT_EQ(static_cast<u32>(results[i]), ((((v[0] + v[1]) ^ v[2]) + v[3]) ^ v[4]))
            << executor.name << ", program " << seed << ", thread " << i;
      }
    }
  }
}

TEST(PtxFlow, LanesMeetAgainAfterBranchesAndLoops) {
  std::vector<Input> list = random_inputs(96, 1);
  /* Lanes leave the loop one after the other, through two doors; afterwards all 32 are together. */
  std::string body =
      "and.b32 %r0, %a, 15; mov.u32 %r1, 0;\n"
      "LOOP: add.u32 %r1, %r1, 1; setp.gt.u32 %p, %r1, %r0; @%p bra OUT; and.b32 %r2, %r1, 4; setp.ne.u32 %q, %r2, 0;\n"
      "@%q bra SECOND; bra LOOP;\n"
      "SECOND: add.u32 %r1, %r1, 2; setp.lt.u32 %q, %r1, 9; @%q bra LOOP;\n"
      "OUT: activemask.b32 %d;\n";
  check_lanes(body, list, [](size_t) { return 0xffffffffu; });
}

TEST(PtxFlow, IndexedBranchesGoToEveryTarget) {
  std::vector<Input> list = random_inputs(96, 2);
  std::string body =
      "and.b32 %r0, %a, 3;\n"
      "table: .branchtargets A, B, C, B;\n"
      "brx.idx %r0, table;\n"
      "A: mov.u32 %d, 10; bra END_OF_TABLE;\n"
      "B: mov.u32 %d, 20; bra END_OF_TABLE;\n"
      "C: mov.u32 %d, 30;\n"
      "END_OF_TABLE: add.u32 %d, %d, %r0;\n";
  check_lanes(body, list, [&](size_t i) {
    u32 index = list[i].a & 3;
    return (index == 0 ? 10u : index == 2 ? 30u : 20u) + index;
  });
}

TEST(PtxFlow, GuardedInstructionsOnlyTouchTheirLanes) {
  std::vector<Input> list = random_inputs(96, 3);
  check_lanes(
      "setp.lt.u32 %p, %a, %b; mov.u32 %d, 1; @%p add.u32 %d, %d, %c; @!%p mul.lo.u32 %d, %e, 3;", list, [&](size_t i) {
        const Input &x = list[i];
        return static_cast<u32>(x.a) < static_cast<u32>(x.b) ? 1 + static_cast<u32>(x.c) : 3 * static_cast<u32>(x.e);
      });
}

/* ---- calls ---- */

const char *const functions =
    ".func (.param .b32 result) square(.param .b32 x)\n"
    "{ .reg .b32 %r<3>; ld.param.u32 %r1, [x]; mul.lo.u32 %r2, %r1, %r1; st.param.b32 [result], %r2; ret; }\n"
    ".func (.param .align 8 .b8 result[8]) both(.param .align 8 .b8 pair[8], .param .b32 limit)\n"
    "{ .reg .b32 %r<8>; .reg .pred %p;\n"
    "ld.param.v2.u32 {%r1, %r2}, [pair]; ld.param.u32 %r3, [limit]; setp.gt.u32 %p, %r1, %r3; @%p bra BIG;\n"
    "st.param.v2.b32 [result], {%r2, %r1}; ret;\n"
    "BIG: { .param .b32 in; st.param.b32 [in], %r1; .param .b32 out; call (out), square, (in); ld.param.u32 %r4, "
    "[out]; }\n"
    "st.param.b32 [result], %r4; st.param.b32 [result+4], %r2; ret; }\n"
    ".func (.reg .u32 out) in_registers(.reg .u32 x, .reg .u32 y) { sub.u32 out, x, y; ret; }\n"
    ".func (.param .b32 result) through_memory(.param .align 4 .b8 bytes[16], .param .b32 index)\n"
    "{ .reg .b32 %r<4>; .reg .b64 %rd<4>;\n"
    "ld.param.u32 %r1, [index]; mov.b64 %rd1, bytes; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd3, %rd1, %rd2;\n"
    "ld.local.u32 %r2, [%rd3]; st.param.b32 [result], %r2; ret; }\n";

TEST(PtxFlow, FunctionsWithParametersAndResults) {
  std::string body =
      ".reg .b32 %r<20>; .reg .b64 %rd<6>; .reg .pred %p;\n"
      "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 16; add.u64 %rd1, %rd1, %rd2;\n"
      "{ .param .b32 a0; st.param.b32 [a0], %r1; .param .b32 r0; call.uni (r0), square, (a0); ld.param.b32 %r2, [r0]; "
      "}\n"
      "{ .param .align 8 .b8 a0[8]; st.param.v2.b32 [a0], {%r1, %r2}; .param .b32 a1; st.param.b32 [a1], 20;\n"
      "  .param .align 8 .b8 r0[8]; call (r0), both, (a0, a1); ld.param.v2.b32 {%r3, %r4}, [r0]; }\n"
      "call (%r5), in_registers, (%r4, 7);\n"
      "{ .param .align 4 .b8 a0[16]; st.param.b32 [a0], 100; st.param.b32 [a0+4], %r1; st.param.b32 [a0+8], 300;\n"
      "  st.param.b32 [a0+12], 400; .param .b32 a1; and.b32 %r6, %r1, 3; st.param.b32 [a1], %r6; .param .b32 r0;\n"
      "  call (r0), through_memory, (a0, a1); ld.param.b32 %r7, [r0]; }\n"
      "st.global.v4.u32 [%rd1], {%r3, %r4, %r5, %r7};\n";
  Module module(kernel(body, 1, functions));
  ASSERT_STREQ(module.error.reason, "") << module.error.line;
  for (const ptx::Executor &executor : executors()) {
    Memory out(64 * 16);
    Shape shape;
    shape.block[0] = 64;
    ASSERT_EQ(launch(executor, module.function("k"), shape, {out.address()}), "") << executor.name;
    for (u32 t = 0; t < 64; t++) {
      const u32 *row = out.as<u32>() + 4 * t;
      bool big = t > 20;
      u32 table[] = {100, t, 300, 400};
      EXPECT_EQ(row[0], big ? t * t : t * t) << t;
      EXPECT_EQ(row[1], big ? t * t : t) << t;
      EXPECT_EQ(row[2], row[1] - 7) << t;
      EXPECT_EQ(row[3], table[t & 3]) << t;
    }
  }
}

/* ---- between lanes ---- */

TEST(PtxWarp, ShufflesFollowTheManual) {
  std::vector<Input> list = random_inputs(96 * 4, 4);
  for (const char *mode : {"up", "down", "bfly", "idx"}) {
    auto source = [&, m = mode[0]](size_t i, bool *inside) {
      int lane = static_cast<int>(i % 32), b = static_cast<int>(list[i].b & 31), c = static_cast<int>(list[i].c & 31);
      int segment = static_cast<int>(list[i].c >> 8 & 31), top = (lane & segment) | (c & ~segment),
          low = lane & segment;
      int j = m == 'u' ? lane - b : m == 'd' ? lane + b : m == 'b' ? lane ^ b : low | (b & ~segment);
      *inside = m == 'u' ? j >= top : j <= top;
      return i - static_cast<size_t>(lane) + static_cast<size_t>(*inside ? j : lane);
    };
    std::string text = std::string("shfl.sync.") + mode + ".b32 %r0|%p, %a, %b, %c, -1; selp.u32 %r1, 1, 0, %p; ";
    check_lanes(text + "mov.u32 %d, %r0;", list, [&](size_t i) {
      bool inside;
      return static_cast<u32>(list[source(i, &inside)].a);
    });
    check_lanes(text + "mov.u32 %d, %r1;", list, [&](size_t i) {
      bool inside;
      source(i, &inside);
      return static_cast<u32>(inside);
    });
  }
}

TEST(PtxWarp, VotesMatchesAndReductions) {
  std::vector<Input> list = random_inputs(96 * 2, 5);
  for (size_t i = 0; i < list.size(); i++) {
    list[i].a &= 3;
    if (i / 32 == 1) list[i].a = 3;
    if (i / 32 == 2) list[i].a = 0;
  }
  auto warp_mask = [&](size_t i, auto test) {
    u32 mask = 0;
    for (size_t l = 0; l < 32; l++)
      if (test(list[i / 32 * 32 + l])) mask |= 1u << l;
    return mask;
  };
  auto odd = [](const Input &x) { return (x.a & 1) != 0; };
  std::string p = "and.b32 %r0, %a, 1; setp.ne.u32 %p, %r0, 0; ";
  check_lanes(p + "vote.sync.ballot.b32 %d, %p, -1;", list, [&](size_t i) { return warp_mask(i, odd); });
  check_lanes(p + "vote.sync.ballot.b32 %d, !%p, -1;", list, [&](size_t i) { return ~warp_mask(i, odd); });
  check_lanes(p + "vote.sync.all.pred %q, %p, -1; selp.u32 %d, 1, 0, %q;", list,
              [&](size_t i) { return warp_mask(i, odd) == 0xffffffff; });
  check_lanes(p + "vote.sync.any.pred %q, %p, -1; selp.u32 %d, 1, 0, %q;", list,
              [&](size_t i) { return warp_mask(i, odd) != 0; });
  check_lanes(p + "vote.sync.uni.pred %q, %p, -1; selp.u32 %d, 1, 0, %q;", list,
              [&](size_t i) { return warp_mask(i, odd) == 0xffffffff || warp_mask(i, odd) == 0; });
  /* Each half of the warp by itself. */
  check_lanes(p + "mov.u32 %r1, %laneid; setp.lt.u32 %q, %r1, 16; selp.b32 %r2, 0xffff, 0xffff0000, %q; "
                  "@%q vote.sync.ballot.b32 %d, %p, %r2; @!%q vote.sync.ballot.b32 %d, %p, %r2;",
              list, [&](size_t i) { return warp_mask(i, odd) & (i % 32 < 16 ? 0xffffu : 0xffff0000u); });
  check_lanes("match.any.sync.b32 %d, %a, -1;", list,
              [&](size_t i) { return warp_mask(i, [&](const Input &x) { return x.a == list[i].a; }); });
  check_lanes("match.all.sync.b32 %d|%p, %a, -1; @%p add.u32 %d, %d, 2;", list, [&](size_t i) {
    bool all = warp_mask(i, [&](const Input &x) { return x.a == list[i].a; }) == 0xffffffff;
    return all ? 1u : 0u; /* 0xffffffff + 2 */
  });
  for (const char *name :
       {"add.u32", "add.s32", "min.u32", "max.u32", "min.s32", "max.s32", "and.b32", "or.b32", "xor.b32"}) {
    std::string op = std::string(name, 3), type = std::string(name).substr(std::string(name).find('.') + 1);
    check_lanes("redux.sync." + std::string(name) + " %d, %b, -1;", list, [&](size_t i) {
      u32 r = static_cast<u32>(list[i / 32 * 32].b);
      for (size_t l = 1; l < 32; l++) {
        u32 v = static_cast<u32>(list[i / 32 * 32 + l].b);
        bool below = type == "s32" ? static_cast<int>(v) < static_cast<int>(r) : v < r;
        r = op == "add"   ? r + v
            : op == "min" ? (below ? v : r)
            : op == "max" ? (below ? r : v)
            : op == "and" ? (r & v)
            : op == "xor" ? (r ^ v)
                          : (r | v);
      }
      return r;
    });
  }
}

TEST(PtxWarp, AShuffleWithoutOneOfItsLanesIsAFault) {
  Module module(kernel(
      ".reg .b32 %r<4>; .reg .pred %p; mov.u32 %r1, %laneid; setp.lt.u32 %p, %r1, 7; @%p bra SOME; bra.uni END;\n"
      "SOME: shfl.sync.idx.b32 %r2, %r1, 0, 31, 0xff;\nEND:"));
  ASSERT_STREQ(module.error.reason, "");
  for (const ptx::Executor &executor : executors()) {
    std::string fault = launch(executor, module.function("k"), Shape(), {0});
    EXPECT_NE(fault.find("PTX line 7"), std::string::npos) << executor.name << ": " << fault;
  }
}

TEST(PtxFlow, SpecialRegistersOfThreeDimensionalBlocks) {
  std::string body = ".reg .b32 %r<24>; .reg .b64 %rd<6>;\n ld.param.u64 %rd1, [p0];\n";
  const char *names[] = {"%tid.x",  "%tid.y",  "%tid.z",       "%ctaid.x",    "%ctaid.y",  "%ctaid.z",
                         "%ntid.x", "%ntid.y", "%ntid.z",      "%nctaid.x",   "%nctaid.y", "%nctaid.z",
                         "%laneid", "%warpid", "%lanemask_lt", "%lanemask_ge"};
  for (int i = 0; i < 16; i++) body += "mov.u32 %r" + std::to_string(i) + ", " + names[i] + ";\n";
  body += /* the block's number, then the thread's, in order */
      "mad.lo.u32 %r16, %r5, %r10, %r4; mad.lo.u32 %r16, %r16, %r9, %r3;\n"
      "mad.lo.u32 %r17, %r2, %r7, %r1; mad.lo.u32 %r17, %r17, %r6, %r0;\n"
      "mul.lo.u32 %r18, %r6, %r7; mul.lo.u32 %r18, %r18, %r8; mad.lo.u32 %r16, %r16, %r18, %r17;\n"
      "mul.wide.u32 %rd2, %r16, 64; add.u64 %rd1, %rd1, %rd2;\n";
  for (int i = 0; i < 16; i += 4)
    body += "st.global.v4.b32 [%rd1+" + std::to_string(4 * i) + "], {%r" + std::to_string(i) + ", %r" +
            std::to_string(i + 1) + ", %r" + std::to_string(i + 2) + ", %r" + std::to_string(i + 3) + "};\n";
  Module module(kernel(body));
  ASSERT_STREQ(module.error.reason, "") << module.error.line;
  Shape shape{{2, 3, 2}, {5, 3, 4}, 0};
  for (const ptx::Executor &executor : executors()) {
    Memory out(12 * 60 * 64);
    ASSERT_EQ(launch(executor, module.function("k"), shape, {out.address()}), "") << executor.name;
    const u32 *row = out.as<u32>();
    for (u32 block = 0; block < 12; block++)
      for (u32 t = 0; t < 60; t++, row += 16) {
        u32 lane = t % 32;
        u32 expected[] = {t % 5, t / 5 % 3, t / 15, block % 2, block / 2 % 3,    block / 6,          5, 3, 4, 2,
                          3,     2,         lane,   t / 32,    (1u << lane) - 1, ~((1u << lane) - 1)};
        for (int i = 0; i < 16; i++)
          ASSERT_EQ(row[i], expected[i]) << executor.name << " " << names[i] << " thread " << t;
      }
  }
}

/* ---- barriers ---- */

std::string with_shared(const std::string &body) {
  return kernel(
      ".shared .align 4 .b8 words[4096];\n.reg .b32 %r<16>; .reg .b64 %rd<6>; .reg .pred %p, %q;\n"
      "ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mov.u32 %r2, words; mov.u32 %r3, %ntid.x;\n"
      "shl.b32 %r4, %r1, 2; add.u32 %r5, %r2, %r4; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd2, %rd1, %rd2;\n" +
      body);
}

void run_block(const std::string &text, unsigned threads, const std::function<u32(u32)> &expected) {
  Module module(text);
  ASSERT_STREQ(module.error.reason, "") << module.error.line;
  for (const ptx::Executor &executor : executors()) {
    Memory out(4096);
    Shape shape;
    shape.block[0] = threads;
    std::string fault = launch(executor, module.function("k"), shape, {out.address()});
    if (executor.name == "translator" && fault.rfind("not prepared", 0) == 0) continue;
    ASSERT_EQ(fault, "") << executor.name;
    for (u32 t = 0; t < threads; t++) ASSERT_EQ(out.as<u32>()[t], expected(t)) << executor.name << " thread " << t;
  }
}

TEST(PtxBarrier, SharedMemoryIsSeenAfterABarrier) {
  run_block(with_shared("mul.lo.u32 %r6, %r1, 3; st.shared.u32 [%r5], %r6; bar.sync 0;\n"
                        "sub.u32 %r7, %r3, %r1; sub.u32 %r7, %r7, 1; shl.b32 %r7, %r7, 2; add.u32 %r7, %r7, %r2;\n"
                        "ld.shared.u32 %r8, [%r7]; st.global.u32 [%rd2], %r8;"),
            200, [](u32 t) { return 3 * (199 - t); });
}

TEST(PtxBarrier, ReductionsOverTheBlock) {
  std::string p = "rem.u32 %r6, %r1, 3; setp.eq.u32 %p, %r6, 0; ";
  run_block(with_shared(p + "bar.red.popc.u32 %r7, 0, %p; st.global.u32 [%rd2], %r7;"), 100, [](u32) { return 34; });
  run_block(with_shared(p + "bar.red.and.pred %q, 1, %p; selp.u32 %r7, 1, 0, %q; st.global.u32 [%rd2], %r7;"), 100,
            [](u32) { return 0; });
  run_block(with_shared(p + "bar.red.or.pred %q, 1, !%p; selp.u32 %r7, 1, 0, %q; st.global.u32 [%rd2], %r7;"), 100,
            [](u32) { return 1; });
}

TEST(PtxBarrier, WarpsThatEndedAreNotWaitedFor) {
  run_block(
      with_shared("setp.ge.u32 %p, %r1, 64; mov.u32 %r6, 5; st.global.u32 [%rd2], %r6; @%p exit;\n"
                  "st.shared.u32 [%r5], %r1; bar.sync 0; ld.shared.u32 %r7, [words+252]; st.global.u32 [%rd2], %r7;"),
      128, [](u32 t) { return t < 64 ? 63 : 5; });
}

TEST(PtxBarrier, NamedBarriersPairProducersWithConsumers) {
  /* Warp 0 fills and arrives; warps 1 and 2 sync on barrier 3 with 96 threads; warp 3 stays away. */
  run_block(with_shared(
                "shr.u32 %r6, %r1, 5; setp.eq.u32 %p, %r6, 0; @%p bra PRODUCER; setp.eq.u32 %q, %r6, 3; @%q bra AWAY;\n"
                "barrier.sync 3, 96; and.b32 %r7, %r1, 31; shl.b32 %r7, %r7, 2; add.u32 %r7, %r7, %r2;\n"
                "ld.shared.u32 %r8, [%r7]; st.global.u32 [%rd2], %r8; bra END;\n"
                "PRODUCER: add.u32 %r8, %r1, 1000; st.shared.u32 [%r5], %r8; membar.cta; barrier.arrive 3, 96;\n"
                "AWAY: st.global.u32 [%rd2], %r1;\nEND:"),
            128, [](u32 t) { return t < 32 || t >= 96 ? t : 1000 + t % 32; });
}

TEST(PtxBarrier, DivergentAndUnmatchedBarriersAreFaults) {
  struct Case {
    const char *body, *part;
  } cases[] = {{"and.b32 %r6, %r1, 1; setp.eq.u32 %p, %r6, 0; @%p bar.sync 0;", "barrier in divergent code"},
               {"setp.lt.u32 %p, %r1, 32; @%p bra A; bar.sync 1; bra END; A: bar.sync 2, 64; END:", "deadlock"}};
  for (const Case &one : cases) {
    Module module(with_shared(one.body));
    ASSERT_STREQ(module.error.reason, "") << module.error.line;
    for (const ptx::Executor &executor : executors()) {
      Memory out(4096);
      Shape shape;
      shape.block[0] = 64;
      std::string fault = launch(executor, module.function("k"), shape, {out.address()});
      if (executor.name == "translator")
        EXPECT_NE(fault, "") << one.body;
      else
        EXPECT_NE(fault.find(one.part), std::string::npos) << executor.name << ": " << fault;
    }
  }
}

TEST(PtxFlow, ATrapEndsTheLaunchAndNamesTheThread) {
  Module module(kernel(".reg .b32 %r<4>; .reg .pred %p; mov.u32 %r1, %tid.x; setp.eq.u32 %p, %r1, 41;\n@%p trap;\n"));
  Shape shape;
  shape.block[0] = 64;
  for (const ptx::Executor &executor : executors()) {
    std::string fault = launch(executor, module.function("k"), shape, {0});
    EXPECT_NE(fault.find("thread (41, 0, 0)"), std::string::npos) << executor.name << ": " << fault;
    EXPECT_NE(fault.find("PTX line 7"), std::string::npos) << executor.name << ": " << fault;
  }
}

}  // namespace
