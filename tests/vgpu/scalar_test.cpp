/* Second opinions: random PTX programs, and kernels as NVRTC compiles them, give the same bytes on every executor and
 * on the scalar interpreter, which was written from the PTX manual and shares no code with them.
 *
 * More programs than the usual run:  NOPROP_RANDOM_PROGRAMS=100000 [NOPROP_RANDOM_SEED=first] test_vgpu
 * --gtest_filter='RandomPrograms*'. A program that fails is reduced and printed. */
#include "tests/vgpu/scalar.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "tests/vgpu/ptx_support.h"
#include "tests/vgpu/random_program.h"

extern "C" {
#include "engine/embedded.h"
#include "engine/jit.h"
}

namespace {

using ptx::Executor;
using ptx::executors;
using ptx::Memory;
using random_program::Program;

using Bytes = std::vector<unsigned char>;

/* Integers of all sizes in the first half; then floats and doubles, none of them NaN. */
Bytes input(uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x9e3779b97f4a7c15);
  Bytes bytes(Program::in_bytes);
  for (size_t i = 0; i < 256; i++) {
    const uint64_t word = random() >> (random() % 4 ? random() % 64 : 0);
    std::memcpy(&bytes[8 * i], &word, 8);
  }
  for (size_t i = 0; i < 256; i++) {
    uint32_t word = static_cast<uint32_t>(random());
    const uint32_t exponent = random() % 8 ? 120 + random() % 16 : random() % 255;
    word = (word & 0x807fffff) | exponent << 23;
    if (random() % 16 == 0) word = random() % 2 ? 0x7f800000 : 0x80000000;
    std::memcpy(&bytes[2048 + 4 * i], &word, 4);
  }
  for (size_t i = 0; i < 128; i++) {
    uint64_t word = random();
    const uint64_t exponent = random() % 8 ? 1015 + random() % 16 : random() % 2047;
    word = (word & 0x800fffffffffffff) | exponent << 52;
    std::memcpy(&bytes[3072 + 8 * i], &word, 8);
  }
  return bytes;
}

struct Setting {
  Memory in{Program::in_bytes}, sums{Program::sum_bytes}, out{Program::out_bytes_each * 3 * 128};
  std::vector<uint64_t> params;
  size_t out_bytes;
  explicit Setting(const Program &program, uint64_t seed)
      : out_bytes(Program::out_bytes_each * program.grid * program.block) {
    const Bytes bytes = input(seed);
    std::memcpy(in.as<void>(), bytes.data(), bytes.size());
    params = {in.address(), out.address(), sums.address(), seed % 1000};
  }
  void reset() {
    std::memset(out.as<void>(), 0x11, out_bytes);
    std::memcpy(sums.as<void>(), in.as<void>(), Program::sum_bytes);
  }
  Bytes results() const {
    Bytes bytes(out.as<unsigned char>(), out.as<unsigned char>() + out_bytes);
    bytes.insert(bytes.end(), sums.as<unsigned char>(), sums.as<unsigned char>() + Program::sum_bytes);
    return bytes;
  }
};

/* Differences between the executor and the scalar interpreter; "" if there are none. With `right`, the executor gets
 * the text with `wrong` in its place. */
std::string difference(const Executor &executor, const Program &program, uint64_t seed, const std::string &right = "",
                       const std::string &wrong = "") {
  static Setting *kept = nullptr; /* allocations cost more than a small program */
  delete kept;
  kept = new Setting(program, seed);
  Setting &setting = *kept;
  const std::string text = program.module();
  setting.reset();
  try {
    scalar::Module module(text);
    scalar::Launch launch = {
        {program.grid, 1, 1}, {program.block, 1, 1}, program.dynamic_shared, setting.params.data(), 32};
    module.run("k", launch);
  } catch (const scalar::Error &error) {
    return std::string("the scalar interpreter: ") + error.what();
  }
  const Bytes expected = setting.results();
  setting.reset();
  std::string changed = text;
  for (size_t at = 0; !right.empty() && (at = changed.find(right, at)) != std::string::npos; at += wrong.size())
    changed.replace(at, right.size(), wrong);
  ptx::Module module(changed);
  if (!module.get()) return std::string("line ") + std::to_string(module.error.line) + ": " + module.error.reason;
  ptx::Shape shape;
  shape.grid[0] = program.grid;
  shape.block[0] = program.block;
  shape.dynamic_shared = program.dynamic_shared;
  const std::string fault = ptx::launch(executor, module.function("k"), shape, setting.params);
  if (!fault.empty()) return executor.name + ": " + fault;
  const Bytes got = setting.results();
  std::string text_of;
  int shown = 0;
  for (size_t i = 0; i < got.size() && shown < 6; i += 4) {
    if (std::memcmp(&got[i], &expected[i], 4) == 0) continue;
    uint32_t a, b;
    std::memcpy(&a, &got[i], 4);
    std::memcpy(&b, &expected[i], 4);
    char line[160];
    if (i < setting.out_bytes)
      std::snprintf(line, sizeof line, "thread %zu, out+%zu: %08x, scalar %08x\n", i / Program::out_bytes_each,
                    i % Program::out_bytes_each, a, b);
    else
      std::snprintf(line, sizeof line, "sums+%zu: %08x, scalar %08x\n", i - setting.out_bytes, a, b);
    text_of += line;
    shown++;
  }
  return text_of;
}

unsigned long from_environment(const char *name, unsigned long otherwise) {
  const char *value = std::getenv(name);
  return value ? std::strtoul(value, nullptr, 10) : otherwise;
}

/* What the translator leaves to the interpreter. */
bool is_left(const std::string &found) { return found.find("not prepared") != std::string::npos; }

void compare(const Executor &executor, unsigned long count) {
  const unsigned long first = from_environment("NOPROP_RANDOM_SEED", 1);
  count = from_environment("NOPROP_RANDOM_PROGRAMS", count);
  unsigned long left = 0;
  for (unsigned long seed = first; seed < first + count; seed++) {
    const Program program = random_program::generate(seed);
    const std::string found = difference(executor, program, seed);
    if (found.empty()) continue;
    if (executor.name == "translator" && is_left(found)) {
      left++;
      continue;
    }
    const Program small = random_program::reduce(program, [&](const Program &p) {
      const std::string again = difference(executor, p, seed);
      /* Leaving out a label that is still branched to is no find. */
      return !again.empty() && !is_left(again) && again.find("is not defined") == std::string::npos;
    });
    FAIL() << "seed " << seed << " on " << executor.name << ", block " << program.block << ", grid " << program.grid
           << "\n"
           << difference(executor, small, seed) << small.module();
  }
  EXPECT_LE(left, count / 3) << "programs that the translator left to the interpreter";
}

TEST(RandomPrograms, AreTheSameProgramsInEveryRun) {
  EXPECT_EQ(random_program::generate(7).module(), random_program::generate(7).module());
  EXPECT_NE(random_program::generate(7).module(), random_program::generate(8).module());
}

TEST(RandomPrograms, BaselineInterpreter) { compare(executors().front(), 800); }

TEST(RandomPrograms, WiderInterpreters) {
  for (const Executor &executor : executors())
    if (executor.name.rfind("interpreter", 0) == 0 && &executor != &executors().front()) compare(executor, 300);
}

TEST(RandomPrograms, Translator) {
  for (const Executor &executor : executors())
    if (executor.name == "translator") return compare(executor, 12);
  GTEST_SKIP() << "the translator is not built";
}

/* The comparison can fail: an executor that took one instruction for a similar one would be found. */
TEST(RandomPrograms, FindAWrongInstruction) {
  static const struct {
    const char *right, *wrong;
  } mistakes[] = {{" add.rz.f32", " add.rn.f32"},
                  {" fma.rm.f32", " fma.rn.f32"},
                  {" mul.rp.f64", " mul.rm.f64"},
                  {" max.f32", " min.f32"},
                  {" mul.hi.s32", " mul.hi.u32"},
                  {" mad.hi.u32", " mad.hi.s32"},
                  {" mul24.hi.s32", " mul24.hi.u32"},
                  {" shr.s32", " shr.u32"},
                  {" bfe.s32", " bfe.u32"},
                  {" bfe.u64", " bfe.s64"},
                  {" sad.s32", " sad.u32"},
                  {" min.s64", " min.u64"},
                  {" rem.s64", " rem.u64"},
                  {" addc.u32", " add.u32"},
                  {" bfind.s32", " bfind.u32"},
                  {" prmt.b32.ecl", " prmt.b32.ecr"},
                  {" shf.l.clamp", " shf.l.wrap"},
                  {" setp.ltu.f32", " setp.lt.f32"},
                  {" set.lt.u32.s32", " set.lt.u32.u32"},
                  {" cvt.sat.s16.u32", " cvt.s16.u32"},
                  {" cvt.rzi.s32.f32", " cvt.rni.s32.f32"},
                  {" ld.global.s8", " ld.global.u8"},
                  {" shfl.sync.down", " shfl.sync.bfly"},
                  {" vote.sync.all", " vote.sync.any"},
                  {" atom.global.inc", " atom.global.add"},
                  {" red.global.max.s32", " red.global.max.u32"},
                  {" brx.idx %tr, T", " xor.b32 %tr, %tr, 1; brx.idx %tr, T"},
                  {" @!%p1 bra ELSE", " @%p1 bra ELSE"}};
  std::vector<std::string> texts(1500);
  for (size_t i = 0; i < texts.size(); i++) texts[i] = random_program::generate(i + 1).module();
  for (const auto &mistake : mistakes) {
    int tried = 0;
    bool found = false;
    for (size_t i = 0; i < texts.size() && !found; i++) {
      if (texts[i].find(mistake.right) == std::string::npos) continue;
      tried++;
      found = !difference(executors().front(), random_program::generate(i + 1), i + 1, mistake.right, mistake.wrong)
                   .empty();
    }
    EXPECT_TRUE(found) << mistake.right << " taken for" << mistake.wrong << " is not noticed by " << tried
                       << " programs";
  }
}

/* ---- kernels as a compiler writes them ---- */

std::string compiled(const std::string &body) {
  const std::string source =
      "extern \"C\" __global__ void k(const float *in, unsigned *out, int n, int m) {\n" + body + "\n}\n";
  struct jit_image image = {};
  const noprop_status status = jit_compile(source.c_str(), "test.cu", 8, 6, false, &image);
  EXPECT_EQ(status, NOPROP_OK) << jit_log();
  if (status != NOPROP_OK) return "";
  std::string text(image.data, image.size);
  std::free(image.data);
  return text;
}

/* All executors against the scalar interpreter, bit for bit: the kernels use nothing approximate. */
void same_bytes(const std::string &body, unsigned grid, unsigned block, int n, int m) {
  constexpr int words = 1 << 14;
  const std::string text = compiled(body);
  ptx::Module module(text);
  ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
  Memory in(words * 4), out(words * 4);
  std::mt19937 random(11);
  for (int i = 0; i < words; i++) in.as<float>()[i] = static_cast<float>(random() % 20001) * 1e-4f - 1.0f;
  const std::vector<uint64_t> params = {
      in.address(), out.address(), static_cast<uint32_t>(n) | static_cast<uint64_t>(static_cast<uint32_t>(m)) << 32};
  std::memset(out.as<void>(), 0, words * 4);
  scalar::Module opinion(text);
  const scalar::Launch launch = {{grid, 1, 1}, {block, 1, 1}, 0, params.data(), 24};
  EXPECT_GT(opinion.run("k", launch), uint64_t{grid} * block);
  const std::vector<uint32_t> expected(out.as<uint32_t>(), out.as<uint32_t>() + words);
  EXPECT_NE(expected, std::vector<uint32_t>(words)) << "the kernel does nothing";
  for (const Executor &executor : executors()) {
    std::memset(out.as<void>(), 0, words * 4);
    ptx::Shape shape;
    shape.grid[0] = grid;
    shape.block[0] = block;
    EXPECT_EQ(ptx::launch(executor, module.function("k"), shape, params), "") << executor.name;
    const std::vector<uint32_t> got(out.as<uint32_t>(), out.as<uint32_t>() + words);
    EXPECT_EQ(got, expected) << executor.name;
  }
}

TEST(ScalarOpinion, TiledProductAndReductions) {
  same_bytes(R"(
    __shared__ float tile[32 * 33], partial[4];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, row = blockIdx.x * 32 + lane;
    for (int j = warp; j < 32; j += 4) tile[lane * 33 + j] = in[row * m + j];
    __syncthreads();
    float sum = 0;
    for (int k = 0; k < 32; k++) sum = fmaf(tile[k * 33 + lane], in[(warp * 32 + k) % n], sum);
    float all = sum;
    for (int d = 16; d > 0; d /= 2) all += __shfl_xor_sync(0xffffffff, all, d);
    if (lane == 0) partial[warp] = all;
    __syncthreads();
    const unsigned votes = __ballot_sync(0xffffffff, sum > partial[(warp + 1) & 3]);
    out[blockIdx.x * 256 + threadIdx.x] = __float_as_uint(sum + partial[lane & 3]);
    out[blockIdx.x * 256 + 128 + threadIdx.x] = votes + __popc(votes & ((1u << lane) - 1));
    if (lane < 5) atomicAdd(&out[8000 + lane], votes);)",
             6, 128, 100, 37);
}

TEST(ScalarOpinion, NumbersOfManyWidths) {
  same_bytes(R"(
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned a = __float_as_uint(in[i]), b = __float_as_uint(in[i + 700]);
    const unsigned long long w = (unsigned long long)a << 32 | b;
    const double q = (double)in[i] * 1e9 + b;
    struct { unsigned x, y; } memory[8];
    for (int k = 0; k < 8; k++) memory[k].x = a >> k, memory[k].y = b * k;
    unsigned h = 0;
    for (int k = 0; k < (int)(b & 15); k++) { h = h * 31 + memory[(a >> k) & 7].x; if (h & 1024) break; h ^= memory[h & 7].y; }
    const unsigned r[12] = {a / (b | 1u), (unsigned)(w % 1000003ull), __umulhi(a, b), (unsigned)((long long)w / (int)(b | 1u)),
                            __byte_perm(a, b, 0x2541), __funnelshift_r(a, b, a), (unsigned)__double2ll_rz(q), __float_as_uint(__fdiv_rz(in[i], in[i + 3])),
                            (unsigned)__double_as_longlong(sqrt(q * q)), __float_as_uint(__fmaf_ru(in[i], in[i + 9], in[i + 1])), h, (unsigned)(signed char)a * (unsigned short)b};
    switch (a % 5) { case 0: h += 3; break; case 1: h *= 7; break; case 2: h ^= b; break; case 3: h = ~h; break; default: h >>= 3; }
    for (int j = 0; j < 12; j++) out[i * 13 + j] = r[j];
    out[i * 13 + 12] = h;)",
             4, 96, 10, 33);
}

/* What the benchmarks compare with: every kernel that the product ships compiled. */
TEST(ScalarOpinion, ReadsTheProductsKernels) {
  int files = 0;
  for (int i = 0; const struct embedded_file *file = embedded_at(i); i++) {
    const std::string name = file->name;
    if (name.size() < 4 || name.compare(name.size() - 4, 4, ".ptx") != 0) continue;
    EXPECT_NO_THROW(scalar::Module(reinterpret_cast<const char *>(file->data))) << name;
    files++;
  }
  EXPECT_GT(files, 0);
}

}  // namespace
