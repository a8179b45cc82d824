/* Matrix instructions in machine code give the interpreter's bits: every form, on random numbers and on special ones,
 * alone and in chains on the same accumulators. */
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>

#include "tests/vgpu/ptx_support.h"

namespace {

using ptx::Executor;
using ptx::Memory;
using ptx::Module;

struct Form {
  const char *name; /* after "mma.sync.aligned." */
  int a, b, c;      /* registers; D has as many as C */
  bool doubles = false;
};

constexpr Form forms[] = {
    {"m16n8k4.row.col.f32.tf32.tf32.f32", 2, 1, 4},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2, 4},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 2, 1, 4},
    {"m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2, 4},
    {"m16n8k8.row.col.f32.f16.f16.f32", 2, 1, 4},
    {"m16n8k16.row.col.f32.f16.f16.f32", 4, 2, 4},
    {"m16n8k8.row.col.f16.f16.f16.f16", 2, 1, 2},
    {"m16n8k16.row.col.f16.f16.f16.f16", 4, 2, 2},
    {"m8n8k4.row.col.f64.f64.f64.f64", 1, 1, 2, true},
    {"m8n8k4.row.col.f32.f16.f16.f32", 2, 2, 8},
    {"m8n8k16.row.col.s32.s8.s8.s32", 1, 1, 2},
    {"m16n8k16.row.col.s32.u8.s8.s32", 2, 1, 4},
    {"m16n8k32.row.col.satfinite.s32.s8.u8.s32", 4, 2, 4},
    {"m16n8k64.row.col.s32.s4.s4.s32", 4, 2, 4},
};

std::string list(const char *prefix, int first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; i++) text += (i ? ", %" : "%") + std::string(prefix) + std::to_string(first + i);
  return text + "}";
}

/* Loads A, B and C of each lane, multiplies `times` on the same accumulators, each time with A's registers turned by
 * one, and stores D. */
std::string program(const Form &form, int times) {
  const char *prefix = form.doubles ? "d" : "r", *type = form.doubles ? "f64" : "b32";
  const int bytes = form.doubles ? 8 : 4, count = form.a + form.b + form.c;
  std::string text =
      ".version 8.7\n.target sm_86\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1) {\n"
      ".reg .b32 %r<64>; .reg .f64 %d<64>; .reg .b64 %l<4>; .reg .b32 %t;\n"
      "ld.param.u64 %l0, [p0];\nld.param.u64 %l1, [p1];\nmov.u32 %t, %tid.x;\nmul.wide.u32 %l2, %t, " +
      std::to_string(bytes) +
      ";\nadd.u64 %l0, %l0, %l2;\nadd.u64 %l1, %l1, %l2;\nmov.u32 %t, %ctaid.x;\nmad.wide.u32 %l0, %t, " +
      std::to_string(32 * bytes * count) + ", %l0;\nmad.wide.u32 %l1, %t, " + std::to_string(32 * bytes * form.c) +
      ", %l1;\n";
  for (int i = 0; i < count; i++) {
    text += std::string("ld.global.") + type + " %" + prefix + std::to_string(i) + ", [%l0+" +
            std::to_string(i * 32 * bytes) + "];\n";
  }
  const std::string c = list(prefix, form.a + form.b, form.c);
  for (int n = 0; n < times; n++) {
    std::string a = "{";
    for (int i = 0; i < form.a; i++) a += (i ? ", %" : "%") + std::string(prefix) + std::to_string((i + n) % form.a);
    text += std::string("mma.sync.aligned.") + form.name + " " + c + ", " + a + "}, " + list(prefix, form.a, form.b) +
            ", " + c + ";\n";
  }
  for (int i = 0; i < form.c; i++) {
    text += std::string("st.global.") + type + " [%l1+" + std::to_string(i * 32 * bytes) + "], %" + prefix +
            std::to_string(form.a + form.b + i) + ";\n";
  }
  return text + "ret;\n}\n";
}

class TranslateMatrix : public testing::TestWithParam<Form> {};

TEST_P(TranslateMatrix, SameBitsAsTheInterpreter) {
  const Form &form = GetParam();
  const bool integers = std::strstr(form.name, "s32") != nullptr;
  constexpr size_t rounds = 4; /* a block each */
  const size_t words = 32u * static_cast<size_t>(form.a + form.b + form.c) * (form.doubles ? 2 : 1);
  const size_t out_bytes = rounds * 32u * static_cast<size_t>(form.c) * (form.doubles ? 8 : 4);
  Memory in(rounds * words * 4), out(out_bytes);
  std::mt19937 random(11);
  for (size_t i = 0; i < rounds * words; i++) {
    uint32_t word = static_cast<uint32_t>(random());
    /* Rounds 0 and 1: numbers near one, also as halves. 2: any bits, with NaN, infinities, subnormals. 3: some such. */
    const size_t round = i / words;
    if (!integers && (round < 2 || (round == 3 && random() % 16))) {
      word = (word & 0x83ff83ffu) | (form.doubles ? (i % 2 ? 0x3fe00000u : 0) : 0x3c003c00u);
    }
    in.as<uint32_t>()[i] = word;
  }
  for (int times : {1, 3}) {
    Module module(program(form, times));
    ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
    ptx::Shape shape;
    shape.grid[0] = rounds;
    std::vector<uint8_t> expected;
    for (const Executor &executor : ptx::all_executors()) {
      std::memset(out.as<void>(), 0, out_bytes);
      ASSERT_EQ(ptx::launch(executor, module.function("k"), shape, {in.address(), out.address()}), "") << executor.name;
      if (form.doubles) { /* any NaN of f64 is as good as another */
        for (size_t i = 0; i < out_bytes / 8; i++)
          if (out.as<double>()[i] != out.as<double>()[i]) out.as<uint64_t>()[i] = 0x7fffffffffffffffu;
      }
      const std::vector<uint8_t> got(out.as<uint8_t>(), out.as<uint8_t>() + out_bytes);
      if (expected.empty()) expected = got;
      EXPECT_EQ(got, expected) << executor.name << ", " << times << " times";
      EXPECT_NE(got, std::vector<uint8_t>(out_bytes)) << "nothing was computed";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, TranslateMatrix, testing::ValuesIn(forms),
                         [](const testing::TestParamInfo<Form> &info) {
                           std::string name = info.param.name;
                           for (char &c : name)
                             if (c == '.') c = '_';
                           return name;
                         });

/* Several mma behind one another, which machine code does together: any of them may share factors and add to the same
 * sums, or take what the one before it made. Factors are loaded as vectors of neighbouring numbers or by columns, that
 * is, lane 4 g + t from row t. */
class TranslateMatrixRuns : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sharing, TranslateMatrixRuns, testing::Range(0, 6));
TEST_P(TranslateMatrixRuns, SameBitsAsTheInterpreter) {
  /* A, B and C, which is D, of each mma: registers from 4 A, 16 + 2 B and 32 + 4 C on. */
  static const std::vector<std::array<int, 3>> runs[] = {
      {{0, 0, 0}, {1, 0, 1}, {2, 1, 0}, {3, 1, 1}},            /* two sums of two */
      {{0, 0, 0}, {0, 1, 1}, {1, 0, 2}, {1, 1, 3}},            /* four sums */
      {{0, 0, 0}, {1, 1, 0}, {2, 2, 0}, {3, 3, 0}, {0, 1, 0}}, /* one sum, and one more than go together */
      {{0, 0, 0}, {1, 0, 4}, {2, 0, 1}},                       /* 4: what the first one made is a factor A, see below */
      {{0, 0, 0}, {1, 1, 5}, {2, 1, 2}},                       /* 5: D is elsewhere than C */
      {{0, 0, 6}, {0, 1, 1}, {0, 2, 2}},                       /* 6: D takes A's place */
  };
  std::string text =
      ".version 8.7\n.target sm_86\n.address_size 64\n.visible .entry k(.param .u64 p0, .param .u64 p1) {\n"
      ".reg .b32 %r<64>; .reg .b64 %l<8>; .reg .b32 %t; .reg .b32 %g;\n"
      "ld.param.u64 %l0, [p0];\nld.param.u64 %l1, [p1];\nmov.u32 %t, %tid.x;\nmul.wide.u32 %l2, %t, 16;\n"
      "add.u64 %l3, %l0, %l2;\nmul.wide.u32 %l2, %t, 4;\nadd.u64 %l1, %l1, %l2;\nshr.u32 %g, %t, 2;\n"
      "and.b32 %t, %t, 3;\nmul.wide.u32 %l2, %t, 96;\nadd.u64 %l4, %l0, %l2;\nmul.wide.u32 %l2, %g, 8;\n"
      "add.u64 %l4, %l4, %l2;\nmul.wide.u32 %l2, %t, 64;\nadd.u64 %l5, %l0, %l2;\nmul.wide.u32 %l2, %g, 4;\n"
      "add.u64 %l5, %l5, %l2;\n";
  for (int i = 0; i < 4; i++)
    text += "ld.global.v4.b32 " + list("r", 4 * i, 4) + ", [%l3+" + std::to_string(512 * i) + "];\n";
  for (int i = 0; i < 4; i++) {
    if (i < 2)
      text += "ld.global.v2.b32 " + list("r", 16 + 2 * i, 2) + ", [%l4+" + std::to_string(2048 + 512 * i) + "];\n";
    for (int k = 0; i >= 2 && k < 2; k++)
      text += "ld.global.b32 %r" + std::to_string(16 + 2 * i + k) + ", [%l5+" +
              std::to_string(3072 + 512 * i + 256 * k) + "];\n";
  }
  for (int i = 0; i < 16; i++)
    text += "mov.b32 %r" + std::to_string(32 + i) + ", " + std::to_string(0x3f000000 + 0x10000 * i) + ";\n";
  for (const auto &[a, b, c] : runs[GetParam()]) {
    const std::string sum = list("r", 32 + 4 * (c < 4 ? c : 0), 4), factor = list("r", 4 * a, 4);
    text += "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 " +
            (c == 5   ? list("r", 44, 4)
             : c == 6 ? factor
             : c == 4 ? list("r", 36, 4)
                      : sum) +
            ", " + (c == 4 ? sum : factor) + ", " + list("r", 16 + 2 * b, 2) + ", " + sum + ";\n";
  }
  for (int i : {0, 1, 2, 3, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47})
    text += "st.global.b32 [%l1+" + std::to_string(i * 128) + "], %r" + std::to_string(i) + ";\n";
  Module module(text + "ret;\n}\n");
  ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
  Memory in(8192), out(64 * 128);
  std::mt19937 random(5);
  for (size_t i = 0; i < 2048; i++)
    in.as<uint32_t>()[i] = (static_cast<uint32_t>(random()) & 0x803fffffu) | 0x3f000000u;
  in.as<uint32_t>()[77] = 0x7fc01234; /* a NaN in one of A's rows */
  std::vector<uint8_t> expected;
  for (const Executor &executor : ptx::all_executors()) {
    std::memset(out.as<void>(), 0, 64 * 128);
    ASSERT_EQ(ptx::launch(executor, module.function("k"), ptx::Shape(), {in.address(), out.address()}), "")
        << executor.name;
    const std::vector<uint8_t> got(out.as<uint8_t>(), out.as<uint8_t>() + 64 * 128);
    if (expected.empty()) expected = got;
    EXPECT_EQ(got, expected) << executor.name;
    EXPECT_NE(got, std::vector<uint8_t>(64 * 128)) << "nothing was computed";
  }
}

TEST(TranslateMatrixMoves, LdmatrixAndMovmatrix) {
  const std::string text = R"(.version 8.0
.target sm_86
.address_size 64
.visible .entry k(.param .u64 p0, .param .u64 p1) {
  .reg .b32 %r<32>; .reg .b64 %l<4>;
  .shared .align 16 .b8 tile[2048];
  ld.param.u64 %l0, [p0];
  ld.param.u64 %l1, [p1];
  mov.u32 %r0, %tid.x;
  mul.wide.u32 %l2, %r0, 4;
  add.u64 %l0, %l0, %l2;
  add.u64 %l1, %l1, %l2;
  mov.u32 %r1, tile;
  shl.b32 %r2, %r0, 2;
  add.u32 %r3, %r1, %r2;
  ld.global.b32 %r4, [%l0];      st.shared.b32 [%r3], %r4;
  ld.global.b32 %r4, [%l0+128];  st.shared.b32 [%r3+128], %r4;
  ld.global.b32 %r4, [%l0+256];  st.shared.b32 [%r3+256], %r4;
  ld.global.b32 %r4, [%l0+384];  st.shared.b32 [%r3+384], %r4;
  bar.sync 0;
  xor.b32 %r5, %r0, 5;
  mad.lo.u32 %r6, %r5, 16, %r1;
  ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r6];
  ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, %r15}, [%r6];
  ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r16}, [%r6];
  movmatrix.sync.aligned.m8n8.trans.b16 %r17, %r10;
  st.global.b32 [%l1], %r10;
  st.global.b32 [%l1+128], %r11;
  st.global.b32 [%l1+256], %r12;
  st.global.b32 [%l1+384], %r13;
  st.global.b32 [%l1+512], %r14;
  st.global.b32 [%l1+640], %r15;
  st.global.b32 [%l1+768], %r16;
  st.global.b32 [%l1+896], %r17;
  ret;
})";
  Module module(text);
  ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
  Memory in(512), out(1024);
  std::mt19937 random(3);
  for (int i = 0; i < 128; i++) in.as<uint32_t>()[i] = static_cast<uint32_t>(random());
  std::vector<uint32_t> expected;
  for (const Executor &executor : ptx::all_executors()) {
    std::memset(out.as<void>(), 0, 1024);
    ASSERT_EQ(ptx::launch(executor, module.function("k"), {}, {in.address(), out.address()}), "") << executor.name;
    const std::vector<uint32_t> got(out.as<uint32_t>(), out.as<uint32_t>() + 256);
    if (expected.empty()) expected = got;
    EXPECT_EQ(got, expected) << executor.name;
    for (int lane = 0; lane < 32; lane++) { /* by the manual: row lane / 4, from the address of lane `row` */
      EXPECT_EQ(got[static_cast<size_t>(lane)], in.as<uint32_t>()[((lane / 4) ^ 5) * 4 + lane % 4]) << executor.name;
    }
  }
}

}  // namespace
