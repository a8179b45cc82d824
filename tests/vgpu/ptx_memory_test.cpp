/* Loads, stores and atomics in every state space and width, initial values of variables, and the faults of bad
 * addresses. */
#include <algorithm>
#include <cstring>

#include "tests/vgpu/ptx_support.h"

using ptx::check;
using ptx::executors;
using ptx::Input;
using ptx::kernel;
using ptx::launch;
using ptx::Memory;
using ptx::Module;
using ptx::Shape;
using ptx::Values;

namespace {

using u8 = uint8_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s64 = int64_t;

/* Runs one block of kernel k(p0) with an output of 4096 zeroed bytes at p0 and hands it to `look`. */
void run(const std::string &text, unsigned threads,
         const std::function<void(const Memory &, const std::string &)> &look, unsigned dynamic_shared = 0) {
  Module module(text);
  ASSERT_STREQ(module.error.reason, "") << "line " << module.error.line;
  for (const ptx::Executor &executor : executors()) {
    Memory out(4096);
    std::memset(out.as<void>(), 0, 4096);
    Shape shape;
    shape.block[0] = threads;
    shape.dynamic_shared = dynamic_shared;
    ASSERT_EQ(launch(executor, module.function("k"), shape, {out.address()}), "") << executor.name;
    look(out, executor.name);
  }
}

const char *const prologue =
    ".reg .b16 %h<8>; .reg .b32 %r<24>; .reg .b64 %rd<24>; .reg .pred %p;\n"
    "ld.param.u64 %rd0, [p0]; mov.u32 %r0, %tid.x; mul.wide.u32 %rd1, %r0, 8; add.u64 %rd2, %rd0, %rd1;\n";

TEST(PtxMemory, NarrowValuesExtendIntoTheRegister) {
  struct Case {
    const char *type;
    int width;
    bool is_signed;
  } cases[] = {{"u8", 8, false},  {"s8", 8, true},    {"b8", 8, false}, {"u16", 16, false},
               {"s16", 16, true}, {"u32", 32, false}, {"s32", 32, true}};
  for (const Case &one : cases)
    for (int width : {16, 32, 64}) {
      if (width < one.width) continue;
      std::string t = std::string(".") + one.type;
      /* Through each thread's local memory, at an address that varies from lane to lane. */
      std::string body =
          "{ .local .align 8 .b8 place[64]; mov.b64 %l1, place; and.b32 %r1, %b, 7; mul.wide.u32 %l2, %r1, 8;\n"
          "add.u64 %l1, %l1, %l2; st.local.b64 [%l1], %a; ld.local" +
          t + " %d, [%l1]; }";
      check(body, width, {64, 32}, Values::integers, [=](const Input &x) {
        unsigned spare = static_cast<unsigned>(64 - one.width);
        return one.is_signed ? static_cast<u64>(static_cast<s64>(x.a << spare) >> spare) : x.a << spare >> spare;
      });
    }
}

TEST(PtxMemory, StoresTruncateWiderRegisters) {
  for (const char *type : {"b8", "u16", "s32"}) {
    int width = type[1] == '8' ? 8 : type[1] == '1' ? 16 : 32;
    std::string t = std::string(".") + type;
    check("{ .local .align 8 .b8 place[8]; st.local.b64 [place], %b; st.local" + t +
              " [place], %a; ld.local.b64 %d, [place]; }",
          64, {64, 64}, Values::integers, [=](const Input &x) {
            u64 mask = (UINT64_C(1) << width) - 1;
            return (x.b & ~mask) | (x.a & mask);
          });
  }
}

TEST(PtxMemory, VectorsOfEveryShapeAtUniformContiguousAndScatteredAddresses) {
  struct Case {
    const char *type, *vector, *registers;
    int count, bytes;
  } cases[] = {{"b32", ".v2", "%r1, %r2", 2, 4},
               {"b32", ".v4", "%r1, %r2, %r3, %r4", 4, 4},
               {"b64", ".v2", "%rd10, %rd11", 2, 8},
               {"b16", ".v2", "%h1, %h2", 2, 2},
               {"b16", ".v4", "%h1, %h2, %h3, %h4", 4, 2},
               {"b8", ".v4", "%h1, %h2, %h3, %h4", 4, 1},
               {"b32", "", "%r1", 1, 4},
               {"b64", "", "%rd10", 1, 8},
               {"f32", ".v2", "%r1, %r2", 2, 4},
               {"u8", "", "%r1", 1, 1}};
  for (const Case &one : cases)
    for (const char *space : {"global", "shared"})
      for (int pattern = 0; pattern < 3; pattern++) {
        int size = one.count * one.bytes;
        std::string registers = one.count > 1 ? std::string("{") + one.registers + "}" : one.registers;
        std::string access = std::string(one.vector) + "." + one.type;
        /* The element that a thread reads: the first, its own, or 5 times its number modulo 32. */
        std::string index = pattern == 0   ? "mov.u32 %r6, 0;\n"
                            : pattern == 1 ? "mov.u32 %r6, %r0;\n"
                                           : "mul.lo.u32 %r6, %r0, 5; and.b32 %r6, %r6, 31;\n";
        std::string body = std::string(".shared .align 16 .b8 buffer[1024];\n") + prologue + index +
                           "mul.lo.u32 %r6, %r6, " + std::to_string(size) +
                           "; cvt.u64.u32 %rd4, %r6; mul.lo.u32 %r7, %r0, " + std::to_string(size) +
                           "; cvt.u64.u32 %rd5, %r7; add.u64 %rd6, %rd0, %rd5;\n";
        if (std::string(space) == "shared") /* copied to shared memory first */
          body +=
              "add.u64 %rd7, %rd0, %rd1; ld.global.b64 %rd8, [%rd7]; mov.u32 %r8, buffer; shl.b32 %r9, %r0, 3;\n"
              "add.u32 %r9, %r8, %r9; st.shared.b64 [%r9], %rd8; ld.global.b64 %rd8, [%rd7+256]; st.shared.b64 "
              "[%r9+256], %rd8;\n"
              "bar.sync 0; add.u32 %r10, %r8, %r6; ld.shared" +
              access + " " + registers + ", [%r10];\n";
        else
          body += "add.u64 %rd7, %rd0, %rd4; ld.global" + access + " " + registers + ", [%rd7];\n";
        body += "st.global" + access + " [%rd6+1024], " + registers + ";\n";
        Module module(kernel(body));
        ASSERT_STREQ(module.error.reason, "") << "line " << module.error.line;
        for (const ptx::Executor &executor : executors()) {
          Memory out(4096);
          for (int i = 0; i < 1024; i++) out.as<u8>()[i] = static_cast<u8>(i * 7 + i / 256);
          Shape shape;
          ASSERT_EQ(launch(executor, module.function("k"), shape, {out.address()}), "") << executor.name << body;
          for (int t = 0; t < 32; t++) {
            int from = (pattern == 0 ? 0 : pattern == 1 ? t : 5 * t % 32) * size;
            ASSERT_EQ(std::memcmp(out.as<u8>() + 1024 + t * size, out.as<u8>() + from, static_cast<size_t>(size)), 0)
                << executor.name << " thread " << t << access << " " << space << " pattern " << pattern;
          }
        }
      }
}

TEST(PtxMemory, VariablesHaveTheirInitialValues) {
  std::string variables =
      ".const .align 4 .b8 table[16] = {0, 0, 128, 63, 0, 0, 0, 64};\n"
      ".global .align 4 .u32 counter = 5;\n"
      ".global .align 8 .f64 grid[2][2] = {{1.5, -2.5}, {0d4008000000000000, 4}};\n"
      ".global .align 8 .u64 pointers[2] = {counter, generic(counter)+4};\n"
      ".global .align 2 .s16 negative = -3;\n";
  std::string body =
      std::string(prologue) +
      "ld.const.u32 %r1, [table+4]; ld.global.u32 %r2, [counter]; ld.global.u64 %rd3, [grid+8];\n"
      "ld.global.u64 %rd4, [pointers]; ld.global.u64 %rd5, [pointers+8]; sub.u64 %rd6, %rd5, %rd4;\n"
      "ld.global.u32 %r3, [%rd4]; ld.global.s16 %r4, [negative]; mov.u64 %rd7, table; ld.const.u32 %r5, [%rd7];\n"
      "ld.const.u32 %r6, [table+12]; cvt.u64.u32 %rd8, %r1; cvt.u64.u32 %rd9, %r2; cvt.u64.u32 %rd10, %r3;\n"
      "cvt.s64.s32 %rd11, %r4; cvt.u64.u32 %rd12, %r5; cvt.u64.u32 %rd13, %r6;\n"
      "st.global.v2.u64 [%rd0], {%rd8, %rd9}; st.global.v2.u64 [%rd0+16], {%rd3, %rd6};\n"
      "st.global.v2.u64 [%rd0+32], {%rd10, %rd11}; st.global.v2.u64 [%rd0+48], {%rd12, %rd13};\n";
  run(kernel(body, 1, variables), 1, [](const Memory &out, const std::string &name) {
    u64 expected[] = {ptx::bits(2.0f), 5, ptx::bits(-2.5), 4, 5, static_cast<u64>(-3), ptx::bits(1.0f), 0};
    for (int i = 0; i < 8; i++) EXPECT_EQ(out.as<u64>()[i], expected[i]) << name << " " << i;
  });
}

TEST(PtxMemory, ValuesMayFollowManyAddressesInAnInitialiser) {
  std::string variables = ".global .align 8 .u64 base = 3;\n.global .align 8 .u64 list[42] = {";
  for (int i = 0; i < 40; i++) variables += "base, ";
  variables += "77, 78};\n";
  run(kernel(std::string(prologue) +
                 "ld.global.u64 %rd3, [list+328]; ld.global.u64 %rd4, [list+312]; ld.global.u64 %rd5, [%rd4];\n"
                 "st.global.v2.u64 [%rd0], {%rd3, %rd5};\n",
             1, variables),
      1, [](const Memory &out, const std::string &name) {
        EXPECT_EQ(out.as<u64>()[0], 78u) << name;
        EXPECT_EQ(out.as<u64>()[1], 3u) << name;
      });
}

TEST(PtxMemory, GenericAddressesReachEverySpace) {
  std::string body =
      std::string(".shared .align 8 .b8 s[256]; .local .align 8 .b8 mine[16];\n") + prologue +
      "mov.u64 %rd3, s; cvta.shared.u64 %rd4, %rd3; add.u64 %rd5, %rd4, %rd1;\n"
      "mov.u64 %rd6, mine; cvta.local.u64 %rd7, %rd6;\n"
      "cvt.u64.u32 %rd8, %r0; st.u64 [%rd5], %rd8; add.u64 %rd9, %rd8, 100; st.u64 [%rd7+8], %rd9;\n"
      "cvta.to.shared.u64 %rd10, %rd5; ld.shared.u64 %rd11, [%rd10]; ld.local.u64 %rd12, [mine+8];\n"
      "cvta.to.local.u64 %rd13, %rd7; ld.local.u64 %rd14, [%rd13+8]; add.u64 %rd15, %rd11, %rd12;\n"
      "add.u64 %rd15, %rd15, %rd14; cvta.to.global.u64 %rd16, %rd2; st.u64 [%rd16], %rd15;\n"
      "isspacep.shared %p, %rd5; selp.u32 %r1, 1, 0, %p; isspacep.local %p, %rd7; selp.u32 %r2, 2, 0, %p;\n"
      "isspacep.global %p, %rd2; selp.u32 %r3, 4, 0, %p; isspacep.shared %p, %rd7; selp.u32 %r4, 8, 0, %p;\n"
      "or.b32 %r1, %r1, %r2; or.b32 %r3, %r3, %r4; or.b32 %r1, %r1, %r3; st.global.u32 [%rd2+512], %r1;\n";
  run(kernel(body), 32, [](const Memory &out, const std::string &name) {
    for (u64 t = 0; t < 32; t++) {
      EXPECT_EQ(out.as<u64>()[t], 3 * t + 200) << name;
      EXPECT_EQ(out.as<u32>()[2 * t + 128], 7u) << name;
    }
  });
}

TEST(PtxMemory, DynamicSharedMemoryFollowsTheStatic) {
  std::string body =
      std::string(".shared .align 4 .b8 fixed[20];\n") + prologue +
      "mov.u32 %r1, fixed; mov.u32 %r2, dynamic; sub.u32 %r3, %r2, %r1; mov.u32 %r4, %dynamic_smem_size;\n"
      "add.u32 %r5, %r2, 396; st.shared.u32 [%r5], %r0; ld.shared.u32 %r6, [dynamic+396];\n"
      "st.global.v2.u32 [%rd0], {%r3, %r4};\n";
  run(
      kernel(body, 1, ".extern .shared .align 16 .b8 dynamic[];\n"), 1,
      [](const Memory &out, const std::string &name) {
        EXPECT_EQ(out.as<u32>()[0], 32u) << name;
        EXPECT_EQ(out.as<u32>()[1], 400u) << name;
      },
      400);
}

TEST(PtxMemory, ParametersByValueAtAnyOffset) {
  std::string text =
      ".version 8.0\n.target sm_86\n.address_size 64\n.visible .entry k(.param .align 8 .b8 p0[40], .param .u8 "
      "last)\n{\n"
      ".reg .b16 %h<4>; .reg .b32 %r<8>; .reg .b64 %rd<4>;\n"
      "ld.param.u64 %rd0, [p0]; ld.param.v2.u32 {%r1, %r2}, [p0+8]; ld.param.s8 %r3, [p0+17]; ld.param.u8 %r4, "
      "[last];\n"
      "mov.b64 %rd1, p0; ld.param.u32 %r5, [%rd1+36];\n"
      "st.global.v4.u32 [%rd0], {%r1, %r2, %r3, %r4}; st.global.u32 [%rd0+16], %r5; ret;\n}\n";
  Module module(text);
  ASSERT_STREQ(module.error.reason, "") << "line " << module.error.line;
  EXPECT_EQ(module.function("k")->parameter_bytes, 41u);
  for (const ptx::Executor &executor : executors()) {
    Memory out(64);
    ASSERT_EQ(launch(executor, module.function("k"), Shape(),
                     {out.address(), UINT64_C(0x0000000700000006), 0xf00, UINT64_C(0), UINT64_C(0x900000000), 200}),
              "");
    u32 expected[] = {6, 7, 15, 200, 9};
    for (int i = 0; i < 5; i++) EXPECT_EQ(out.as<u32>()[i], expected[i]) << executor.name << " " << i;
  }
}

/* ---- atomics ---- */

TEST(PtxMemory, AtomicsApplyEveryLanesOperand) {
  /* 96 threads on one word: results that do not depend on the order. */
  struct Case {
    const char *text;
    u32 initial, expected;
  } cases[] = {{"add.u32", 7, 7 + 95 * 96 / 2},
               {"max.u32", 50, 95},
               {"min.u32", 50, 0},
               {"max.s32", 0xfffffff0, 95},
               {"min.s32", 0xfffffff0, 0xfffffff0},
               {"or.b32", 0x100, 0x17f},
               {"and.b32", 0xff, 0},
               {"xor.b32", 3, 3},
               {"inc.u32", 0, 96},
               {"dec.u32", 96, 0},
               {"exch.b32", 1, 95}};
  for (const Case &one : cases)
    for (const char *space : {"global", "shared", ""})
      for (const char *op : {"atom", "red"}) {
        std::string name = one.text;
        if (std::string(op) == "red" && name[0] == 'e') continue;
        if (std::string(space) == "shared" && name.substr(0, 4) == "exch") continue; /* the same handler */
        std::string operand = name.substr(0, 3) == "inc" || name.substr(0, 3) == "dec" ? "1000" : "%r0";
        std::string dot = *space ? std::string(".") + space : "";
        std::string place = std::string(space) == "shared" ? "[word]" : "[%rd0]";
        std::string body = std::string(".shared .align 4 .u32 word;\n") + prologue +
                           "setp.eq.u32 %p, %r0, 0; @%p mov.u32 %r1, " + std::to_string(one.initial) +
                           "; @%p st.shared.u32 [word], %r1; @%p st.global.u32 [%rd0], %r1; bar.sync 0;\n" + op + dot +
                           "." + name + (std::string(op) == "atom" ? " %r2, " : " ") + place + ", " + operand +
                           "; bar.sync 0; ld.shared.u32 %r3, [word]; st.global.u32 [%rd0+8], %r3;\n";
        run(kernel(body), 96, [&](const Memory &out, const std::string &executor) {
          EXPECT_EQ(out.as<u32>()[std::string(space) == "shared" ? 2 : 0], one.expected)
              << executor << " " << op << dot << "." << one.text;
        });
      }
}

TEST(PtxMemory, AtomicsReturnTheOldValueAndCompare) {
  /* Every thread takes a ticket: the old values are a permutation. */
  run(kernel(std::string(prologue) +
             "atom.global.add.u32 %r1, [%rd0], 1; mul.wide.u32 %rd3, %r1, 4; add.u64 %rd3, %rd0, %rd3;\n"
             "mov.u32 %r2, 1; atom.global.exch.b32 %r3, [%rd3+16], %r2;\n"),
      96, [](const Memory &out, const std::string &name) {
        EXPECT_EQ(out.as<u32>()[0], 96u);
        for (int i = 0; i < 96; i++) EXPECT_EQ(out.as<u32>()[4 + i], 1u) << name;
      });
  /* Additions of doubles and floats by compare-and-swap and by their own instruction. */
  run(kernel(std::string(prologue) +
             "mov.u64 %rd5, 0;\nAGAIN: cvt.rn.f64.u32 %rd6, %r0; add.rn.f64 %rd7, %rd5, %rd6; mov.u64 %rd8, %rd5;\n"
             "atom.global.cas.b64 %rd5, [%rd0], %rd8, %rd7; setp.ne.u64 %p, %rd5, %rd8; @%p bra AGAIN;\n"
             "atom.global.add.f64 %rd9, [%rd0+8], %rd6; cvt.rn.f32.u32 %r5, %r0; red.global.add.f32 [%rd0+16], %r5;\n"
             "atom.relaxed.gpu.global.add.u64 %rd10, [%rd0+24], 3; mov.u64 %rd11, 5; red.release.gpu.global.max.u64 "
             "[%rd0+32], %rd11;\n"),
      96, [](const Memory &out, const std::string &name) {
        EXPECT_EQ(out.as<double>()[0], 95 * 96 / 2) << name;
        EXPECT_EQ(out.as<double>()[1], 95 * 96 / 2) << name;
        EXPECT_EQ(out.as<float>()[4], 95 * 96 / 2) << name;
        EXPECT_EQ(out.as<u64>()[3], 3u * 96) << name;
        EXPECT_EQ(out.as<u64>()[4], 5u) << name;
      });
  run(kernel(std::string(prologue) + "cvt.u16.u32 %h1, %r0; mov.u16 %h2, 7; atom.global.cas.b16 %h3, [%rd0+2], 0, 7;\n"
                                     "atom.global.cas.b16 %h3, [%rd0+2], 7, 9;\n"),
      1, [](const Memory &out, const std::string &name) { EXPECT_EQ(out.as<u32>()[0], 9u << 16) << name; });
}

/* ---- faults ---- */

TEST(PtxMemory, BadAddressesEndTheLaunchWithThreadAndLine) {
  struct Case {
    const char *body, *thread;
  } cases[] = {{"ld.global.u32 %r1, [%rd2+3840];", "thread (32, 0, 0)"}, /* 32 * 8 + 3840 = 4096 */
               {"ld.global.u32 %r1, [%rd2+-8];", "thread (0, 0, 0)"},
               {"st.global.u64 [%rd2+4], %rd0;", "thread (0, 0, 0)"}, /* misaligned */
               {"ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd2];", "thread (1, 0, 0)"},
               {"cvt.u64.u32 %rd3, %r0; add.u64 %rd3, %rd0, %rd3; ld.global.u16 %r1, [%rd3];", "thread (1, 0, 0)"},
               {"mul.lo.u32 %r1, %r0, 6; st.shared.u32 [%r1], %r0;", "thread (1, 0, 0)"},
               {"ld.u32 %r1, [%rd1];", "thread (0, 0, 0)"}, /* null */
               {"mov.u64 %rd3, -8; atom.global.add.u32 %r1, [%rd3], 1;", "thread (0, 0, 0)"},
               {"shl.b32 %r1, %r0, 2; st.shared.u32 [%r1], %r0;", "thread (16, 0, 0)"},
               {"mov.u32 %r1, -4; ld.shared.u32 %r2, [%r1];", "thread (0, 0, 0)"},
               {"setp.eq.u32 %p, %r0, 33; mov.u64 %rd3, 8; @%p add.u64 %rd3, %rd3, 8; ld.local.u64 %rd4, [%rd3];",
                "thread (33, 0, 0)"}};
  for (const Case &one : cases) {
    Module module(kernel(std::string(".shared .align 4 .b8 small[64]; .local .align 8 .b8 mine[16];\n") + prologue +
                         "mov.u32 %r20, small; mov.u64 %rd20, mine; " + one.body));
    ASSERT_STREQ(module.error.reason, "") << "line " << module.error.line << one.body;
    for (const ptx::Executor &executor : executors()) {
      Memory out(4096);
      Shape shape;
      shape.block[0] = 64;
      std::string fault = launch(executor, module.function("k"), shape, {out.address()});
      EXPECT_NE(fault.find("PTX line 9"), std::string::npos) << executor.name << " " << one.body << ": " << fault;
      EXPECT_NE(fault.find(one.thread), std::string::npos) << executor.name << " " << one.body << ": " << fault;
      EXPECT_NE(fault.find("kernel k"), std::string::npos) << executor.name << " " << one.body << ": " << fault;
    }
  }
}

TEST(PtxMemory, LanesThatAreNotActiveTouchNothing) {
  /* The others' addresses are null. */
  run(kernel(std::string(prologue) +
             "and.b32 %r1, %r0, 1; setp.eq.u32 %p, %r1, 0; selp.b64 %rd3, %rd2, 0, %p;\n"
             "@%p ld.global.u64 %rd4, [%rd3]; @%p add.u64 %rd4, %rd4, 9; @%p st.global.u64 [%rd3], %rd4;\n"),
      64, [](const Memory &out, const std::string &name) {
        for (int t = 0; t < 64; t++) EXPECT_EQ(out.as<u64>()[t], t % 2 ? 0u : 9u) << name;
      });
}

}  // namespace
