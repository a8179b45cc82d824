/* See kernels.h. Independent chains, so that the CPU's latencies do not count. */
#include "bench/vgpu/kernels.h"

namespace {

std::string number(int i) { return std::to_string(i); }

std::string repeated(int times,
                     const std::string &line) { /* # stands for the number of the repeat, @ for 128 times it */
  std::string text;
  for (int i = 0; i < times; i++) {
    for (char c : line) text += c == '#' ? number(i) : c == '@' ? number(128 * i) : std::string(1, c);
    text += '\n';
  }
  return text;
}

std::string program(const std::string &before, const std::string &body, const std::string &after = "") {
  return ".version 8.7\n.target sm_86\n.address_size 64\n.visible .entry k(.param .u64 memory, .param .u32 turns) {\n"
         ".reg .b32 %r<128>; .reg .f32 %f<128>; .reg .f64 %d<16>; .reg .b64 %l<32>; .reg .pred %p, %q;\n"
         ".reg .b32 %turn, %turns, %lane;\n.shared .align 16 .b8 tile[8192];\n"
         "ld.param.u64 %l0, [memory];\nld.param.u32 %turns, [turns];\nmov.u32 %lane, %laneid;\n"
         "mul.wide.u32 %l1, %lane, 4;\nadd.u64 %l2, %l0, %l1;\nmov.u32 %turn, 0;\nmov.u32 %r101, 0;\n" +
         repeated(64, "cvt.rn.f32.u32 %f#, %lane;\nadd.u32 %r#, %lane, #;") + before + "LOOP:\n" + body +
         "add.u32 %turn, %turn, 1;\nsetp.lt.u32 %p, %turn, %turns;\n@%p bra LOOP;\n" +
         /* All results count, or the translator would drop them. */
         repeated(64, "cvt.rzi.u32.f32 %r100, %f#;\nxor.b32 %r100, %r100, %r#;\nxor.b32 %r101, %r101, %r100;") + after +
         "st.global.u32 [%l2], %r101;\nret;\n}\n";
}

std::string registers(const char *prefix, int first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; i++) text += (i ? ", " : "") + std::string(prefix) + number(first + i);
  return text + "}";
}

/* Four accumulators, one A, four B: as a product of tiles does. */
BenchKernel matrix(const char *name, const char *form, int a, int b, int k) {
  std::string body, before = repeated(64, "mov.b32 %r#, %lane;"), after;
  for (int i = 0; i < 16; i++) {
    const std::string c = registers("%f", 4 * (i % 4), 4);
    body += std::string("mma.sync.aligned.") + form + " " + c + ", " + registers("%r", 0, a) + ", " +
            registers("%r", 8 + b * (i % 4), b) + ", " + c + ";\n";
  }
  return {name, form, program(before, body, after), 16, 2.0 * 16 * 8 * k};
}

}  // namespace

std::vector<BenchKernel> bench_kernels() {
  std::vector<BenchKernel> list;
  const auto add = [&](const char *name, const char *what, const std::string &ptx, int count, double flops) {
    list.push_back({name, what, ptx, count, flops});
  };
  add("fma", "fma.rn.f32, 16 chains", program("", repeated(16, "fma.rn.f32 %f#, %f#, %f32, %f33;")), 16, 64);
  add("fma shared", "fma.rn.f32 of a value from shared memory and 8 from global memory, as a dense layer has it",
      program("mov.u32 %r72, tile;\nshl.b32 %r71, %lane, 2;\nadd.u32 %r70, %r72, %r71;\n",
              "and.b32 %r80, %turn, 7;\nmad.lo.u32 %r81, %r80, 128, %r70;\nmad.wide.u32 %l10, %r80, 1024, "
              "%l0;\nadd.u64 %l11, %l10, 16;\n" +
                  repeated(4,
                           "ld.shared.f32 %f40, [%r81+@];\n"
                           "ld.global.v4.f32 {%f41, %f42, %f43, %f44}, [%l10+@];\n"
                           "ld.global.v4.f32 {%f45, %f46, %f47, %f48}, [%l11+@];\n"
                           "fma.rn.f32 %f0, %f40, %f41, %f0;\nfma.rn.f32 %f1, %f40, %f42, %f1;\n"
                           "fma.rn.f32 %f2, %f40, %f43, %f2;\nfma.rn.f32 %f3, %f40, %f44, %f3;\n"
                           "fma.rn.f32 %f4, %f40, %f45, %f4;\nfma.rn.f32 %f5, %f40, %f46, %f5;\n"
                           "fma.rn.f32 %f6, %f40, %f47, %f6;\nfma.rn.f32 %f7, %f40, %f48, %f7;")),
      32, 64);
  add("fma f64", "fma.rn.f64, 8 chains",
      program(repeated(10, "cvt.f64.f32 %d#, %f#;"), repeated(8, "fma.rn.f64 %d#, %d#, %d8, %d9;"),
              repeated(8, "cvt.rzi.u32.f64 %r100, %d#;\nxor.b32 %r101, %r101, %r100;")),
      8, 64);
  add("integer", "mad.lo, shf, lop3 and add of 32 bits",
      program("", repeated(8,
                           "mad.lo.s32 %r#, %r#, %r32, %r33;\nshf.l.wrap.b32 %r#, %r#, %r34, 7;\n"
                           "lop3.b32 %r#, %r#, %r35, %r36, 0x96;\nadd.u32 %r#, %r#, %r37;")),
      32, 0);
  add("special", "ex2, lg2, rsqrt, rcp .approx.ftz.f32",
      program("", repeated(4,
                           "ex2.approx.ftz.f32 %f#, %f#;\nlg2.approx.ftz.f32 %f#, %f#;\n"
                           "rsqrt.approx.ftz.f32 %f#, %f#;\nrcp.approx.ftz.f32 %f#, %f#;")),
      16, 0);
  add("shared", "ld.shared and st.shared of neighbouring words, a new address each turn",
      program("mov.u32 %r72, tile;\nshl.b32 %r71, %lane, 2;\nadd.u32 %r70, %r72, %r71;\n",
              "and.b32 %r80, %turn, 7;\nmad.lo.u32 %r81, %r80, 128, %r70;\nadd.u32 %r83, %r81, 2048;\n" +
                  repeated(8, "ld.shared.u32 %r82, [%r81+@];\nadd.u32 %r#, %r#, %r82;\nst.shared.u32 [%r83+@], %r#;")),
      16, 0);
  add("global coalesced", "ld.global of neighbouring words, a new address each time",
      program("", repeated(8,
                           "add.u32 %r80, %turn, #;\nand.b32 %r80, %r80, 1023;\nmad.wide.u32 %l10, %r80, 128, %l2;\n"
                           "ld.global.u32 %r81, [%l10];\nadd.u32 %r#, %r#, %r81;")),
      8, 0);
  add("global scattered", "ld.global of words all over 256 KiB",
      program("", repeated(8,
                           "mad.lo.u32 %r#, %r#, 1664525, 1013904223;\nshr.u32 %r80, %r#, 16;\n"
                           "mad.wide.u32 %l10, %r80, 4, %l0;\nld.global.u32 %r81, [%l10];\nadd.u32 %r#, %r#, %r81;")),
      8, 0);
  add("shuffle", "shfl.sync.bfly", program("", repeated(16, "shfl.sync.bfly.b32 %r#, %r#, 5, 31, 0xffffffff;")), 16, 0);
  std::string branches;
  for (int i = 0; i < 4; i++) {
    branches += "and.b32 %r90, %r" + number(i) + ", 1;\nsetp.ne.u32 %q, %r90, 0;\n@%q bra ODD" + number(i) +
                ";\nmad.lo.u32 %r" + number(i) + ", %r" + number(i) + ", 3, 1;\nbra MEET" + number(i) + ";\nODD" +
                number(i) + ":\nshr.u32 %r" + number(i) + ", %r" + number(i) + ", 1;\nMEET" + number(i) + ":\n";
  }
  add("divergence", "if and else, each by half of the lanes", program("", branches), 4 * 6, 0);
  add("atomics", "red.global.add.u32 to neighbouring words",
      program("", repeated(8, "red.global.add.u32 [%l2+4096], %r#;")), 8, 0);
  list.push_back(matrix("mma tf32", "m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2, 8));
  list.push_back(matrix("mma bf16", "m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2, 16));
  list.push_back(matrix("mma f16", "m16n8k16.row.col.f32.f16.f16.f32", 4, 2, 16));
  return list;
}
