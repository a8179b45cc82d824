/* Absurd modules: too large, too deep, too many. Each is refused with a sentence, or loaded, in bounded time and
 * memory. The texts have up to a few megabytes, so work that grows with the square of the text would show. */
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <string>

#include "tests/vgpu/ptx_support.h"

extern "C" {
#include "engine/vgpu/interpreter.h"
#include "engine/vgpu/link.h"
}

namespace {

using std::to_string;

const std::string head = ".version 8.0\n.target sm_75\n.address_size 64\n";

std::string repeat(int count, const std::string &text) {
  std::string all;
  for (int i = 0; i < count; i++) all += text;
  return all;
}

template <typename F>
std::string each(int count, F f) {
  std::string all;
  for (int i = 0; i < count; i++) all += f(to_string(i), i);
  return all;
}

std::string entry(const std::string &body) {
  return head + ".visible .entry k()\n{\n.reg .pred %p<4>; .reg .b32 %r<8>; .reg .b64 %rd<4>;\n" + body + "\nret;\n}\n";
}

long peak_kilobytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

/* Loads and prepares. The reason if that is refused. A generous limit of time: sanitizers and a busy machine count. */
std::string load(const std::string &text) {
  const auto begin = std::chrono::steady_clock::now();
  ptx_error error = {};
  std::string reason;
  if (ptx_module *module = ptx_parse(text.data(), text.size(), &error)) {
    for (uint32_t i = 0; i < module->function_count; i++) {
      char why[300] = "";
      void *code = interpreter_baseline.prepare(&module->functions[i], why, sizeof why);
      if (!code) reason = why;
      vgpu_interpreter_discard(code);
    }
    ptx_free(module);
  } else {
    reason = error.reason;
    EXPECT_NE(reason, "");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << text.substr(0, 300);
  EXPECT_LT(peak_kilobytes(), 2 << 20) << text.substr(0, 300);
  return reason;
}

#define EXPECT_REFUSED(text, part) EXPECT_NE(load(text).find(part), std::string::npos) << load(text)

TEST(PtxLimits, Registers) {
  EXPECT_EQ(load(entry(".reg .b32 %q<16000000>; mov.u32 %q15999999, 1;")), "");
  EXPECT_REFUSED(entry(".reg .b32 %q<16000000>, %s<16000000>;"), "more registers than");
  EXPECT_REFUSED(
      head + each(1000,
                  [](std::string n, int) { return ".visible .entry k" + n + "() { .reg .b32 %r<1000000>; ret; }\n"; }),
      "more registers than");
  EXPECT_EQ(load(entry(each(100000, [](std::string n, int) { return ".reg .b32 a" + n + ";\n"; }))), "");
}

TEST(PtxLimits, FunctionsThatCallEachOtherTwice) {
  EXPECT_REFUSED(head + each(40, [](std::string n, int) { return ".func f" + n + "();\n"; }) +
                     ".func f40() { ret; }\n" +
                     each(40,
                          [](std::string n, int i) {
                            const std::string next = "call f" + to_string(i + 1) + "; ";
                            return ".func f" + n + "() { " + next + next + "ret; }\n";
                          }) +
                     ".visible .entry k() { call f0; ret; }\n",
                 "too many instructions");
}

TEST(PtxLimits, BlocksAndLoops) {
  EXPECT_EQ(
      load(entry(each(30000, [](std::string, int) { return std::string("@%p1 bra END;\nadd.u32 %r1, %r1, 1;\n"); }) +
                 "END:")),
      "");
  EXPECT_REFUSED(
      entry(each(70000, [](std::string, int) { return std::string("@%p1 bra END;\nadd.u32 %r1, %r1, 1;\n"); }) +
            "END:"),
      "basic blocks");
  const auto nested = [](int depth) {
    return entry(each(depth, [](std::string n, int) { return "L" + n + ":\nadd.u32 %r1, %r1, 1;\n"; }) +
                 each(depth, [depth](std::string, int i) { return "@%p1 bra L" + to_string(depth - 1 - i) + ";\n"; }));
  };
  EXPECT_EQ(load(nested(2000)), "");
  EXPECT_REFUSED(nested(30000), "nested too deeply");
  /* Branches into the middle of loops. */
  EXPECT_EQ(load(entry(each(10000,
                            [](std::string n, int i) {
                              return "L" + n + ": @%p1 bra L" + to_string((i * 7919 + 13) % 10000) + ";\n";
                            }))),
            "");
  EXPECT_REFUSED(
      entry("L0: ts: .branchtargets L0" + repeat(100000, ", L0") + ";\n" + repeat(5000, "brx.idx %r1, ts;\n")),
      "too many branch targets");
}

TEST(PtxLimits, Nesting) {
  EXPECT_REFUSED(entry(repeat(100000, "{")), "nested too deeply");
  EXPECT_REFUSED(head + ".global .u32 x[4] = " + repeat(200000, "{") + "1" + repeat(200000, "}") + ";\n",
                 "nested too deeply");
  EXPECT_EQ(load(entry(repeat(150, "{") + repeat(150, "}"))), "");
}

TEST(PtxLimits, Memory) {
  EXPECT_REFUSED(entry(".local .b8 x[600000]; mov.u32 %r1, 1; st.local.u32 [x], %r1;"), "too much shared or local");
  EXPECT_REFUSED(entry(".shared .b8 x[300000000]; mov.u32 %r1, 1; st.shared.u32 [x], %r1;"),
                 "too much shared or local");
  EXPECT_REFUSED(head + ".global .b8 x[2000000000000];\n", "too large");
  EXPECT_REFUSED(head + ".global .b8 x[10000000][10000000];\n", "too large");
  EXPECT_REFUSED(
      entry(each(1000,
                 [](std::string n, int) { return ".param .b8 x" + n + "[60000]; ld.param.b8 %r1, [x" + n + "];\n"; })),
      "too large");
  EXPECT_EQ(load(head + each(100000, [](std::string n, int) { return ".file " + n + " \"a\"\n"; })), "");
}

TEST(PtxLimits, LongText) {
  EXPECT_EQ(load(head + std::string(5000000, ' ')), "");
  EXPECT_EQ(load(head + std::string(2000000, ';')), "");
  EXPECT_EQ(load(entry(each(100000, [](std::string n, int) { return "A" + n + ":\n"; }))), "");
  EXPECT_EQ(load(repeat(200000, ".version 8.0\n")), "");
  EXPECT_REFUSED(entry("add" + repeat(1000000, ".u32") + ";"), "is not implemented");
  EXPECT_REFUSED(head + repeat(1000000, "/* "), "a comment does not end");
  EXPECT_REFUSED(head + std::string(5000000, 'a'), "is not implemented at module level");
}

TEST(PtxLimits, Linking) {
  const std::string own = head + each(50000, [](std::string n, int) { return ".global .u32 v" + n + ";\n"; }) +
                          repeat(50000, ".extern .global .u32 w;\n");
  const std::string versions = repeat(100000, ".version 8.0\n") + ".target sm_75\n.address_size 64\n";
  const link_input inputs[] = {{"one", own.c_str()}, {"two", own.c_str()}, {"three", versions.c_str()}};
  char reason[300] = "";
  const auto begin = std::chrono::steady_clock::now();
  char *text = link_ptx(inputs, 3, reason, sizeof reason);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(text, nullptr) << "that many pairs of one name are refused";
  EXPECT_NE(std::string(reason).find("declared too often"), std::string::npos) << reason;
  free(text);
}

}  // namespace
