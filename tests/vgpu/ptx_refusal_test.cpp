/* What the front end refuses: everything it does not know, with line and reason, and any text without crashing. */
#include <random>

#include "tests/vgpu/ptx_support.h"

using ptx::kernel;
using ptx::refusal;

namespace {

TEST(PtxRefusal, UnknownOpcodesTypesAndModifiersNameLineAndReason) {
  struct Case {
    const char *body, *part;
  } cases[] = {
      {"tex.2d.v4.f32.s32 {%f0, %f1, %f2, %f3}, [t, {%r1, %r2}];", "opcode 'tex' is not implemented"},
      {"wgmma.fence.sync.aligned;", "opcode 'wgmma'"},
      {"add.u8 %h1, %h2, %h3;", "add.u8"},
      {"add.rn.u32 %r1, %r2, %r3;", "add.rn.u32"},
      {"add.rna.f32 %r1, %r2, %r3;", "add.rna.f32"},
      {"add.sat.u32 %r1, %r2, %r3;", "add.sat.u32"},
      {"add.ftz.f64 %rd1, %rd2, %rd3;", "add.ftz.f64"},
      {"fma.f32 %r1, %r2, %r3, %r4;", "fma.f32"},
      {"fma.rn.rz.f32 %r1, %r2, %r3, %r4;", "modifier '.rz'"},
      {"ex2.approx.bf16 %h1, %h2;", "ex2.approx.bf16"},
      {"sqrt.approx.f16 %h1, %h2;", "sqrt.approx.f16"},
      {"add.rz.f16 %h1, %h2, %h3;", "add.rz.f16"},
      {"add.ftz.bf16 %h1, %h2, %h3;", "add.ftz.bf16"},
      {"fma.rn.sat.relu.f16 %h1, %h2, %h3, %h4;", "fma.rn.sat.relu.f16"},
      {"fma.rn.sat.bf16 %h1, %h2, %h3, %h4;", "fma.rn.sat.bf16"},
      {"setp.lt.f16x2 %p1, %r1, %r2;", "setp.lt.f16x2"},
      {"cvt.rn.e4m3x2.f32 %h1, %r1, %r2;", "cvt.rn.e4m3x2.f32"},
      {"cvt.f16.f32 %h1, %r1;", "lacks a rounding mode"},
      {"cvt.rna.bf16.f32 %h1, %r1;", "conversion"},
      {"cvt.rm.relu.f16.f32 %h1, %r1;", "conversion"},
      {"sqrt.f32 %r1, %r2;", "sqrt.f32"},
      {"div.approx.f64 %rd1, %rd2, %rd3;", "div.approx.f64"},
      {"setp.lo.s32 %p1, %r1, %r2;", "compares in a way"},
      {"setp.lt.b32 %p1, %r1, %r2;", "compares in a way"},
      {"cvt.f32.s32 %r1, %r2;", "lacks a rounding mode"},
      {"cvt.rn.f64.f32 %rd1, %r2;", "conversion"},
      {"cvt.s32.f32 %r1, %r2;", "lacks a rounding mode"},
      {"shf.l.b32 %r1, %r2, %r3, %r4;", "shf.l.b32"},
      {"shfl.bfly.b32 %r1, %r2, 1, 31;", "shfl.bfly.b32"},
      {"ld.global.b128 %rd1, [%rd2];", "ld.global.b128"},
      {"ld.shared::cluster.u32 %r1, [%r2];", "shared::cluster"},
      {"ld.global.L2::cache_hint.u32 %r1, [%rd2], %rd3;", "cache_hint"},
      {"ld.acquire.cluster.global.u32 %r1, [%rd2];", "ld.acquire.cluster"},
      {"ld.release.gpu.global.u32 %r1, [%rd2];", "ld.release.gpu"},
      {"ld.global.v4.u64 {%rd1, %rd2, %rd3}, [%rd4];", "wrong number of elements"},
      {"st.const.u32 [%rd1], %r1;", "st.const"},
      {"atom.global.add.f16 %h1, [%rd1], %h2;", "atom.global.add.f16"},
      {"atom.global.add.noftz.f32 %r1, [%rd1], %r2;", "noftz"},
      {"atom.global.min.noftz.f16 %h1, [%rd1], %h2;", "atom.global.min"},
      {"atom.shared.add.v2.f32 {%r1, %r2}, [%rd1], {%r3, %r4};", "atom.shared.add.v2"},
      {"atom.global.exch.b128 %rd1, [%rd2], %rd3;", "b128"},
      {"atom.local.add.u32 %r1, [%rd1], %r2;", "atom.local"},
      {"red.global.cas.b32 [%rd1], %r1, %r2;", "red.global.cas"},
      {"bar.sync 16;", "outside 0 to 15"},
      {"bar.red.xor.pred %p1, 0, %p2;", "bar.red.xor"},
      {"barrier.cluster.arrive;", "barrier.cluster"},
      {"membar.cluster;", "membar.cluster"},
      {"vote.ballot.b32 %r1, %p1;", "vote.ballot"},
      {"prmt.b32.f5e %r1, %r2, %r3, %r4;", "modifier '.f5e'"},
      {"mov.u32 %r1, %nosuch;", "neither declared nor"},
      {"mov.u32 %r1, %clusterid.x;", "'%clusterid.x'"},
      {"add.u32 %r1, %r2, undeclared;", "'undeclared' is not declared"},
      {"add.u32 %r1, %r2, %r99;", "'%r99'"},
      {"add.u32 %r1, %rd2, %r3;", "wrong width"},
      {"add.u32 5, %r2, %r3;", "write to a constant"},
      {"mov.b32 %r1, 0d3ff0000000000000;", "wider than its place"},
      {"@%r1 add.u32 %r1, %r2, %r3;", "predicate register is expected"},
      {"add.u32 %r1, %r2;", "',' expected"},
      {"bra NOWHERE;", "label 'NOWHERE' is not defined"},
      {"call (%r1), nowhere, (%r2);", "function 'nowhere' is not declared"},
      {".surf .u32 x;", "directive '.surf'"},
      {".reg .b32 %r1;\n.reg .b32 %r1;", "declared twice"},
      {".reg .b32 %x; add.u32 %x, %x 1;", "',' expected"},
      {"mov.b64 {%r1, %r2, %r3}, %rd1;", "mov.b64"},
      {"mul.u32 %r1, %r2, %r3;", "mul.u32"},
      {"mul.lo.f32 %r1, %r2, %r3;", "mul.lo.f32"},
      {"bfe.b32 %r1, %r2, %r3, %r4;", "bfe.b32"},
      {"lop3.b32 %r1, %r2, %r3, %r4, 256;", "lop3.b32"},
      {"isspacep.shared::cluster %p1, %rd1;", "isspacep"},
      {"min.xorsign.f32 %r1, %r2, %r3;", "xorsign"},
      {"min.xorsign.abs.f64 %rd1, %rd2, %rd3;", "f64"},
      {"griddepcontrol.wait;", "griddepcontrol"},
      {"mma.sync.aligned.m16n8k16.col.row.f32.f16.f16.f32 {%r1, %r2, %r3, %r4}, {%r1, %r2, %r3, %r4}, {%r1, %r2}, "
       "{%r1, %r2, %r3, %r4};",
       "mma.sync.aligned.m16n8k16.col.row"},
      {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r1, %r2, %r3, %r4}, {%r1, %r2, %r3}, {%r1, %r2}, "
       "{%r1, %r2, %r3, %r4};",
       "does not have 4 registers"},
      {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.f16.f32 {%r1, %r2, %r3, %r4}, {%r1, %r2, %r3, %r4}, {%r1, %r2}, "
       "{%r1, %r2, %r3, %r4};",
       "bf16.f16"},
      {"mma.sync.aligned.m16n8k8.row.col.satfinite.f32.tf32.tf32.f32 {%r1, %r2, %r3, %r4}, {%r1, %r2, %r3, %r4}, "
       "{%r1, %r2}, {%r1, %r2, %r3, %r4};",
       "satfinite"},
      {"mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r1}, {%r1}, {%r1}, {%r1}, %r1, 0;", "modifier '.sp'"},
      {"wmma.load.a.sync.aligned.col.m8n8k32.global.s4 {%r1}, [%rd1], %r2;", "wmma.load.a"},
      {"wmma.load.a.sync.aligned.row.m16n16k16.local.f16 {%r1}, [%rd1], %r2;", "local"},
      {"wmma.mma.sync.aligned.row.col.m16n16k8.f32.f32 {%r1}, {%r1}, {%r1}, {%r1};", "m16n16k8"},
      {"ldmatrix.sync.aligned.m8n8.x3.shared.b16 {%r1, %r2, %r3}, [%r4];", "x3"},
      {"ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%r1, %r2}, [%r4];", "ldmatrix"},
      {"ldmatrix.sync.aligned.m8n8.x1.global.b16 {%r1}, [%rd1];", "global"},
      {"cp.async.cg.shared.global [%r1], [%rd1], 8;", "copies a number of bytes"},
      {"cp.async.ca.shared.global [%r1], [%rd1], %r2;", "copies a number of bytes"},
      {"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1], 16, [%r2];", "cp.async.bulk"},
      {"cp.async.wait_group %r1;", "cp.async.wait_group"},
      {"mbarrier.arrive.expect_tx.shared.b64 %rd1, [%r1], %r2;", "expect_tx"},
      {"mbarrier.init.global.b64 [%rd1], %r1;", "mbarrier.init.global"},
      {"vabsdiff4.s32.s32.s32 %r1, %r2, %r3, %r4;", "vabsdiff4.s32"},
      {"vadd4.u32.u32.u32 %r1, %r2, %r3, %r4;", "opcode 'vadd4'"},
      {"dp2a.s32.s32 %r1, %r2, %r3, %r4;", "dp2a.s32"},
      {"alloca.u64 %rd1, %rd2, 16;", "opcode 'alloca' is not implemented"},
      {"stacksave.u64 %rd1;", "opcode 'stacksave' is not implemented"},
      {"call (%r1), %r2, (%r3);", "not 64 bits wide"},
  };
  for (const auto &one : cases) {
    unsigned line = 0;
    std::string reason = refusal(
        kernel(std::string(".reg .pred %p<4>; .reg .b16 %h<8>; .reg .b32 %r<8>; .reg .b64 %rd<8>;\n\n") + one.body),
        &line);
    EXPECT_NE(reason.find(one.part), std::string::npos) << one.body << " gives: " << reason;
    EXPECT_TRUE(line == 8 || line == 9) << one.body << " line " << line;
  }
}

TEST(PtxRefusal, ModuleLevelFormsThatAreNotImplemented) {
  std::string head = ".version 8.0\n.target sm_86\n.address_size 64\n";
  EXPECT_NE(refusal(""), "");
  EXPECT_NE(refusal(".target sm_86\n").find(".version"), std::string::npos);
  EXPECT_NE(refusal(".version 5.0\n").find("not supported"), std::string::npos);
  EXPECT_NE(refusal(".version 8.0\n.target sm_86\n.address_size 32\n").find("64-bit"), std::string::npos);
  EXPECT_NE(refusal(head + ".alias a, b;\n").find("alias"), std::string::npos);
  EXPECT_NE(refusal(head + ".tex .u64 t;\n").find("tex"), std::string::npos);
  EXPECT_NE(refusal(head + ".visible .entry k() .reqnctapercluster 2 { ret; }\n").find("reqnctapercluster"),
            std::string::npos);
  EXPECT_NE(refusal(head + ".global .u32 x[2] = {1, 2, 3};\n").find("too many values"), std::string::npos);
  EXPECT_EQ(refusal(head + ".global .attribute(.managed) .align 8 .u64 x;\n"), "");
  EXPECT_NE(refusal(head + ".global .attribute(.unified(1, 2)) .u32 x;\n").find("not .managed"), std::string::npos);
  EXPECT_NE(refusal(head + ".const .attribute(.managed) .u32 x;\n").find("attribute"), std::string::npos);
  EXPECT_NE(refusal(head + ".extern .func g();\n.visible .entry k() { call g; ret; }\n").find("not defined"),
            std::string::npos);
  EXPECT_NE(refusal(head + ".func f() { call f; ret; }\n.visible .entry k() { call f; ret; }\n").find("recursive"),
            std::string::npos);
  EXPECT_NE(
      refusal(head + ".extern .global .u32 g;\n.visible .entry k() { .reg .b32 %r; ld.global.u32 %r, [g]; ret; }\n")
          .find("extern"),
      std::string::npos);
  EXPECT_NE(refusal(head + ".visible .entry k() { ret; }\n.visible .entry k() { ret; }\n").find("twice"),
            std::string::npos);
  EXPECT_NE(refusal(head + ".visible .entry k() { /* no end").find("comment"), std::string::npos);
  EXPECT_NE(refusal(head + ".visible .entry k() { ret;").find("ends inside"), std::string::npos);
}

/* A text with a bit of everything, to be damaged. */
std::string sample() {
  return ".version 8.0\n.target sm_86, debug\n.address_size 64\n.file 1 \"a.cu\"\n"
         ".global .align 8 .u64 table[3] = {1, 0x2, later};\n.const .f32 pi = 0f40490fdb;\n.extern .shared .align 4 "
         ".b8 dyn[];\n"
         ".func (.param .b32 out) f(.param .b32 in)\n{\n.reg .b32 %r<4>;\nld.param.u32 %r1, [in];\nadd.u32 %r2, %r1, "
         "1;\n"
         "st.param.b32 [out], %r2;\nret;\n}\n"
         ".visible .entry k(.param .u64 .ptr .global .align 16 p0, .param .align 8 .b8 p1[24])\n.maxntid 128, 1, 1\n{\n"
         ".local .align 8 .b8 depot[16];\n.reg .pred %p<4>;\n.reg .b32 %r<8>;\n.reg .b64 %rd<8>;\n.loc 1 7 3\n"
         "ld.param.u64 %rd1, [p0];\nmov.u32 %r1, %tid.x;\nsetp.lt.and.s32 %p1|%p2, %r1, 5, !%p3;\n@!%p1 bra L1;\n"
         "ts: .branchtargets L1, L2;\nbrx.idx %r1, ts;\nL1: {\n.reg .b32 %x;\n.param .b32 a;\n.param .b32 "
         "b;\nst.param.b32 [a], %r1;\n"
         "call.uni (b), f, (a);\nld.param.b32 %x, [b];\nshfl.sync.bfly.b32 %r2|%p2, %x, 1, 31, -1;\n}\nbar.sync 0;\n"
         "L2: atom.global.add.u32 %r3, [%rd1+4], %r2;\nmov.b64 {%r4, %r5}, %rd1;\nst.local.v2.b32 [depot], {%r4, "
         "%r5};\nret;\n}\n";
}

TEST(PtxRefusal, DamagedTextsNeverCrash) {
  std::string text = sample();
  std::string whole = refusal(text);
  EXPECT_NE(whole.find("later"), std::string::npos); /* so far it is whole except for one name */
  text.replace(text.find("later"), 5, "3    ");
  ASSERT_EQ(refusal(text), "");
  for (size_t length = 0; length < text.size(); length += 3) refusal(text.substr(0, length));
  std::mt19937 random(7);
  auto pick = [&](size_t n) { return static_cast<size_t>(random()) % n; };
  const std::string pieces[] = {
      "{",    "}",   "(",   ")", "[", "]", ";", ",", ":",  "@",  "!",   "%r1", "-1",     "99999999999",
      "0x",   ".b8", ".v4", "+", "<", ">", "=", "|", "\"", "/*", "ret", "%p1", ".param", std::string(1, '\0'),
      "\xff", "::",  "..",  "L1"};
  size_t accepted = 0;
  for (int i = 0; i < 6000; i++) {
    std::string damaged = text;
    for (size_t k = 0; k <= pick(3); k++) {
      size_t at = pick(damaged.size()), length = pick(12);
      switch (pick(4)) {
        case 0:
          damaged.erase(at, length);
          break;
        case 1:
          damaged.insert(at, pieces[pick(std::size(pieces))]);
          break;
        case 2:
          damaged[at] = static_cast<char>(random());
          break;
        default:
          damaged.insert(at, damaged.substr(pick(damaged.size()), pick(60)));
          break;
      }
    }
    std::string reason = refusal(damaged);
    if (reason.empty()) accepted++;
  }
  EXPECT_LT(accepted, 4000u);
  EXPECT_GT(accepted, 0u); /* damage to white space and numbers is none */
}

TEST(PtxRefusal, AcceptedKernelsOfDamagedTextsRunOrFault) {
  /* What is still accepted runs without touching anything that is not its own. */
  std::string text = sample();
  text.replace(text.find("later"), 5, "3    ");
  std::mt19937 random(11);
  auto pick = [&](size_t n) { return static_cast<size_t>(random()) % n; };
  ptx::Memory memory(256);
  int ran = 0;
  for (int i = 0; i < 1500; i++) {
    std::string damaged = text;
    size_t at = pick(damaged.size());
    static const char replacements[] = "0123456789uspbrd";
    damaged[at] = replacements[pick(sizeof replacements - 1)];
    ptx::Module module(damaged);
    if (!module.get() || !module.function("k") || module.function("k")->local_bytes > 1 << 16 ||
        module.function("k")->shared_bytes > 1 << 16)
      continue;
    ran++;
    ptx::Shape shape;
    shape.block[0] = 64;
    shape.dynamic_shared = 64;
    launch(ptx::executors()[0], module.function("k"), shape, {memory.address(), 0, 0, 0});
  }
  EXPECT_GT(ran, 100);
}

}  // namespace
