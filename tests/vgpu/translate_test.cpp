/* The translator against the interpreter: kernels as NVRTC compiles them give the same bytes on both, no kernel of the
 * product is left to the interpreter, and kept machine code is used, checked and rebuilt. */
#include <dirent.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>

#include "tests/vgpu/ptx_support.h"

extern "C" {
#include "engine/embedded.h"
#include "engine/jit.h"
#include "engine/vgpu/helpers.h"
#include "engine/vgpu/memory.h"
#include "engine/vgpu/translate.h"
}

namespace {

using ptx::Executor;
using ptx::executors;
using ptx::Memory;
using ptx::Module;
using ptx::Shape;

const Executor *translator() {
  for (const Executor &executor : executors())
    if (executor.name == "translator") return &executor;
  return nullptr;
}

std::string compiled(const std::string &source) {
  struct jit_image image = {};
  const noprop_status status = jit_compile(source.c_str(), "test.cu", 8, 6, false, &image);
  EXPECT_EQ(status, NOPROP_OK) << jit_log();
  if (status != NOPROP_OK) return "";
  std::string text(image.data, image.size);
  std::free(image.data);
  return text;
}

/* Input floats, an output of as many words, and the numbers of both. Every kernel here has this signature:
 * k(const float *in, unsigned *out, int n, int m). */
constexpr int words = 1 << 15;

std::vector<uint32_t> run(const Executor &executor, const Module &module, const Shape &shape, int n, int m) {
  Memory in(words * 4), out(words * 4);
  std::mt19937 random(7);
  for (int i = 0; i < words; i++) in.as<float>()[i] = static_cast<float>(random() % 20001) * 1e-4f - 1.0f;
  std::memset(out.as<void>(), 0, words * 4);
  const uint64_t numbers = static_cast<uint32_t>(n) | static_cast<uint64_t>(static_cast<uint32_t>(m)) << 32;
  EXPECT_EQ(launch(executor, module.function("k"), shape, {in.address(), out.address(), numbers}), "") << executor.name;
  return std::vector<uint32_t>(out.as<uint32_t>(), out.as<uint32_t>() + words);
}

/* Compares all executors with the first. Fails if the translator leaves the kernel to the interpreter, or if the kernel
 * writes nothing, or is not `least` instructions long. */
void same_bytes(const std::string &body, Shape shape, int n, int m, uint32_t least = 0) {
  ASSERT_NE(translator(), nullptr) << "libnoprop_translate.so is missing";
  const std::string text =
      compiled("extern \"C\" __global__ void k(const float *in, unsigned *out, int n, int m) {\n" + body + "\n}\n");
  Module module(text);
  ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
  EXPECT_GE(module.function("k")->instruction_count, least);
  const std::vector<uint32_t> expected = run(executors().front(), module, shape, n, m);
  EXPECT_NE(expected, std::vector<uint32_t>(words)) << "the kernel does nothing";
  for (const Executor &executor : ptx::all_executors()) {
    const std::vector<uint32_t> got = run(executor, module, shape, n, m);
    int shown = 0;
    for (int i = 0; i < words && shown < 3; i++) {
      if (got[i] == expected[i]) continue;
      shown++;
      ADD_FAILURE() << executor.name << ", word " << i << ": " << std::hex << got[i] << " instead of " << expected[i];
    }
  }
}

Shape shape(unsigned grid, unsigned block_x, unsigned block_y = 1, unsigned dynamic_shared = 0) {
  Shape s;
  s.grid[0] = grid;
  s.block[0] = block_x;
  s.block[1] = block_y;
  s.dynamic_shared = dynamic_shared;
  return s;
}

/* ---- shapes of addresses ---- */

TEST(Translate, DenseTileWithBroadcastWeights) {
  same_bytes(R"(
    extern __shared__ float4 memory[];
    float *tile = (float *)memory;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int i = threadIdx.x; i < n * 32; i += 128) tile[i] = in[i];
    __syncthreads();
    float acc[8] = {};
    for (int k = 0; k < n; k++) {
      const float x = tile[k * 32 + lane];
      const float4 a = ((const float4 *)in)[(k * m + warp * 8) / 4], b = ((const float4 *)in)[(k * m + warp * 8) / 4 + 1];
      acc[0] = fmaf(x, a.x, acc[0]); acc[1] = fmaf(x, a.y, acc[1]); acc[2] = fmaf(x, a.z, acc[2]); acc[3] = fmaf(x, a.w, acc[3]);
      acc[4] = fmaf(x, b.x, acc[4]); acc[5] = fmaf(x, b.y, acc[5]); acc[6] = fmaf(x, b.z, acc[6]); acc[7] = fmaf(x, b.w, acc[7]);
    }
    for (int j = 0; j < 8; j++) out[(blockIdx.x * 32 + warp * 8 + j) * 32 + lane] = __float_as_uint(acc[j]);)",
             shape(3, 128, 1, 50 * 128), 50, 32);
}

/* Half-warps with factors of their own, vectors of lanes, and beside the eight sums a number that all lanes share and
 * one of each lane that the loop changes. */
TEST(Translate, LoopsThatCarryMoreThanTheRegistersHold) {
  same_bytes(R"(
    __shared__ float tile[16 * 64];
    const int lane = threadIdx.x & 31, row = lane & 15, part = lane >> 4, warp = threadIdx.x >> 5;
    for (int i = threadIdx.x; i < 16 * 64; i += 64) tile[i] = in[i];
    __syncthreads();
    float acc[8] = {}, shared_sum = 0.0f;
    unsigned mine = lane * 77u;
    const float *weights = in + part * 8 + warp * 16, *pairs = in + 2 * lane;
    for (int k = 0; k < n; k++) {
      const float x = tile[k * 16 + row];
      const float4 a = *(const float4 *)(weights + k * m), b = *(const float4 *)(weights + k * m + 4);
      const float2 pair = *(const float2 *)(pairs + k * 4);
      acc[0] = fmaf(x, a.x, acc[0]); acc[1] = fmaf(x, a.y, acc[1]); acc[2] = fmaf(x, a.z, acc[2]); acc[3] = fmaf(x, a.w, acc[3]);
      acc[4] = fmaf(x, b.x, acc[4]); acc[5] = fmaf(x, b.y, acc[5]); acc[6] = fmaf(pair.x, b.z, acc[6]); acc[7] += pair.y * x;
      shared_sum = shared_sum * 0.5f + in[k];
      mine = mine * 3u + (unsigned)k;
    }
    for (int j = 0; j < 8; j++) out[(warp * 8 + j) * 32 + lane] = __float_as_uint(acc[j]);
    out[1024 + threadIdx.x] = mine;
    out[2048 + threadIdx.x] = __float_as_uint(shared_sum);)",
             shape(1, 64), 61, 32);
}

/* More sums than are run together, and some that need others of this round or the last. */
TEST(Translate, SumsThatFeedOneAnother) {
  same_bytes(R"(
    __shared__ float tile[64 * 32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int i = threadIdx.x; i < 64 * 32; i += 64) tile[i] = in[i];
    __syncthreads();
    float acc[11] = {};
    int rounds = 0;
#pragma unroll 1
    for (int k = 0; k < n; k++) {
      const float x = tile[k * 32 + lane];
      for (int j = 0; j < 9; j++) acc[j] = fmaf(x, in[(k * m + warp * 16) + j], acc[j]);
      acc[1] = fmaf(acc[7], 0.25f, acc[1]);
      acc[9] = fmaf(acc[0], acc[10], x);
      acc[10] = fmaf(acc[9], 0.5f, acc[2]);
      rounds += 3;
    }
    for (int j = 0; j < 11; j++) out[(warp * 11 + j) * 32 + lane] = __float_as_uint(acc[j]);
    out[1024 + threadIdx.x] = rounds + lane;)",
             shape(1, 64), 50, 33);
}

/* Quotients by sums of powers of two, whose NaN is known to be canonical, and by other sums; the powers from subnormal
 * results to infinity. Global memory is read between writes of shared memory. */
TEST(Translate, QuotientsOfPowersAndTheirNaN) {
  same_bytes(R"(
    __shared__ unsigned tile[36 * 64];
    const unsigned bits[16] = {0x7fc12345u, 0xffc00001u, 0x7f800001u, 0x7f800000u, 0xff800000u, 0xc2fc0000u, 0xc2fc0001u,
                               0xc2fbffffu, 0xc2fe0000u, 0xc3160000u, 0x43000000u, 0x42ffffffu, 0x00000001u, 0x80000000u,
                               0xc2fd0000u, 0xc3200001u};
    const unsigned lane = threadIdx.x;
#pragma unroll
    for (int j = 0; j < 12; j++) {
      const float drawn = in[lane + 64 * j] * (j < 6 ? 160.0f : 1.0f);
      const float x = (lane + j) % 3 ? drawn : __uint_as_float(bits[(lane / 3 + j) & 15]);
      const float given = __uint_as_float(__float_as_uint(in[n + j]) | (lane & 1 ? 0x7f800000u : 0u));
      const float shift = j % 4 == 0 ? given : 1.0f;
      float power, sum, quotient, other;
      asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
      asm("add.f32 %0, %1, %2;" : "=f"(sum) : "f"(power), "f"(shift));
      asm("div.approx.f32 %0, %1, %2;" : "=f"(quotient) : "f"(1.0f), "f"(sum));
      asm("div.approx.f32 %0, %1, %2;" : "=f"(other) : "f"(j & 1 ? 0.0f : 1.0f), "f"(j & 1 ? power : x + 1.0f));
      tile[192 * j + lane] = __float_as_uint(power);
      tile[192 * j + 64 + lane] = __float_as_uint(quotient);
      tile[192 * j + 128 + lane] = __float_as_uint(other);
    }
    __syncthreads();
    for (int j = 0; j < 36; j++) out[64 * j + lane] = tile[64 * j + lane];)",
             shape(1, 64), 9, 13);
}

/* The same powers where nothing but 1 is added to them, so that small ones need not be exact, and sums whose factors
 * come four rounds at a time, with addresses that move between them. */
TEST(Translate, SigmoidsOfSumsWithVectorsOfFactors) {
  same_bytes(R"(
    __shared__ float tile[64 * 32];
    const unsigned bits[16] = {0x7fc12345u, 0xffc00001u, 0x7f800001u, 0x7f800000u, 0xff800000u, 0xc2fc0000u, 0xc2fc0001u,
                               0xc2fbffffu, 0xc2fe0000u, 0xc2feffffu, 0x43000000u, 0x42ffffffu, 0x00000001u, 0x80000000u,
                               0xc2fd0000u, 0xc3200001u};
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int i = threadIdx.x; i < 64 * 32; i += 64) tile[i] = in[i];
    __syncthreads();
    float acc[8] = {};
    const float *delta = tile + lane, *weights = in + warp * 8 * m;
#pragma unroll 1
    for (int k = 0; k < n; k += 4, delta += 128, weights += 4) {
      const float d0 = delta[0], d1 = delta[32], d2 = delta[64], d3 = delta[96];
#pragma unroll
      for (int j = 0; j < 8; j++) {
        const float4 w = *(const float4 *)(weights + j * m);
        acc[j] = fmaf(d3, w.w, fmaf(d2, w.z, fmaf(d1, w.y, fmaf(d0, w.x, acc[j]))));
      }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const float x = (lane + j) % 3 ? acc[j] * 40.0f : __uint_as_float(bits[(lane / 3 + j) & 15]);
      float power;
      asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
      out[(warp * 8 + j) * 32 + lane] = __float_as_uint(acc[j] * __fdividef(1.0f, 1.0f + power));
      asm("ex2.approx.f32 %0, %1;" : "=f"(power) : "f"(x));
      out[(16 + warp * 8 + j) * 32 + lane] = __float_as_uint(power - 0.5f);
    })",
             shape(1, 64), 48, 64);
}

/* Straight code on sixteen sums: selections, extremes, approximations, vectors of lanes, an index that the compiler
 * puts together from bytes, and in between numbers that all lanes share. */
TEST(Translate, RunsOfInstructionsOnManyValues) {
  same_bytes(R"(
    extern __shared__ float4 memory[];
    float *tile = (float *)memory;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, at = (warp << 8) | lane;
    float acc[16];
    for (int j = 0; j < 16; j++) acc[j] = in[at + 32 * j] * (j + 1);
    const float scale = in[n], shift = in[m];
    for (int j = 0; j < 16; j++) {
      float a = acc[j] * scale + shift, exponential, logarithm, tangent, root, quotient;
      asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(exponential) : "f"(a * 100.0f));
      asm("lg2.approx.f32 %0, %1;" : "=f"(logarithm) : "f"(a));
      asm("tanh.approx.f32 %0, %1;" : "=f"(tangent) : "f"(a));
      asm("sqrt.approx.f32 %0, %1;" : "=f"(root) : "f"(a));
      asm("div.full.f32 %0, %1, %2;" : "=f"(quotient) : "f"(a), "f"(acc[(j + 1) % 16]));
      const float larger = fmaxf(tangent, root), smaller = fminf(quotient, -logarithm);
      acc[j] = a > 0.25f ? larger + exponential : smaller - fabsf(exponential);
    }
    for (int j = 0; j < 16; j++) tile[at + 1024 * (j / 8) + 32 * (j % 8)] = acc[j];
    __syncthreads();
    for (int j = 0; j < 4; j++)
      ((float4 *)out)[j * 128 + threadIdx.x] = make_float4(acc[j] + 1.0f, acc[j + 4] * 2.0f, acc[j + 8], acc[j + 12] - 1.0f);
    for (int j = 0; j < 4; j++) ((float2 *)(out + 4096))[j * 128 + threadIdx.x] = make_float2(acc[j] * acc[j + 1], acc[j]);
    for (int j = 0; j < 16; j++) out[8192 + j * 128 + threadIdx.x] = __float_as_uint(tile[(threadIdx.x * 5 + j * 128) & 2047]);)",
             shape(2, 128, 1, 2048 * 4), 9, 13);
}

/* Lanes that store what another lane loads in the same straight code see what the warp had before. */
TEST(Translate, LanesThatStoreWhatOthersLoad) {
  same_bytes(R"(
    __shared__ float tile[12 * 64];
    volatile float *never_cached = tile;
    const int lane = threadIdx.x & 31;
    for (int i = lane; i < 12 * 64; i += 32) tile[i] = in[i] + n;
    __syncwarp();
    float *mine = tile + 16 + lane;
    for (int round = 0; round < m; round++) {
      float value[10];
#pragma unroll
      for (int j = 0; j < 10; j++) value[j] = mine[64 * j - 1] * 0.75f;
#pragma unroll
      for (int j = 0; j < 10; j++) mine[64 * j] = value[j] + mine[64 * j + 64 - 9];
    }
    __syncwarp();
    for (int j = 0; j < 20; j++) out[32 * j + lane] = __float_as_uint(never_cached[32 * j + lane]);)",
             shape(1, 32), 2, 5);
}

/* Numbers of addresses are made early in a block, but a clock is read where it stands: here after 600 operations that
 * wait for one another, half a nanosecond each at the least. */
TEST(Translate, ClocksAreReadWhereTheyStand) {
  std::string text = R"(
.version 7.0
.target sm_75
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out, .param .u64 numbers) {
  .reg .b32 %r<4>; .reg .b64 %rd<9>; .reg .f32 %f<4>;
  ld.param.u64 %rd1, [in];
  ld.param.u64 %rd2, [out];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd3, %r1, 4;
  add.s64 %rd4, %rd1, %rd3;
  add.s64 %rd5, %rd2, %rd3;
  mov.u64 %rd6, %clock64;
  ld.global.f32 %f1, [%rd4];
)";
  for (int i = 0; i < 600; i++) text += "  fma.rn.f32 %f1, %f1, %f1, %f1;\n";
  text += R"(
  st.global.f32 [%rd5], %f1;
  mov.u64 %rd7, %clock64;
  sub.s64 %rd8, %rd7, %rd6;
  cvt.u32.u64 %r2, %rd8;
  st.global.b32 [%rd5+512], %r2;
  ret;
})";
  Module module(text);
  ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
  for (const Executor &executor : ptx::all_executors()) {
    uint32_t least = UINT32_MAX; /* of some launches: the first may be interrupted */
    for (int launches = 0; launches < 5; launches++)
      least = std::min(least, run(executor, module, shape(1, 32), 0, 0)[128]);
    EXPECT_GT(least, 300U) << executor.name;
  }
}

/* The accesses of a loop are checked before it runs, the last round's too. */
TEST(Translate, LoopsThatLeaveTheirMemoryInTheLastRound) {
  const std::string text = compiled(R"(extern "C" __global__ void k(const float *in, unsigned *out, int n, int m) {
    float acc[8] = {};
    const float *from = in + threadIdx.x;
    for (int k = 0; k < n; k++, from += m) {
      const float x = from[0], *weights = in + 8 * k;
      for (int j = 0; j < 8; j++) acc[j] = fmaf(x, weights[j], acc[j]);
    }
    for (int j = 0; j < 8; j++) out[32 * j + threadIdx.x] = __float_as_uint(acc[j]);
  })");
  Module module(text);
  ASSERT_NE(module.get(), nullptr) << module.error.line << ": " << module.error.reason;
  const int stride = 64, rounds = words / stride;
  for (const int more : {0, 1}) {
    for (const Executor &executor : ptx::all_executors()) {
      Memory in(words * 4), out(words * 4);
      std::memset(in.as<void>(), 0, words * 4);
      const uint64_t numbers = static_cast<uint32_t>(rounds + more) | static_cast<uint64_t>(stride) << 32;
      const std::string message =
          launch(executor, module.function("k"), shape(1, 32), {in.address(), out.address(), numbers});
      EXPECT_EQ(message.empty(), more == 0) << executor.name << ": " << message;
      EXPECT_EQ(message.find("invalid read of 4 bytes") != std::string::npos, more == 1)
          << executor.name << ": " << message;
    }
  }
}

TEST(Translate, RowsWithStridesAndAPartialTile) {
  same_bytes(R"(
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, row = blockIdx.x * 32 + lane;
    __shared__ float rows[32 * 33];
    for (int j = warp; j < 10; j += 4) rows[lane * 33 + j] = row < n ? in[row * 10 + j] : 0.0f;
    __syncthreads();
    float sum = 0;
    for (int r = 0; r < 32; r++) sum += rows[r * 33 + min(lane, m)];
    if (row < n) for (int j = warp; j < 10; j += 4) out[row * 10 + j] = __float_as_uint(rows[lane * 33 + j] + sum);)",
             shape(4, 128), 117, 9);
}

TEST(Translate, VectorsOfLanesAndOfBytes) {
  same_bytes(R"(
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned char *bytes = (const unsigned char *)in;
    const float4 v = ((const float4 *)in)[i];
    ((uint4 *)out)[2 * i] = make_uint4(__float_as_uint(v.w), bytes[i], ((const signed char *)in)[3 * i], ((const short *)in)[i]);
    ((unsigned char *)out)[32 * i + 17] = (unsigned char)i;
    ((ushort2 *)out)[8 * i + 5] = make_ushort2(i, ~i);)",
             shape(5, 96), 0, 0);
}

TEST(Translate, VectorsAtAddressesWithoutAPattern) {
  same_bytes(R"(
    const unsigned i = threadIdx.x + blockIdx.x * 32u, at = i * i * 37u + i & 255u;
    const float2 two = ((const float2 *)in)[at];
    const float4 four = ((const float4 *)in)[at ^ 5u];
    const uchar2 bytes = ((const uchar2 *)in)[3 * at];
    short4 shorts = make_short4(1, 2, 3, 4);
    if (i % 5u != (unsigned)m) shorts = ((const short4 *)in)[at];
    const unsigned to = i * 37u & 255u;
    ((float2 *)out)[to] = make_float2(two.y, four.w + bytes.y);
    if (i % 3u != (unsigned)n) ((uint4 *)(out + 1024))[to] = make_uint4(bytes.x, shorts.w, __float_as_uint(four.x), i);
    ((uchar4 *)(out + 4096))[to] = make_uchar4(i, bytes.x, shorts.x, 7);
    if (i & 8u) ((ushort2 *)(out + 5000))[to] = make_ushort2(shorts.y, i);)",
             shape(6, 32), 1, 2);
}

TEST(Translate, IndicesThatWrapAroundInLanesThatDoNotLoad) {
  same_bytes(R"(
    const unsigned i = threadIdx.x + blockIdx.x * 32u, before = i - (unsigned)n;
    float x = 0;
    if (i >= (unsigned)n) x = in[before];
    for (int s = 0; s < 3; s++) if (i % 3u == (unsigned)s) x += in[(i * 7u + s) & 1023u];
    out[i] = __float_as_uint(x);
    out[4096 + (i * 2654435761u >> 20)] = i / 2 * 2;)",
             shape(6, 32), 45, 0);
}

TEST(Translate, LocalArraysAndGenericPointers) {
  same_bytes(R"(
    __shared__ float shared[128];
    float mine[12];
    const int t = threadIdx.x;
    shared[t] = in[t];
    for (int i = 0; i < 12; i++) mine[i] = in[t + i];
    __syncthreads();
    const float *p = (t & m) ? shared : (t % 3 == 0 ? in + 64 : mine);
    float sum = 0;
    for (int i = 0; i < n; i++) sum += p[(t + i) % 12] * mine[(t * i) % 12];
    mine[t % 12] = sum;
    out[t] = __float_as_uint(mine[(t + 1) % 12] + sum);)",
             shape(1, 128), 9, 4);
}

/* ---- control flow ---- */

TEST(Translate, DivergentLoopsWithBreaksAndEarlyReturns) {
  same_bytes(R"(
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = in[i];
    int steps = 0;
    while (x * x < 30.0f) {
      x = fmaf(x, 1.3f, in[(i + steps) % 500]);
      if (++steps > m) break;
      if ((steps & 3) == 2) continue;
      for (int k = 0; k < (i & 7); k++) { x += 0.25f; if (x > 4.0f) goto done; }
    }
  done:
    if (steps == 5) return;
    out[2 * i] = __float_as_uint(x);
    out[2 * i + 1] = steps;)",
             shape(7, 160), 1000, 20);
}

TEST(Translate, BarriersInLoopsAndAfterLanesHaveEnded) {
  same_bytes(R"(
    __shared__ float box[4];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    float total = 0;
    for (int round = 0; round < n; round++) {
      float x = in[round * 128 + threadIdx.x];
      for (int distance = 16; distance; distance >>= 1) x += __shfl_xor_sync(~0u, x, distance);
      if (lane == 0) box[warp] = x;
      __syncthreads();
      total += box[(warp + round) & 3];
      __syncthreads();
    }
    if (threadIdx.x >= m) return;
    __syncthreads();
    out[blockIdx.x * 128 + threadIdx.x] = __float_as_uint(total);)",
             shape(3, 128), 6, 64);
}

TEST(Translate, BlocksOfTwoDimensionsAndOfPartialWarps) {
  const char *body = R"(
    const int t = threadIdx.y * blockDim.x + threadIdx.x;
    __shared__ unsigned sum;
    if (t == 0) sum = 0;
    __syncthreads();
    atomicAdd(&sum, (unsigned)(threadIdx.x * 3 + threadIdx.y));
    const unsigned votes = __ballot_sync(__activemask(), in[t] > 0.0f);
    __syncthreads();
    out[(blockIdx.x * blockDim.y * blockDim.x + t) * 2] = sum;
    out[(blockIdx.x * blockDim.y * blockDim.x + t) * 2 + 1] = votes + threadIdx.x + 100 * threadIdx.y;)";
  for (auto block : {std::make_pair(8u, 16u), {64u, 2u}, {12u, 5u}, {4u, 3u}, {33u, 3u}, {100u, 1u}, {1u, 70u}}) {
    SCOPED_TRACE(std::to_string(block.first) + " x " + std::to_string(block.second));
    same_bytes(body, shape(2, block.first, block.second), 0, 0);
  }
}

TEST(Translate, ShufflesVotesAndAtomics) {
  same_bytes(R"(
    const int lane = threadIdx.x & 31, i = blockIdx.x * 64 + threadIdx.x;
    float x = in[i];
    float y = __shfl_down_sync(~0u, x, 3) + __shfl_up_sync(~0u, x, 5) + __shfl_sync(~0u, x, lane * 7 + n) + __shfl_sync(~0u, x, m, 8);
    if (__any_sync(~0u, x > 0.9f)) y += 1.0f;
    if (__all_sync(~0u, x > -0.99f)) y += 2.0f;
    unsigned bits = __ballot_sync(~0u, x < 0.0f) ^ __match_any_sync(~0u, lane / 3) ^ __reduce_add_sync(~0u, lane);
    if (lane % 3) bits += __ballot_sync(0xdb6db6db6ull & ~0u & __activemask(), lane & 4);
    atomicAdd(&out[8192], lane);
    atomicMax((int *)&out[8193], i);
    atomicAdd((float *)&out[8194], 0.5f);
    atomicExch(&out[8200 + (i & 63)], i);
    out[2 * i] = __float_as_uint(y);
    out[2 * i + 1] = bits;)",
             shape(2, 64), 3, 5);
}

/* ---- arithmetic ---- */

TEST(Translate, MathFunctionsOfTheToolkit) {
  same_bytes(R"(
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float x = in[i] * n, y = in[i + 1];
    const float r[16] = {expf(x), logf(fabsf(x)), sinf(x), cosf(1e5f * x), tanhf(x), erff(x), powf(fabsf(x), y), sqrtf(fabsf(x)),
                         rsqrtf(fabsf(x)), x / y, fmodf(x, y), log1pf(fabsf(x)), expm1f(x), cbrtf(x), __expf(x), atan2f(x, y)};
    for (int j = 0; j < 16; j++) out[i * 16 + j] = __float_as_uint(r[j]);)",
             shape(4, 128), 40, 0);
}

/* Above 3,000 instructions what is done often becomes functions of the module: vectors of two and four numbers for each
 * lane, with all lanes and with some, gathers, scatters, approximations, and mma, of which some share operands and sums
 * and some do not. */
TEST(Translate, LargeKernelsCallFunctions) {
  same_bytes(R"(
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    float sum[8][4] = {}, other = 0.0f;
    const bool some = (threadIdx.x * 7 + blockIdx.x) % 5 < 3;
#pragma unroll
    for (int i = 0; i < 76; ++i) {
      const float4 four = ((const float4 *)in)[i * 64 + threadIdx.x];
      const float2 two = ((const float2 *)in)[i * 64 + threadIdx.x];
      unsigned a[4] = {__float_as_uint(four.x), __float_as_uint(two.x), __float_as_uint(four.y), __float_as_uint(two.y)};
      float exponential, logarithm, tangent;
      asm("ex2.approx.f32 %0, %1;" : "=f"(exponential) : "f"(four.z * (200.0f * i - 6000.0f)));
      asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(logarithm) : "f"(two.x));
      asm("tanh.approx.f32 %0, %1;" : "=f"(tangent) : "f"(four.w * 3.0f));
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float *d = sum[(i + j) % 8], *c = i % 9 == 8 ? sum[(i + 1) % 8] : d;
        const unsigned b = __float_as_uint(j % 2 ? tangent : four.z);
        float r[4];
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, "
            "%11, %12, %13};"
            : "=f"(r[0]), "=f"(r[1]), "=f"(r[2]), "=f"(r[3])
            : "r"(a[j]), "r"(a[(j + 1) % 4]), "r"(a[2]), "r"(a[3]), "r"(b), "r"(a[j]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
              "f"(c[3]));
        for (int k = 0; k < 4; ++k) d[k] = r[k];
      }
      other += exponential + logarithm + in[(__float_as_uint(four.x) >> 3) % 8192];
      if (some) {
        const float4 more = ((const float4 *)in)[i * 32 + 11 + threadIdx.x];
        const float2 pair = ((const float2 *)in)[i * 32 + 5 + threadIdx.x];
        ((float4 *)out)[i % 32 * 64 + threadIdx.x] = make_float4(more.w, pair.y, more.x, tangent);
        ((float2 *)out)[4096 + i % 32 * 64 + threadIdx.x] = make_float2(more.z, pair.x);
        out[16384 + (lane * 37 + i * 64) % 1152 + warp * 1152] += i;
      }
      ((float4 *)(out + 20480))[i % 4 * 64 + threadIdx.x] = make_float4(exponential, logarithm, tangent, other);
    }
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < 4; ++k) out[24576 + ((warp * 8 + j) * 4 + k) * 32 + lane] = __float_as_uint(sum[j][k]);)",
             shape(1, 64), 0, 0, 3001);
}

TEST(Translate, IntegersAndDoubles) {
  same_bytes(R"(
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned a = __float_as_uint(in[i]), b = __float_as_uint(in[i + 7]);
    const int s = (int)a >> (b & 31);
    const unsigned long long w = (unsigned long long)a * b + ((unsigned long long)s << 17);
    const double d = (double)in[i] * 1e3 + (double)(long long)w, q = d / 7.0 + sqrt(fabs(d)) + exp(in[i]);
    const unsigned r[16] = {a / 7u, a % (b | 1u), (unsigned)(s / (int)(b | 1u)), (unsigned)(w % 1000003ull), __umulhi(a, b), (unsigned)(w >> 33),
                            __popc(a), __clz(b), __brev(a), __byte_perm(a, b, 0x2541), __funnelshift_l(a, b, s), (unsigned)__double2ll_rz(q),
                            (unsigned)__double_as_longlong(q), (unsigned)(__double_as_longlong(q) >> 32), (unsigned)__float2int_rn(in[i] * 1e10f),
                            (unsigned)(i / n * m + i % n)};
    for (int j = 0; j < 16; j++) out[i * 16 + j] = r[j];)",
             shape(4, 128), 10, 33);
}

/* ---- the product's kernels ---- */

TEST(Translate, EveryCompiledKernelOfTheProduct) {
  ASSERT_NE(translator(), nullptr) << "libnoprop_translate.so is missing";
  int kernels = 0;
  for (int i = 0; const struct embedded_file *file = embedded_at(i); i++) {
    const std::string name = file->name;
    if (name.size() < 4 || name.compare(name.size() - 4, 4, ".ptx") != 0) continue;
    Module module(std::string(reinterpret_cast<const char *>(file->data)));
    ASSERT_NE(module.get(), nullptr) << name << ", line " << module.error.line << ": " << module.error.reason;
    for (uint32_t f = 0; f < module.get()->function_count; f++) {
      const ptx_function *function = &module.get()->functions[f];
      const unsigned block[3] = {128, 1, 1};
      std::string reason;
      void *code = translator()->prepare(function, block, &reason);
      EXPECT_NE(code, nullptr) << name << ": " << reason;
      if (code) translator()->discard(code);
      kernels++;
    }
  }
  EXPECT_GT(kernels, 0);
}

/* ---- the folder of kept code ---- */

class TranslateCache : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/translate-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = std::string(name) + "/made/here";
    parent_ = name;
    void *library = dlopen(NOPROP_BINARY_DIR "/libnoprop_translate.so", RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << dlerror();
    static const vgpu_translator_host host = {VGPU_TRANSLATOR_VERSION, VGPU_AVX512, vgpu_memory_contains,
                                              vgpu_scratch_reserve, &vgpu_helpers};
    char reason[240] = "";
    auto get = reinterpret_cast<vgpu_translator_function>(dlsym(library, VGPU_TRANSLATOR_SYMBOL));
    translator_ = get(&host, reason, sizeof reason);
    ASSERT_NE(translator_, nullptr) << reason;
    module_ = std::make_unique<Module>(
        compiled("extern \"C\" __global__ void k(unsigned *out) { out[threadIdx.x] = threadIdx.x * 3 + 1; }"));
    ASSERT_NE(module_->get(), nullptr);
  }
  void TearDown() override {
    for (const std::string &file : files()) unlink((folder_ + "/" + file).c_str());
    rmdir(folder_.c_str());
    rmdir((parent_ + "/made").c_str());
    rmdir(parent_.c_str());
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    if (DIR *open = opendir(folder_.c_str())) {
      while (const dirent *entry = readdir(open))
        if (entry->d_name[0] != '.') names.push_back(entry->d_name);
      closedir(open);
    }
    return names;
  }
  /* Translates and runs one block of 64 threads. */
  void works() {
    const ptx_function *function = module_->function("k");
    const unsigned block[3] = {64, 1, 1}, ctaid[3] = {0, 0, 0};
    char reason[240] = "";
    void *code = translator_->translate(function, block, folder_.c_str(), reason, sizeof reason);
    ASSERT_NE(code, nullptr) << reason;
    Memory out(256);
    alignas(16) uint64_t params[2] = {out.address(), 0};
    vgpu_launch launch = {};
    launch.function = function;
    launch.code = code;
    for (int i = 0; i < 3; i++) launch.grid[i] = 1, launch.block[i] = block[i];
    launch.params = params;
    launch.param_bytes = sizeof params;
    vgpu_scratch scratch = {};
    vgpu_fault fault = {};
    EXPECT_EQ(translator_->run_block(&launch, &scratch, ctaid, 0, &fault), 0) << fault.text;
    for (unsigned i = 0; i < 64; i++) EXPECT_EQ(out.as<uint32_t>()[i], 3 * i + 1);
    vgpu_scratch_release(&scratch);
    translator_->discard(code);
  }
  std::string folder_, parent_;
  const vgpu_translator *translator_ = nullptr;
  std::unique_ptr<Module> module_;
};

TEST_F(TranslateCache, KeepsOneFilePerKernelAndUsesIt) {
  works();
  ASSERT_EQ(files().size(), 1u);
  struct stat before, after;
  ASSERT_EQ(stat((folder_ + "/" + files()[0]).c_str(), &before), 0);
  works();
  ASSERT_EQ(files().size(), 1u);
  ASSERT_EQ(stat((folder_ + "/" + files()[0]).c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino) << "written again instead of used";
}

TEST_F(TranslateCache, RebuildsDamagedAndTruncatedFiles) {
  works();
  ASSERT_EQ(files().size(), 1u);
  const std::string path = folder_ + "/" + files()[0];
  std::string good;
  {
    std::ifstream file(path, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  for (size_t at : {size_t{0}, size_t{9}, size_t{30}, good.size() / 2, good.size() - 1}) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    std::ofstream(path, std::ios::binary) << damaged;
    works();
    std::ifstream file(path, std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()), good)
        << "byte " << at;
  }
  for (size_t length : {size_t{0}, size_t{20}, good.size() - 1}) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << good.substr(0, length);
    works();
    std::ifstream file(path, std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()), good)
        << length << " bytes";
  }
}

TEST_F(TranslateCache, WorksWhereNothingCanBeKept) {
  folder_ = "/proc/nothing/can/be/written/here";
  works();
}

}  // namespace
