/* Calls through pointers, what the device runtime provides (printf, assert, malloc), copies that are not waited for at
 * once, barriers in memory, atomics of halves and vectors, and the packed integer instructions. */
#include <cmath>
#include <cstring>

#include "tests/vgpu/narrow_format.h"
#include "tests/vgpu/ptx_support.h"

using ptx::check;
using ptx::Executor;
using ptx::Input;
using ptx::kernel;
using ptx::Memory;
using ptx::Module;
using ptx::Shape;
using ptx::Values;

namespace {

using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

/* False: the translator leaves the kernel to the interpreter. */
bool run(const Executor &executor, const Module &module, const Shape &shape, const std::vector<u64> &params,
         std::string *fault) {
  *fault = ptx::launch(executor, module.function("k"), shape, params);
  return executor.name != "translator" || fault->rfind("not prepared", 0) != 0;
}

/* ---- calls through pointers ---- */

const char *const functions =
    ".func (.param .b32 r) triple(.param .b32 x) { .reg .b32 %a; ld.param.b32 %a, [x]; mul.lo.s32 %a, %a, 3; "
    "st.param.b32 "
    "[r], %a; ret; }\n"
    ".func (.param .b32 r) plus7(.param .b32 x) { .reg .b32 %a; ld.param.b32 %a, [x]; add.s32 %a, %a, 7; st.param.b32 "
    "[r], %a; ret; }\n"
    ".func (.param .b64 r) other(.param .b64 x) { .reg .b64 %a; ld.param.b64 %a, [x]; st.param.b64 [r], %a; ret; }\n"
    ".global .align 8 .u64 table[3] = {triple, plus7, other};\n";

std::string call_through_table(const std::string &index) {
  return ".reg .b32 %r<8>; .reg .b64 %x<8>;\nld.param.u64 %x0, [p0]; mov.u32 %r0, %tid.x; " + index +
         " mul.wide.u32 %x1, %r1, 8; mov.u64 %x2, table; add.u64 %x2, %x2, %x1; ld.global.u64 %x3, [%x2];\n"
         "{ .param .b32 a0; st.param.b32 [a0], %r0; .param .b32 v0;\n"
         "proto : .callprototype (.param .b32 _) _ (.param .b32 _);\n"
         "call (v0), %x3, (a0), proto; ld.param.b32 %r2, [v0]; }\n"
         "mul.wide.u32 %x4, %r0, 4; add.u64 %x0, %x0, %x4; st.global.u32 [%x0], %r2;";
}

TEST(PtxRuntime, CallsThroughPointersReachEachLanesFunction) {
  Module module(kernel(call_through_table("and.b32 %r1, %r0, 1;"), 1, functions));
  ASSERT_STREQ(module.error.reason, "");
  Memory out(256);
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    Shape shape;
    shape.block[0] = 64;
    if (!run(executor, module, shape, {out.address()}, &fault)) ADD_FAILURE() << fault;
    ASSERT_EQ(fault, "") << executor.name;
    for (u32 i = 0; i < 64; i++) EXPECT_EQ(out.as<u32>()[i], i % 2 ? i + 7 : i * 3) << executor.name;
  }
}

TEST(PtxRuntime, AnAddressOfAFunctionMayComeFromMov) {
  Module module(kernel(
      ".reg .b32 %r<4>; .reg .b64 %x<4>; .reg .pred %p;\nld.param.u64 %x0, [p0]; mov.u64 %x1, triple; mov.u64 %x2, "
      "plus7;\n"
      "mov.u32 %r0, %tid.x; setp.gt.u32 %p, %r0, 9; selp.b64 %x3, %x1, %x2, %p;\n"
      "{ .param .b32 a0; st.param.b32 [a0], 5; .param .b32 v0; call (v0), %x3, (a0), proto; ld.param.b32 %r1, [v0]; }\n"
      "mul.wide.u32 %x1, %r0, 4; add.u64 %x0, %x0, %x1; st.global.u32 [%x0], %r1;",
      1, functions));
  ASSERT_STREQ(module.error.reason, "");
  Memory out(128);
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    if (!run(executor, module, {}, {out.address()}, &fault)) ADD_FAILURE() << fault;
    ASSERT_EQ(fault, "") << executor.name;
    for (u32 i = 0; i < 32; i++) EXPECT_EQ(out.as<u32>()[i], i > 9 ? 15u : 12u) << executor.name;
  }
}

TEST(PtxRuntime, APointerToNoFunctionOfTheKindIsAFault) {
  Module module(kernel(call_through_table("mov.u32 %r1, 2;"), 1, functions));
  ASSERT_STREQ(module.error.reason, "");
  Memory out(256);
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    if (!run(executor, module, {}, {out.address()}, &fault)) ADD_FAILURE() << fault;
    EXPECT_NE(fault.find("names no function of this kind"), std::string::npos) << executor.name << ": " << fault;
  }
}

TEST(PtxRuntime, RecursionIsRefused) {
  const std::string text =
      kernel("{ .param .b32 a0; st.param.b32 [a0], 5; call f, (a0); }", 1,
             ".func f(.param .b32 x);\n.func f(.param .b32 x) { { .param .b32 a0; st.param.b32 [a0], 1; "
             "call f, (a0); } ret; }\n");
  EXPECT_NE(ptx::refusal(text).find("function 'f' is recursive"), std::string::npos) << ptx::refusal(text);
}

/* ---- printf, assert, malloc ---- */

std::string bytes_of(const std::string &text) {
  std::string list;
  for (char c : text) list += std::to_string(static_cast<unsigned char>(c)) + ", ";
  return list + "0";
}

std::string string_variable(const std::string &name, const std::string &text) {
  return ".global .align 1 .b8 " + name + "[" + std::to_string(text.size() + 1) + "] = {" + bytes_of(text) + "};\n";
}

const char *const declare_print = ".extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n";

std::string print_call(const std::string &format, const std::string &arguments) {
  return "{ .param .b64 a0, a1; .param .b32 v; st.param.b64 [a0], " + format + "; st.param.b64 [a1], " + arguments +
         ";\ncall.uni (v), vprintf, (a0, a1); ld.param.b32 %count, [v]; }\n";
}

TEST(PtxRuntime, PrintfWritesWhatTheHostsPrintfWrites) {
  const std::string format = "i %d %5u|%-8lld|%+.3f %e %g %c %s %x %#o %% %*d %.*f %5.1s|%hhd %a\n";
  char expected[400];
  std::snprintf(expected, sizeof expected, format.c_str(), -7, 42u, -5000000000LL, 2.0 / 3, 1e-7, 1e20, 'q', "word",
                255, 8, 6, 31, 2, 1.23456, "word", -3, 0.1);
  std::string text =
      ".local .align 8 .b8 args[144]; .reg .b64 %x<6>; .reg .b32 %r<3>, %count; .reg .pred %p;\n"
      "ld.param.u64 %x0, [p0]; mov.u64 %x1, args; cvta.local.u64 %x2, %x1; mov.u64 %x3, word; cvta.global.u64 %x3, "
      "%x3;\n"
      "mov.u64 %x4, format; cvta.global.u64 %x4, %x4;\n";
  int at = 0;
  auto put = [&](const char *type, const std::string &value, int size) {
    at = (at + size - 1) / size * size;
    text += std::string("st.local.") + type + " [args+" + std::to_string(at) + "], " + value + ";\n";
    at += size;
  };
  auto number = [](double x) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "0d%016llx", static_cast<unsigned long long>(ptx::bits(x)));
    return std::string(digits);
  };
  put("u32", "-7", 4), put("u32", "42", 4), put("u64", "-5000000000", 8), put("f64", number(2.0 / 3), 8);
  put("f64", number(1e-7), 8), put("f64", number(1e20), 8), put("u32", std::to_string('q'), 4), put("u64", "%x3", 8);
  put("u32", "255", 4), put("u32", "8", 4), put("u32", "6", 4), put("u32", "31", 4), put("u32", "2", 4),
      put("f64", number(1.23456), 8);
  put("u64", "%x3", 8), put("u32", "-3", 4), put("f64", number(0.1), 8);
  text += "mov.u32 %r0, %tid.x; setp.ne.u32 %p, %r0, 3; @%p bra END;\n" + print_call("%x4", "%x2") +
          "st.global.u32 [%x0], %count;\nEND:";
  Module module(kernel(text, 1, declare_print + string_variable("format", format) + string_variable("word", "word")));
  ASSERT_STREQ(module.error.reason, "") << text;
  Memory out(64);
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    testing::internal::CaptureStdout();
    const bool taken = run(executor, module, {}, {out.address()}, &fault);
    const std::string printed = testing::internal::GetCapturedStdout();
    EXPECT_TRUE(taken) << fault;
    EXPECT_EQ(fault, "") << executor.name;
    EXPECT_EQ(printed, expected) << executor.name;
    EXPECT_EQ(out.as<u32>()[0], 17u) << executor.name << ": how many arguments were used";
  }
}

TEST(PtxRuntime, PrintfOfAnAddressThatCannotBeReadIsAFault) {
  Module module(
      kernel(".reg .b64 %x<2>; .reg .b32 %count;\nmov.u64 %x0, 4096;\n" + print_call("%x0", "0"), 1, declare_print));
  ASSERT_STREQ(module.error.reason, "");
  Memory out(64);
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    EXPECT_TRUE(run(executor, module, {}, {out.address()}, &fault)) << fault;
    EXPECT_NE(fault.find("printf reads at 0x1000"), std::string::npos) << executor.name << ": " << fault;
  }
}

TEST(PtxRuntime, AFailedAssertionTellsWhereAndEndsTheLaunch) {
  const std::string text =
      ".reg .b64 %x<4>; .reg .b32 %r<2>; .reg .pred %p;\n"
      "mov.u32 %r0, %tid.x; setp.lt.u32 %p, %r0, 33; @%p bra FINE;\n"
      "mov.u64 %x0, what; cvta.global.u64 %x0, %x0; mov.u64 %x1, file; cvta.global.u64 %x1, %x1; mov.u64 %x2, name; "
      "cvta.global.u64 %x2, %x2;\n"
      "{ .param .b64 a0, a1, a3, a4; .param .b32 a2; st.param.b64 [a0], %x0; st.param.b64 [a1], %x1; st.param.b32 "
      "[a2], 77; "
      "st.param.b64 [a3], %x2; st.param.b64 [a4], 1; call.uni __assertfail, (a0, a1, a2, a3, a4); }\nFINE:";
  Module module(kernel(
      text, 1,
      ".extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);\n" +
          string_variable("what", "x < 33") + string_variable("file", "some.cu") +
          string_variable("name", "void f(int)")));
  ASSERT_STREQ(module.error.reason, "") << module.error.line;
  Memory out(64);
  Shape shape;
  shape.block[0] = 35;
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    testing::internal::CaptureStderr();
    const bool taken = run(executor, module, shape, {out.address()}, &fault);
    const std::string told = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(taken) << fault;
    EXPECT_EQ(told,
              "some.cu:77: void f(int): block: [0,0,0], thread: [33,0,0] Assertion `x < 33` failed.\n"
              "some.cu:77: void f(int): block: [0,0,0], thread: [34,0,0] Assertion `x < 33` failed.\n")
        << executor.name;
    EXPECT_NE(fault.find("thread (33, 0, 0): assertion 'x < 33' failed"), std::string::npos)
        << executor.name << ": " << fault;
  }
}

TEST(PtxRuntime, BreakpointsEndTheLaunch) {
  Module module(kernel("brkpt;"));
  ASSERT_STREQ(module.error.reason, "");
  Memory out(64);
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    EXPECT_TRUE(run(executor, module, {}, {out.address()}, &fault)) << fault;
    EXPECT_NE(fault.find("brkpt"), std::string::npos) << executor.name << ": " << fault;
  }
}

TEST(PtxRuntime, EveryThreadsAllocationIsItsOwn) {
  const std::string declare =
      ".extern .func (.param .b64 r) malloc(.param .b64 n);\n.extern .func free(.param .b64 p);\n";
  const std::string text =
      ".reg .b64 %x<6>; .reg .b32 %r<3>; ld.param.u64 %x0, [p0]; mov.u32 %r0, %tid.x; mul.wide.u32 %x4, %r0, 8; "
      "add.u64 %x0, %x0, %x4;\n"
      "{ .param .b64 a; .param .b64 v; st.param.b64 [a], 40; call.uni (v), malloc, (a); ld.param.b64 %x1, [v]; }\n"
      "st.u32 [%x1+36], %r0; bar.sync 0; ld.u32 %r1, [%x1+36]; cvt.u64.u32 %x2, %r1; st.global.u64 [%x0], %x2; "
      "st.global.u64 [%x0+512], %x1;\n"
      "{ .param .b64 a; .param .b64 v; st.param.b64 [a], 9000000; call.uni (v), malloc, (a); ld.param.b64 %x3, [v]; "
      "}\nst.global.u64 [%x0+1024], %x3;\n"
      "{ .param .b64 a; st.param.b64 [a], %x1; call.uni free, (a); }\n{ .param .b64 a; st.param.b64 [a], 0; call.uni "
      "free, (a); }";
  Module module(kernel(text, 1, declare));
  ASSERT_STREQ(module.error.reason, "") << module.error.line;
  Module twice(
      kernel(".reg .b64 %x<2>;\n{ .param .b64 a; .param .b64 v; st.param.b64 [a], 40; call.uni (v), malloc, (a); "
             "ld.param.b64 %x1, [v]; }\n"
             "{ .param .b64 a; st.param.b64 [a], %x1; call.uni free, (a); }\n{ .param .b64 a; st.param.b64 [a], %x1; "
             "call.uni free, (a); }",
             1, declare));
  ASSERT_STREQ(twice.error.reason, "");
  Memory out(1536);
  Shape shape;
  shape.block[0] = 64;
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    EXPECT_TRUE(run(executor, module, shape, {out.address()}, &fault)) << fault;
    ASSERT_EQ(fault, "") << executor.name;
    for (u64 i = 0; i < 64; i++) {
      EXPECT_EQ(out.as<u64>()[i], i) << executor.name;
      EXPECT_EQ(out.as<u64>()[128 + i], 0u) << "more than the heap";
      for (u64 j = 0; j < i; j++)
        EXPECT_GE(std::max(out.as<u64>()[64 + i], out.as<u64>()[64 + j]),
                  std::min(out.as<u64>()[64 + i], out.as<u64>()[64 + j]) + 40);
    }
    Shape one;
    one.block[0] = 1;
    EXPECT_TRUE(run(executor, twice, one, {out.address()}, &fault)) << fault;
    EXPECT_NE(fault.find("which malloc did not give or which is free"), std::string::npos)
        << executor.name << ": " << fault;
  }
}

/* ---- asynchronous copies, barriers in memory ---- */

TEST(PtxRuntime, AsynchronousCopiesBringTheirBytesAndZeros) {
  for (int bytes : {4, 8, 16})
    for (bool sized : {false, true}) {
      const std::string size = std::to_string(bytes);
      std::string text =
          ".reg .b64 %x<6>; .reg .b32 %n<8>;\nld.param.u64 %x0, [p0]; ld.param.u64 %x1, [p1]; mov.u32 %n0, %laneid;\n"
          "mov.u32 %n1, tile; mad.lo.u32 %n2, %n0, " +
          size + ", %n1; mul.wide.u32 %x2, %n0, 16; add.u64 %x2, %x2, %x0; add.u64 %x2, %x2, -16;\n";
      for (int i = 0; i < bytes; i += 4) text += "st.shared.u32 [%n2+" + std::to_string(i) + "], 0xffffffff;\n";
      /* lanes that read nothing give an address that must not be read */
      if (sized)
        text += ".reg .pred %p; rem.u32 %n3, %n0, " + std::to_string(bytes + 1) +
                "; setp.eq.u32 %p, %n3, 0; @%p mov.u64 %x2, -16;\n";
      text += std::string("cp.async.") + (bytes == 16 ? "cg" : "ca") + ".shared.global" +
              (bytes == 16 ? ".L2::128B" : "") + " [%n2], [%x2+16], " + size + (sized ? ", %n3" : "") +
              ";\ncp.async.commit_group;\ncp.async.wait_group 0;\ncp.async.wait_all;\nbar.warp.sync 0xffffffff;\n"
              "mul.wide.u32 %x3, %n0, " +
              size + "; add.u64 %x3, %x3, %x1;\n";
      for (int i = 0; i < bytes; i += 4)
        text +=
            "ld.shared.u32 %n4, [%n2+" + std::to_string(i) + "]; st.global.u32 [%x3+" + std::to_string(i) + "], %n4;\n";
      Module module(kernel(text, 2, ".shared .align 16 .b8 tile[512];\n"));
      ASSERT_STREQ(module.error.reason, "") << text;
      Memory in(512), out(512);
      for (int i = 0; i < 512; i++) in.as<unsigned char>()[i] = static_cast<unsigned char>(i % 251 + 1);
      for (const Executor &executor : ptx::executors()) {
        std::string fault;
        EXPECT_TRUE(run(executor, module, {}, {in.address(), out.address()}, &fault)) << fault;
        ASSERT_EQ(fault, "") << text << executor.name;
        for (int l = 0; l < 32; l++)
          for (int i = 0; i < bytes; i++)
            EXPECT_EQ(out.as<unsigned char>()[l * bytes + i],
                      !sized || i < l % (bytes + 1) ? in.as<unsigned char>()[16 * l + i] : 0)
                << size << " bytes on " << executor.name << " lane " << l << " byte " << i;
      }
    }
}

TEST(PtxRuntime, AsynchronousCopiesAreChecked) {
  struct Case {
    const char *to, *from, *part;
  } const cases[] = {{"512", "%x0", "invalid write of 16 bytes at shared 0x200"},
                     {"8", "%x0", "misaligned write of 16 bytes at shared 0x8"},
                     {"0", "%x1", "misaligned read of 16 bytes"},
                     {"0", "4096", "invalid read of 16 bytes at 0x1000"}};
  for (const Case &one : cases) {
    Module module(kernel(
        std::string(".reg .b64 %x<3>; .reg .b32 %n;\nld.param.u64 %x0, [p0]; add.u64 %x1, %x0, 4; mov.u64 %x2, ") +
            one.from + "; mov.u32 %n, " + one.to + ";\ncp.async.cg.shared.global [%n], [%x2], 16;",
        1, ".shared .align 16 .b8 tile[512];\n"));
    ASSERT_STREQ(module.error.reason, "");
    Memory in(512);
    for (const Executor &executor : ptx::executors()) {
      std::string fault;
      EXPECT_TRUE(run(executor, module, {}, {in.address()}, &fault)) << fault;
      EXPECT_NE(fault.find(one.part), std::string::npos) << executor.name << ": " << fault;
    }
  }
}

/* Warp 0 fills a buffer and arrives; the others wait, by state or by parity, and add what they find. */
TEST(PtxRuntime, BarriersInMemoryLetWarpsWaitForPhases) {
  for (bool parity : {false, true}) {
    std::string text =
        ".reg .b64 %x<6>; .reg .b32 %n<8>; .reg .pred %p, %q, %first;\nld.param.u64 %x0, [p0]; mov.u32 %n0, %tid.x; "
        "setp.eq.u32 %first, %n0, 0;\n"
        "@%first mbarrier.init.shared.b64 [bar], 96; bar.sync 0; mov.u32 %n5, 0; mov.u32 %n4, 0;\n"
        "PHASE:\nsetp.ge.u32 %p, %n0, 32; @%p bra ARRIVE; mad.lo.u32 %n1, %n4, 3, %n0; shl.b32 %n2, %n0, 2; mov.u32 "
        "%n3, data; add.u32 %n2, %n2, %n3; st.shared.u32 [%n2], %n1;\n"
        "ARRIVE: mbarrier.arrive.shared.b64 %x1, [bar];\n"
        "WAIT: " +
        std::string(parity ? "and.b32 %n6, %n4, 1; mbarrier.test_wait.parity.shared.b64 %q, [bar], %n6;"
                           : "mbarrier.try_wait.shared.b64 %q, [bar], %x1, 1000;") +
        " @!%q bra WAIT;\n"
        "and.b32 %n1, %n0, 31; shl.b32 %n1, %n1, 2; mov.u32 %n3, data; add.u32 %n1, %n1, %n3; ld.shared.u32 %n2, "
        "[%n1]; add.u32 %n5, %n5, %n2;\n"
        "bar.sync 0; add.u32 %n4, %n4, 1; setp.lt.u32 %p, %n4, 5; @%p bra PHASE;\n"
        "mul.wide.u32 %x2, %n0, 4; add.u64 %x2, %x2, %x0; st.global.u32 [%x2], %n5; @%first mbarrier.inval.shared.b64 "
        "[bar];";
    Module module(kernel(text, 1, ".shared .align 8 .b8 bar[8];\n.shared .align 4 .b8 data[128];\n"));
    ASSERT_STREQ(module.error.reason, "") << module.error.line;
    Memory out(384);
    Shape shape;
    shape.block[0] = 96;
    for (const Executor &executor : ptx::executors()) {
      std::string fault;
      if (!run(executor, module, shape, {out.address()}, &fault)) continue;
      ASSERT_EQ(fault, "") << executor.name;
      for (u32 i = 0; i < 96; i++) EXPECT_EQ(out.as<u32>()[i], 5 * (i % 32) + 30) << executor.name << " thread " << i;
    }
  }
}

TEST(PtxRuntime, ArrivalsOfBarriersInMemoryAreCounted) {
  const std::string text =
      ".reg .b64 %x<6>; .reg .b32 %n<8>; .reg .pred %p;\nld.param.u64 %x0, [p0];\n"
      "mbarrier.init.shared.b64 [bar], 5; mbarrier.arrive.noComplete.shared.b64 %x1, [bar], 2; "
      "mbarrier.pending_count.b64 %n0, %x1;\n"
      "mbarrier.arrive_drop.shared.b64 %x2, [bar]; mbarrier.pending_count.b64 %n1, %x2; "
      "cp.async.mbarrier.arrive.shared.b64 [bar];\n"
      "mbarrier.arrive.shared.b64 %x3, [bar]; mbarrier.pending_count.b64 %n2, %x3; "
      "cp.async.mbarrier.arrive.noinc.shared.b64 [bar];\n"
      "mbarrier.test_wait.shared.b64 %p, [bar], %x3; selp.u32 %n3, 1, 0, %p; mbarrier.arrive.shared.b64 %x4, [bar]; "
      "mbarrier.pending_count.b64 %n4, %x4;\n"
      "st.global.u32 [%x0], %n0; st.global.u32 [%x0+4], %n1; st.global.u32 [%x0+8], %n2; st.global.u32 [%x0+12], %n3; "
      "st.global.u32 [%x0+16], %n4;";
  Module module(kernel(text, 1, ".shared .align 8 .b8 bar[8];\n"));
  ASSERT_STREQ(module.error.reason, "") << module.error.line;
  Module too_many(kernel(".reg .b64 %x;\nmbarrier.init.shared.b64 [bar], 1; mbarrier.arrive.shared.b64 %x, [bar], 2;",
                         1, ".shared .align 8 .b8 bar[8];\n"));
  ASSERT_STREQ(too_many.error.reason, "");
  Memory out(64);
  Shape one;
  one.block[0] = 1;
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    if (!run(executor, module, one, {out.address()}, &fault)) continue;
    ASSERT_EQ(fault, "") << executor.name;
    const u32 expected[] = {5, 3, 2, 1, 4}; /* before each arrival; then the phase ends, and the next expects four */
    for (int i = 0; i < 5; i++) EXPECT_EQ(out.as<u32>()[i], expected[i]) << executor.name << " " << i;
    run(executor, too_many, one, {out.address()}, &fault);
    EXPECT_NE(fault.find("fewer) arrivals are expected"), std::string::npos) << executor.name << ": " << fault;
  }
}

/* ---- atomics of halves and vectors ---- */

TEST(PtxRuntime, AtomicSumsOfHalves) {
  for (const narrow::Format *format : {&narrow::half(), &narrow::brain()})
    for (bool pair : {false, true})
      for (const char *space : {"global", "shared"}) {
        const bool shared = space[0] == 's';
        const std::string type = pair ? format->pair : format->name, width = pair ? "b32" : "b16";
        const u32 one = format->convert(1, narrow::Mode::nearest), three = format->convert(3, narrow::Mode::nearest);
        const std::string value = std::to_string(pair ? (three << 16 | one) : one);
        std::string text =
            ".reg .b64 %x<4>; .reg .b32 %n<4>; .reg ." + width +
            " %v, %old;\nld.param.u64 %x0, [p0]; mov.u32 %n0, %tid.x;\n" +
            (shared ? "mov.u32 %n1, cell; st.shared.u32 [%n1], 0; bar.warp.sync 0xffffffff;\n" : "") + "mov." + width +
            " %v, " + value + ";\n" + "atom." + space + ".add.noftz." + type + " %old, [" + (shared ? "%n1" : "%x0") +
            "], %v;\n" + "red." + space + ".add.noftz." + type + " [" + (shared ? "%n1" : "%x0") +
            "], %v;\nmul.wide.u32 %x1, %n0, 4; add.u64 %x1, %x1, %x0; st.global." + width + " [%x1+8], %old;\n" +
            (shared ? "bar.warp.sync 0xffffffff; ld.shared.u32 %n2, [%n1]; st.global.u32 [%x0], %n2;" : "");
        Module module(kernel(text, 1, ".shared .align 4 .b8 cell[4];\n"));
        ASSERT_STREQ(module.error.reason, "") << text;
        Memory out(256);
        for (const Executor &executor : ptx::executors()) {
          std::memset(out.as<void>(), 0, 256);
          std::string fault;
          EXPECT_TRUE(run(executor, module, {}, {out.address()}, &fault)) << fault;
          ASSERT_EQ(fault, "") << text << executor.name;
          EXPECT_EQ(out.as<u16>()[0], format->convert(64, narrow::Mode::nearest)) << type << executor.name;
          const u32 upper = pair ? format->convert(192, narrow::Mode::nearest) : 0;
          EXPECT_EQ(out.as<u16>()[1], upper) << type << executor.name;
          for (int l = 0; l < 32; l++)
            EXPECT_EQ(out.as<u16>()[4 + 2 * l], format->convert(l, narrow::Mode::nearest))
                << type << executor.name << " lane " << l;
        }
      }
}

TEST(PtxRuntime, AtomicSumsOfVectorsAreThoseOfTheirElements) {
  Module module(kernel(
      ".reg .b64 %x<4>; .reg .f32 %f<8>;\nld.param.u64 %x0, [p0]; mov.f32 %f0, 0f3F800000; mov.f32 %f1, 0f40000000;\n"
      "atom.global.add.v2.f32 {%f4, %f5}, [%x0], {%f0, %f1}; red.global.add.v4.f32 [%x0+16], {%f0, %f1, %f0, %f1};"));
  ASSERT_STREQ(module.error.reason, "");
  Memory out(64);
  for (const Executor &executor : ptx::executors()) {
    std::memset(out.as<void>(), 0, 64);
    std::string fault;
    EXPECT_TRUE(run(executor, module, {}, {out.address()}, &fault)) << fault;
    ASSERT_EQ(fault, "") << executor.name;
    const float expected[] = {32, 64, 0, 0, 32, 64, 32, 64};
    for (int i = 0; i < 8; i++) EXPECT_EQ(out.as<float>()[i], expected[i]) << executor.name << " " << i;
  }
}

/* ---- packed integers ---- */

int32_t part(u64 x, int i, int bits, bool sign) {
  const u32 shifted = static_cast<u32>(x) >> (bits * i);
  if (bits == 16) return sign ? static_cast<int16_t>(shifted) : static_cast<int32_t>(static_cast<u16>(shifted));
  return sign ? static_cast<int8_t>(shifted) : static_cast<int32_t>(static_cast<uint8_t>(shifted));
}

TEST(PtxRuntime, DotProductsOfPairs) {
  for (bool high : {false, true})
    for (bool sign_a : {false, true})
      for (bool sign_b : {false, true})
        check(std::string("dp2a.") + (high ? "hi" : "lo") + (sign_a ? ".s32" : ".u32") + (sign_b ? ".s32" : ".u32") +
                  " %d, %a, %b, %c;",
              32, {32, 32, 32}, Values::integers, [=](const Input &x) {
                auto sum = static_cast<u32>(x.c);
                for (int i = 0; i < 2; i++)
                  sum += static_cast<u32>(part(x.a, i, 16, sign_a) * part(x.b, i + (high ? 2 : 0), 8, sign_b));
                return u64(sum);
              });
}

TEST(PtxRuntime, DifferencesOfBytes) {
  for (bool add : {false, true})
    check(std::string("vabsdiff4.u32.u32.u32") + (add ? ".add" : "") + " %d, %a, %b, %c;", 32, {32, 32, 32},
          Values::integers, [=](const Input &x) {
            u32 bytes = 0;
            auto sum = static_cast<u32>(x.c);
            for (int i = 0; i < 4; i++) {
              const auto size = static_cast<u32>(std::abs(part(x.a, i, 8, false) - part(x.b, i, 8, false)));
              bytes |= size << (8 * i);
              sum += size;
            }
            return u64(add ? sum : bytes);
          });
}

TEST(PtxRuntime, PairsOfShortIntegersAndClippedMinima) {
  for (bool sign : {false, true}) {
    const std::string type = sign ? "s16x2" : "u16x2";
    auto pairs = [sign](const Input &x, const std::function<int32_t(int32_t, int32_t)> &f) {
      return u64(static_cast<u16>(f(part(x.a, 0, 16, sign), part(x.b, 0, 16, sign)))) |
             u64(static_cast<u16>(f(part(x.a, 1, 16, sign), part(x.b, 1, 16, sign)))) << 16;
    };
    check("add." + type + " %d, %a, %b;", 32, {32, 32}, Values::integers,
          [=](const Input &x) { return pairs(x, [](int32_t a, int32_t b) { return a + b; }); });
    check("min." + type + " %d, %a, %b;", 32, {32, 32}, Values::integers,
          [=](const Input &x) { return pairs(x, [](int32_t a, int32_t b) { return std::min(a, b); }); });
    check("max." + type + " %d, %a, %b;", 32, {32, 32}, Values::integers,
          [=](const Input &x) { return pairs(x, [](int32_t a, int32_t b) { return std::max(a, b); }); });
    if (!sign) continue;
    check("min.relu.s16x2 %d, %a, %b;", 32, {32, 32}, Values::integers,
          [=](const Input &x) { return pairs(x, [](int32_t a, int32_t b) { return std::max(std::min(a, b), 0); }); });
    check("max.relu.s16x2 %d, %a, %b;", 32, {32, 32}, Values::integers,
          [=](const Input &x) { return pairs(x, [](int32_t a, int32_t b) { return std::max(std::max(a, b), 0); }); });
  }
  check("min.relu.s32 %d, %a, %b;", 32, {32, 32}, Values::integers, [](const Input &x) {
    return u64(static_cast<u32>(std::max(std::min(static_cast<int32_t>(x.a), static_cast<int32_t>(x.b)), 0)));
  });
  check("max.relu.s32 %d, %a, %b;", 32, {32, 32}, Values::integers, [](const Input &x) {
    return u64(static_cast<u32>(std::max(std::max(static_cast<int32_t>(x.a), static_cast<int32_t>(x.b)), 0)));
  });
  check("min.xorsign.abs.f32 %d, %a, %b;", 32, {32, 32}, Values::f32, [](const Input &x) {
    const u64 sign = (x.a ^ x.b) & 0x80000000;
    const float a = std::fabs(ptx::f32(x.a)), b = std::fabs(ptx::f32(x.b));
    if (std::isnan(a) && std::isnan(b)) return u64(0x7fffffff);
    return u64(ptx::bits(std::isnan(a) ? b : std::isnan(b) ? a : std::min(a, b))) | sign;
  });
  check("max.NaN.xorsign.abs.f32 %d, %a, %b;", 32, {32, 32}, Values::f32, [](const Input &x) {
    const u64 sign = (x.a ^ x.b) & 0x80000000;
    const float a = std::fabs(ptx::f32(x.a)), b = std::fabs(ptx::f32(x.b));
    if (std::isnan(a) || std::isnan(b)) return u64(0x7fffffff);
    return u64(ptx::bits(std::max(a, b))) | sign;
  });
}

}  // namespace
