/* Loads of parameters at addresses that registers hold: the translator reads and refuses what the interpreter does. */
#include <cstdlib>

#include "tests/vgpu/ptx_support.h"

namespace {

using ptx::Executor;
using ptx::Memory;
using ptx::Module;
using ptx::Shape;

/* 64 words by value: word i is 100 + i. */
enum { kWords = 64, kThreads = 64, kResults = 12 };

std::string text_of(const std::string &body) {
  return ".version 8.0\n.target sm_86\n.address_size 64\n"
         ".visible .entry k(.param .u64 out, .param .align 16 .b8 list[256])\n{\n"
         ".reg .pred %p<4>; .reg .b32 %r<40>; .reg .b64 %rd<12>;\n"
         "ld.param.u64 %rd0, [out]; mov.u32 %r0, %tid.x; mul.wide.u32 %rd1, %r0, 48; add.u64 %rd1, %rd0, %rd1;\n"
         "mov.b64 %rd2, list; cvt.u32.u64 %r1, %rd2;\n" +
         body + "\nret;\n}\n";
}

std::vector<uint64_t> parameters(const Memory &out) {
  std::vector<uint64_t> values = {out.address(), 0};
  for (uint64_t i = 0; i < kWords; i += 2) values.push_back((100 + i) | (101 + i) << 32);
  return values;
}

TEST(TranslateParameters, OfEveryShapeOfAddress) {
  const std::string body = R"(
    mov.u32 %r20, 0; mov.u32 %r21, 0;
  NEXT: // of all lanes, in a loop
    mul.wide.u32 %rd3, %r20, 12; add.u64 %rd3, %rd2, %rd3; ld.param.u32 %r22, [%rd3+4];
    mad.lo.u32 %r21, %r21, 3, %r22;
    add.u32 %r20, %r20, 1; setp.lt.u32 %p0, %r20, 7; @%p0 bra NEXT;
    st.global.u32 [%rd1], %r21;
    and.b32 %r2, %r0, 31; mul.wide.u32 %rd3, %r2, 4; add.u64 %rd3, %rd2, %rd3; // side by side
    ld.param.u32 %r3, [%rd3+128]; st.global.u32 [%rd1+4], %r3;
    mul.wide.u32 %rd4, %r2, 8; add.u64 %rd4, %rd2, %rd4; // every second one, and pairs
    ld.param.u32 %r3, [%rd4]; st.global.u32 [%rd1+8], %r3;
    ld.param.v2.u32 {%r4, %r5}, [%rd4]; st.global.v2.u32 [%rd1+16], {%r4, %r5};
    mul.lo.u32 %r6, %r0, %r0; mul.lo.u32 %r6, %r6, 37; and.b32 %r6, %r6, 63; // without a pattern
    mul.wide.u32 %rd5, %r6, 4; add.u64 %rd5, %rd2, %rd5;
    ld.param.u32 %r7, [%rd5]; st.global.u32 [%rd1+12], %r7;
    shl.b32 %r8, %r6, 2; add.u32 %r8, %r8, %r1; add.u32 %r8, %r8, -4096; // that wraps around at 32 bits
    ld.param.u32 %r9, [%r8+4096]; st.global.u32 [%rd1+24], %r9;
    mul.wide.u32 %rd6, %r6, 3; add.u64 %rd6, %rd2, %rd6; ld.param.u8 %r10, [%rd6]; st.global.u32 [%rd1+28], %r10;
    setp.gt.u32 %p1, %r6, 20; mov.u32 %r11, 7; selp.b64 %rd7, %rd5, -1, %p1; // not of lanes that must not
    @%p1 ld.param.u32 %r11, [%rd7]; st.global.u32 [%rd1+32], %r11;
    setp.lt.u32 %p2, %r6, 9; mov.u32 %r12, 8; @%p2 bra SKIP; // of lanes that are there
    ld.param.u32 %r12, [%rd5]; mul.lo.u32 %r12, %r12, 5;
  SKIP:
    st.global.u32 [%rd1+36], %r12;
    shr.u32 %r13, %r6, 2; mul.wide.u32 %rd8, %r13, 16; add.u64 %rd8, %rd2, %rd8;
    ld.param.v4.u32 {%r14, %r15, %r16, %r17}, [%rd8]; mad.lo.u32 %r14, %r15, %r16, %r14; add.u32 %r14, %r14, %r17;
    st.global.u32 [%rd1+40], %r14;
    ld.param.u64 %rd9, [%rd8+8]; cvt.u32.u64 %r18, %rd9; st.global.u32 [%rd1+44], %r18;)";
  const Module module(text_of(body));
  ASSERT_STREQ(module.error.reason, "") << "line " << module.error.line;
  for (const Executor &executor : ptx::all_executors()) {
    Memory out(kThreads * kResults * 4);
    Shape shape;
    shape.block[0] = kThreads;
    ASSERT_EQ(launch(executor, module.function("k"), shape, parameters(out)), "") << executor.name;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 7; i++) sum = sum * 3 + 101 + 3 * i;
    for (uint32_t thread = 0; thread < kThreads; thread++) {
      const uint32_t lane = thread % 32, any = thread * thread * 37 % 64, four = 100 + any / 4 * 4;
      const uint32_t byte = any * 3 % 4 ? 0 : 100 + any * 3 / 4;
      const uint32_t want[kResults] = {sum,
                                       132 + lane,
                                       100 + 2 * lane,
                                       100 + any,
                                       100 + 2 * lane,
                                       101 + 2 * lane,
                                       100 + any,
                                       byte,
                                       any > 20 ? 100 + any : 7,
                                       any < 9 ? 8 : (100 + any) * 5,
                                       (four + 1) * (four + 2) + four + four + 3,
                                       four + 2};
      for (int i = 0; i < kResults; i++)
        ASSERT_EQ(out.as<uint32_t>()[thread * kResults + static_cast<uint32_t>(i)], want[i])
            << executor.name << ", thread " << thread << ", result " << i;
    }
  }
}

TEST(TranslateParameters, BeyondTheEndAreTheInterpretersFaults) {
  const struct {
    const char *body, *fault;
  } cases[] = {{"add.u64 %rd3, %rd2, 256; ld.param.u32 %r3, [%rd3];",
                "thread (0, 0, 0): invalid read of 4 bytes at parameter 0x110"},
               {"mul.wide.u32 %rd3, %r0, 4; add.u64 %rd3, %rd2, %rd3; ld.param.u32 %r3, [%rd3+64];",
                "thread (48, 0, 0): invalid read of 4 bytes at parameter 0x110"},
               {"mul.lo.u32 %r2, %r0, 37; and.b32 %r2, %r2, 63; mul.wide.u32 %rd3, %r2, 8; add.u64 %rd3, %rd2, %rd3; "
                "ld.param.u32 %r3, [%rd3];",
                "thread (1, 0, 0): invalid read of 4 bytes at parameter 0x138"},
               {"cvt.u64.u32 %rd3, %r0; add.u64 %rd3, %rd2, %rd3; ld.param.u16 %r3, [%rd3];",
                "thread (1, 0, 0): misaligned read of 2 bytes at parameter 0x11"},
               {"mul.wide.u32 %rd3, %r0, 8; sub.u64 %rd3, %rd2, %rd3; ld.param.v2.u32 {%r3, %r4}, [%rd3];",
                "thread (3, 0, 0): invalid read of 8 bytes at parameter 0xfffffffffffffff8"},
               {"add.u32 %r2, %r1, -32; ld.param.u32 %r3, [%r2];",
                "thread (0, 0, 0): invalid read of 4 bytes at parameter 0xfffffff0"},
               {"setp.eq.u32 %p0, %r0, 33; selp.b64 %rd3, 4096, %rd2, %p0; ld.param.u32 %r3, [%rd3];",
                "thread (33, 0, 0): invalid read of 4 bytes at parameter 0x1000"},
               {"mov.u64 %rd3, -1; setp.eq.u32 %p0, %r0, 40; @%p0 ld.param.u64 %rd4, [%rd3];",
                "thread (40, 0, 0): misaligned read of 8 bytes at parameter 0xffffffffffffffff"}};
  for (const auto &one : cases) {
    const Module module(text_of(one.body));
    ASSERT_STREQ(module.error.reason, "") << one.body;
    for (const Executor &executor : ptx::all_executors()) {
      Memory out(kThreads * kResults * 4);
      Shape shape;
      shape.block[0] = kThreads;
      EXPECT_EQ(launch(executor, module.function("k"), shape, parameters(out)),
                std::string("kernel k, PTX line 9, block (0, 0, 0), ") + one.fault)
          << executor.name << ": " << one.body;
    }
  }
}

}  // namespace
