/* mma, wmma, ldmatrix, stmatrix and movmatrix. Fragments of mma are put together here from the manual's formulas, form
 * by form, as it states them; wmma is compared with plain loops over the matrices. Products of small integers, whose
 * sums are exact in any order, are compared exactly; products of random numbers with a chain of fused operations in the
 * order that matrix.h states. */
#include <cmath>
#include <cstring>
#include <random>

#include "tests/vgpu/narrow_format.h"
#include "tests/vgpu/ptx_support.h"

using ptx::Executor;
using ptx::kernel;
using ptx::Memory;
using ptx::Module;
using ptx::Shape;

namespace {

using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

struct Type {
  const char *name;
  int bits;
};
const Type f16 = {"f16", 16}, bf16 = {"bf16", 16}, tf32 = {"tf32", 32}, f32 = {"f32", 32}, f64 = {"f64", 64},
           s8 = {"s8", 8}, u8 = {"u8", 8}, s4 = {"s4", 4}, u4 = {"u4", 4}, b1 = {"b1", 1}, s32 = {"s32", 32},
           e4m3 = {"e4m3", 8}, e5m2 = {"e5m2", 8};

bool is(const Type &a, const Type &b) { return std::strcmp(a.name, b.name) == 0; }

/* An element's bits from a number, which the type holds exactly or as the nearest. */
u64 encode(const Type &type, double x) {
  if (is(type, f16)) return narrow::half().convert(x, narrow::Mode::nearest);
  if (is(type, bf16)) return narrow::brain().convert(x, narrow::Mode::nearest);
  if (is(type, tf32)) return u64(narrow::tf32().convert(x, narrow::Mode::nearest)) << 13;
  if (is(type, e4m3)) return narrow::e4m3().convert(x, narrow::Mode::nearest);
  if (is(type, e5m2)) return narrow::e5m2().convert(x, narrow::Mode::nearest);
  if (is(type, f32)) return ptx::bits(static_cast<float>(x));
  if (is(type, f64)) return ptx::bits(x);
  const u64 mask = type.bits == 64 ? ~u64(0) : (u64(1) << type.bits) - 1;
  return static_cast<u64>(static_cast<int64_t>(x)) & mask;
}

double decode(const Type &type, u64 bits) {
  if (is(type, f16)) return narrow::half().number(bits & 0xffff);
  if (is(type, bf16)) return narrow::brain().number(bits & 0xffff);
  if (is(type, tf32)) return ptx::f32(bits & 0xffffe000);
  if (is(type, e4m3)) return narrow::e4m3().number(bits & 0xff);
  if (is(type, e5m2)) return narrow::e5m2().number(bits & 0xff);
  if (is(type, f32)) return ptx::f32(bits);
  if (is(type, f64)) return ptx::f64(bits);
  const int spare = 64 - type.bits;
  const bool sign = type.name[0] == 's';
  return sign ? static_cast<double>(static_cast<int64_t>(bits << spare) >> spare)
              : static_cast<double>(bits << spare >> spare);
}

struct Place {
  int row, column;
};

/* ---- the manual's fragments ---- */

/* Element i of lane l; g: groupID, t: threadID_in_group. Each branch is one figure of the manual. */
Place place_a(int m, int k, int bits, int l, int i) {
  const int g = l >> 2, t = l % 4;
  if (m == 8) { /* m8n8k16 .s8, m8n8k32 .s4, m8n8k128 .b1, m8n8k4 .f64 */
    if (bits == 64) return {g, t};
    return {g, t * (32 / bits) + i};
  }
  if (bits == 64) { /* .f64 with 16 rows */
    if (k == 4) return {i == 0 ? g : g + 8, t};
    if (k == 8) return {i % 2 == 0 ? g : g + 8, i < 2 ? t : t + 4};
    return {i % 2 == 0 ? g : g + 8, i % 2 == 0 ? i * 2 + t : i * 2 - 2 + t};
  }
  if (bits == 32) { /* .tf32 */
    if (k == 4) return {i == 0 ? g : g + 8, t};
    return {i == 0 || i == 2 ? g : g + 8, i == 0 || i == 1 ? t : t + 4};
  }
  if (bits == 16) {
    if (k == 8) return {i < 2 ? g : g + 8, t * 2 + (i & 1)};
    const bool first = (i >= 0 && i < 2) || (i >= 4 && i < 6);
    return {first ? g : g + 8, i < 4 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8};
  }
  if (bits == 8) {
    if (k == 16) return {i < 4 ? g : g + 8, t * 4 + (i & 3)};
    const bool first = (i >= 0 && i < 4) || (i >= 8 && i < 12);
    return {first ? g : g + 8, i < 8 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16};
  }
  if (bits == 4) {
    if (k == 32) return {i < 8 ? g : g + 8, t * 8 + (i & 7)};
    const bool first = (i >= 0 && i < 8) || (i >= 16 && i < 24);
    return {first ? g : g + 8, i < 16 ? t * 8 + (i & 7) : t * 8 + (i & 7) + 32};
  }
  if (k == 128) return {i < 32 ? g : g + 8, t * 32 + (i & 31)};
  const bool first = (i >= 0 && i < 32) || (i >= 64 && i < 96);
  return {first ? g : g + 8, i < 64 ? t * 32 + (i & 31) : t * 32 + (i & 31) + 128};
}

Place place_b(int k, int bits, int l, int i) {
  const int g = l >> 2, t = l % 4;
  switch (bits) {
    case 64:
      return {k == 4 ? t : t + 4 * i, g};
    case 32:
      return {i == 0 ? t : t + 4, g};
    case 16:
      return {i < 2 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8, g};
    case 8:
      return {i < 4 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16, g};
    case 4:
      return {i < 8 ? t * 8 + (i & 7) : t * 8 + (i & 7) + 32, g};
    default:
      return {i < 32 ? t * 32 + (i & 31) : t * 32 + (i & 31) + 128, g};
  }
}

Place place_c(int m, int l, int i) {
  const int g = l >> 2, t = l % 4;
  if (m == 8) return {g, t * 2 + (i & 1)};
  return {i < 2 ? g : g + 8, t * 2 + (i & 1)};
}

/* ---- running ---- */

/* Runs the module's kernel of one warp; every executor takes every form. */
void run(const Executor &executor, const Module &module, const std::vector<u64> &params, std::string *fault) {
  *fault = ptx::launch(executor, module.function("k"), {}, params);
}

/* Registers of all lanes, packed from elements of the type. */
std::vector<u64> pack(const Type &type, int elements, const std::function<u64(int, int)> &element) {
  const int each = type.bits == 64 ? 1 : 32 / type.bits, count = (elements + each - 1) / each;
  std::vector<u64> registers(static_cast<size_t>(count) * 32);
  for (int l = 0; l < 32; l++)
    for (int i = 0; i < elements; i++)
      registers[static_cast<size_t>(i / each * 32 + l)] |= element(l, i)
                                                           << (type.bits == 64 ? 0 : type.bits * (i % each));
  return registers;
}

std::string list(const char *name, size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; i++) text += std::string(i ? ", %" : "%") + name + std::to_string(i);
  return text + "}";
}

/* d, of `results` registers, of one mma on every executor. */
void run_mma(const std::string &instruction, const std::vector<u64> &a, const std::vector<u64> &b,
             const std::vector<u64> &c, bool wide, size_t results,
             const std::function<void(const Executor &, const std::vector<u64> &)> &check) {
  const size_t counts[3] = {a.size() / 32, b.size() / 32, c.size() / 32};
  const char *names[3] = {"a", "b", "c"};
  const std::string type = wide ? "b64" : "b32";
  std::string text = ".reg .b64 %x<4>; .reg .b32 %n<2>; .reg ." + type +
                     " %a<16>, %b<16>, %c<16>, %d<16>;\n"
                     "ld.param.u64 %x0, [p0]; ld.param.u64 %x1, [p1]; mov.u32 %n0, %laneid;\n"
                     "mul.wide.u32 %x2, %n0, 8; add.u64 %x0, %x0, %x2; add.u64 %x1, %x1, %x2;\n";
  size_t at = 0;
  for (int k = 0; k < 3; k++)
    for (size_t i = 0; i < counts[k]; i++, at++)
      text += "ld.global." + type + " %" + names[k] + std::to_string(i) + ", [%x0+" + std::to_string(256 * at) + "];\n";
  text += instruction + " " + list("d", results) + ", " + list("a", counts[0]) + ", " + list("b", counts[1]) + ", " +
          list("c", counts[2]) + ";\n";
  for (size_t i = 0; i < results; i++)
    text += "st.global." + type + " [%x1+" + std::to_string(256 * i) + "], %d" + std::to_string(i) + ";\n";
  Module module(kernel(text, 2));
  ASSERT_STREQ(module.error.reason, "") << instruction;
  Memory in(at * 256), out(results * 256);
  std::memcpy(in.as<void>(), a.data(), a.size() * 8);
  std::memcpy(in.as<u64>() + a.size(), b.data(), b.size() * 8);
  std::memcpy(in.as<u64>() + a.size() + b.size(), c.data(), c.size() * 8);
  for (const Executor &executor : ptx::executors()) {
    std::memset(out.as<void>(), 0, results * 256);
    std::string fault;
    run(executor, module, {in.address(), out.address()}, &fault);
    ASSERT_EQ(fault, "") << instruction << " on " << executor.name;
    check(executor, std::vector<u64>(out.as<u64>(), out.as<u64>() + results * 32));
  }
}

struct Form {
  std::string shape;
  int m, k;
  Type d, a, b, c;
  std::string tail;
};

bool integer(const Form &form) { return is(form.d, s32); }

using Matrix = std::vector<std::vector<double>>;

/* The chain of matrix.h, or the exact sum of integers. */
u64 element_of(const Form &form, const Matrix &a, const Matrix &b, const Matrix &c, int i, int j) {
  const auto row = static_cast<size_t>(i), column = static_cast<size_t>(j);
  const auto depth = static_cast<size_t>(form.k);
  if (integer(form)) {
    __extension__ __int128 sum = static_cast<int64_t>(c[row][column]);
    for (size_t k = 0; k < depth; k++) {
      const auto x = static_cast<int64_t>(a[row][k]), y = static_cast<int64_t>(b[k][column]);
      sum += form.tail.find("and") != std::string::npos   ? (x & y)
             : form.tail.find("xor") != std::string::npos ? (x ^ y)
                                                          : x * y;
    }
    if (form.tail.find("satfinite") != std::string::npos)
      sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    return static_cast<u32>(sum);
  }
  if (is(form.a, f64)) {
    double sum = c[row][column];
    for (size_t k = 0; k < depth; k++) sum = std::fma(a[row][k], b[k][column], sum);
    return ptx::bits(sum);
  }
  auto sum = static_cast<float>(c[row][column]);
  for (size_t k = 0; k < depth; k++)
    sum = std::fma(static_cast<float>(a[row][k]), static_cast<float>(b[k][column]), sum);
  return std::isnan(sum) && is(form.d, f32) ? 0x7fffffff : encode(form.d, static_cast<double>(sum));
}

enum class Numbers { small, random, special };

u64 random_element(const Type &type, Numbers numbers, std::mt19937_64 &random) {
  const bool whole = type.name[0] == 's' || type.name[0] == 'u' || type.name[0] == 'b';
  const bool brain = is(type, bf16);
  if (is(type, s32))
    return numbers == Numbers::small ? static_cast<u32>(static_cast<int>(random() % 201) - 100)
                                     : static_cast<u32>(random());
  if (whole && !brain) return random() & ((u64(1) << type.bits) - 1);
  if (numbers == Numbers::small) return encode(type, static_cast<double>(random() % 9) - 4);
  if (numbers == Numbers::special && random() % 5 == 0) {
    const double list[] = {INFINITY, -INFINITY, NAN, 0.0, -0.0, 1e-7, 1e38, -1e38};
    return encode(type, list[random() % 8]);
  }
  const double x = std::ldexp(static_cast<double>(random() % 2000001) - 1e6, static_cast<int>(random() % 9) - 22);
  u64 bits = encode(type, x);
  if (is(type, tf32)) bits |= random() & 0x1fff; /* bits that are not read */
  return bits;
}

void check_form(const Form &form) {
  std::mt19937_64 random(std::hash<std::string>{}(form.shape + form.tail + form.a.name + form.b.name));
  const std::string instruction = "mma.sync.aligned." + form.shape + ".row.col" +
                                  (form.tail == ".satfinite" ? form.tail : "") + "." + form.d.name + "." + form.a.name +
                                  "." + form.b.name + "." + form.c.name + (form.tail == ".satfinite" ? "" : form.tail);
  const auto rows = static_cast<size_t>(form.m), depth = static_cast<size_t>(form.k);
  for (Numbers numbers : {Numbers::small, Numbers::random, Numbers::special}) {
    std::vector<std::vector<u64>> a(rows, std::vector<u64>(depth)), b(depth, std::vector<u64>(8)),
        c(rows, std::vector<u64>(8));
    Matrix da(rows, std::vector<double>(depth)), db(depth, std::vector<double>(8)), dc(rows, std::vector<double>(8));
    auto fill = [&](std::vector<std::vector<u64>> &bits, Matrix &values, const Type &type) {
      for (size_t i = 0; i < bits.size(); i++)
        for (size_t j = 0; j < bits[i].size(); j++) {
          bits[i][j] = random_element(type, numbers, random);
          values[i][j] = decode(type, bits[i][j]);
        }
    };
    fill(a, da, form.a), fill(b, db, form.b), fill(c, dc, form.c);
    auto at = [](const std::vector<std::vector<u64>> &matrix, Place place) {
      return matrix[static_cast<size_t>(place.row)][static_cast<size_t>(place.column)];
    };
    const std::vector<u64> fa = pack(form.a, form.m * form.k / 32,
                                     [&](int l, int i) { return at(a, place_a(form.m, form.k, form.a.bits, l, i)); });
    const std::vector<u64> fb =
        pack(form.b, 8 * form.k / 32, [&](int l, int i) { return at(b, place_b(form.k, form.b.bits, l, i)); });
    const std::vector<u64> fc = pack(form.c, form.m / 4, [&](int l, int i) { return at(c, place_c(form.m, l, i)); });
    const size_t results = static_cast<size_t>(form.m) / (is(form.d, f16) ? 8 : 4);
    run_mma(instruction, fa, fb, fc, is(form.a, f64), results,
            [&](const Executor &executor, const std::vector<u64> &d) {
              int shown = 0;
              for (int l = 0; l < 32; l++)
                for (int i = 0; i < form.m / 4; i++) {
                  const Place place = place_c(form.m, l, i);
                  const u64 expected = element_of(form, da, db, dc, place.row, place.column);
                  const auto index = static_cast<size_t>(is(form.d, f16) ? i / 2 * 32 + l : i * 32 + l);
                  const u64 got = is(form.d, f16) ? d[index] >> (16 * (i % 2)) & 0xffff : d[index];
                  const bool nan = is(form.d, f64) && std::isnan(ptx::f64(got)) && std::isnan(ptx::f64(expected));
                  if (got == expected || nan || shown++ >= 2) continue;
                  ADD_FAILURE() << instruction << " on " << executor.name << ": lane " << l << " element " << i
                                << " is 0x" << std::hex << got << ", expected 0x" << expected;
                }
            });
  }
}

TEST(PtxMatrix, MmaOfHalves) {
  for (const Type &to : {f16, f32}) {
    check_form({"m16n8k8", 16, 8, to, f16, f16, to, ""});
    check_form({"m16n8k16", 16, 16, to, f16, f16, to, ""});
  }
}
TEST(PtxMatrix, MmaOfBrainFloats) {
  check_form({"m16n8k8", 16, 8, f32, bf16, bf16, f32, ""});
  check_form({"m16n8k16", 16, 16, f32, bf16, bf16, f32, ""});
}
TEST(PtxMatrix, MmaOfTf32) {
  check_form({"m16n8k4", 16, 4, f32, tf32, tf32, f32, ""});
  check_form({"m16n8k8", 16, 8, f32, tf32, tf32, f32, ""});
}
TEST(PtxMatrix, MmaOfDoubles) {
  check_form({"m8n8k4", 8, 4, f64, f64, f64, f64, ""});
  for (int k : {4, 8, 16}) check_form({"m16n8k" + std::to_string(k), 16, k, f64, f64, f64, f64, ""});
}
TEST(PtxMatrix, MmaOfEightBitFloats) {
  for (const Type &a : {e4m3, e5m2})
    for (const Type &b : {e4m3, e5m2})
      for (const Type &to : {f16, f32}) check_form({"m16n8k32", 16, 32, to, a, b, to, ""});
}
TEST(PtxMatrix, MmaOfIntegers) {
  for (const char *tail : {"", ".satfinite"}) {
    for (const Type &a : {s8, u8})
      for (const Type &b : {s8, u8}) {
        check_form({"m8n8k16", 8, 16, s32, a, b, s32, tail});
        check_form({"m16n8k16", 16, 16, s32, a, b, s32, tail});
        check_form({"m16n8k32", 16, 32, s32, a, b, s32, tail});
      }
    for (const Type &a : {s4, u4})
      for (const Type &b : {s4, u4}) {
        check_form({"m8n8k32", 8, 32, s32, a, b, s32, tail});
        check_form({"m16n8k32", 16, 32, s32, a, b, s32, tail});
        check_form({"m16n8k64", 16, 64, s32, a, b, s32, tail});
      }
  }
}
TEST(PtxMatrix, MmaOfBits) {
  for (const char *tail : {".xor.popc", ".and.popc"}) {
    check_form({"m8n8k128", 8, 128, s32, b1, b1, s32, tail});
    check_form({"m16n8k128", 16, 128, s32, b1, b1, s32, tail});
    check_form({"m16n8k256", 16, 256, s32, b1, b1, s32, tail});
  }
}

/* Four products, of the quad pairs {0-3, 16-19}, {4-7, 20-23}, ... */
TEST(PtxMatrix, MmaOfQuadPairs) {
  std::mt19937_64 random(3);
  for (const char *a_layout : {"row", "col"})
    for (const char *b_layout : {"row", "col"})
      for (const auto &types : {std::make_pair(f16, f16), std::make_pair(f32, f32), std::make_pair(f32, f16)}) {
        const Type to = types.first, from = types.second;
        double a[4][8][4], b[4][4][8], c[4][8][8];
        auto any = [&](const Type &type) { return decode(type, random_element(type, Numbers::random, random)); };
        for (int q = 0; q < 4; q++)
          for (int i = 0; i < 8; i++) {
            for (int k = 0; k < 4; k++) a[q][i][k] = any(f16), b[q][k][i] = any(f16);
            for (int j = 0; j < 8; j++) c[q][i][j] = any(from);
          }
        auto number = [](int l) { return l % 16 / 4; };
        const bool a_row = a_layout[0] == 'r', b_row = b_layout[0] == 'r';
        auto fa = pack(f16, 4, [&](int l, int i) { /* row: the lane's row; col: column lane % 4 */
                                                   const int row = a_row ? (l < 16 ? l % 4 : l % 4 + 4)
                                                                         : (l < 16 ? i % 4 : i % 4 + 4),
                                                             column = a_row ? i : l % 4;
                                                   return encode(f16, a[number(l)][row][column]);
        });
        auto fb = pack(f16, 4, [&](int l, int i) {
          const int row = b_row ? l % 4 : i, column = b_row ? (l < 16 ? i : i + 4) : (l < 16 ? l % 4 : l % 4 + 4);
          return encode(f16, b[number(l)][row][column]);
        });
        auto place = [](const Type &type, int l, int i) -> Place {
          if (is(type, f16)) return {l < 16 ? l % 4 : l % 4 + 4, i};
          const int x = (l & 1) + (i & 2);
          return {l < 16 ? x : x + 4, (i & 4) + (l & 2) + (i & 1)};
        };
        auto fc = pack(from, 8, [&](int l, int i) {
          const Place at = place(from, l, i);
          return encode(from, c[number(l)][at.row][at.column]);
        });
        const std::string instruction = std::string("mma.sync.aligned.m8n8k4.") + a_layout + "." + b_layout + "." +
                                        to.name + ".f16.f16." + from.name;
        run_mma(instruction, fa, fb, fc, false, is(to, f16) ? 4 : 8,
                [&](const Executor &executor, const std::vector<u64> &d) {
                  for (int l = 0; l < 32; l++)
                    for (int i = 0; i < 8; i++) {
                      const Place at = place(to, l, i);
                      const int q = number(l);
                      auto sum = static_cast<float>(c[q][at.row][at.column]);
                      for (int k = 0; k < 4; k++)
                        sum =
                            std::fma(static_cast<float>(a[q][at.row][k]), static_cast<float>(b[q][k][at.column]), sum);
                      const auto index = static_cast<size_t>(is(to, f16) ? i / 2 * 32 + l : i * 32 + l);
                      const u64 got = is(to, f16) ? d[index] >> (16 * (i % 2)) & 0xffff : d[index];
                      ASSERT_EQ(got, encode(to, static_cast<double>(sum)))
                          << instruction << " on " << executor.name << " lane " << l << " element " << i;
                    }
                });
      }
}

TEST(PtxMatrix, MmaNeedsTheWholeWarp) {
  Module module(
      kernel(".reg .b32 %r<12>; .reg .pred %p; mov.u32 %r0, %laneid; setp.lt.u32 %p, %r0, 31;\n"
             "@%p mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r1, %r2}, {%r3, %r4}, {%r5}, {%r6, %r7};"));
  ASSERT_STREQ(module.error.reason, "");
  Memory out(64);
  for (const Executor &executor : ptx::executors()) {
    std::string fault;
    run(executor, module, {out.address()}, &fault);
    EXPECT_NE(fault.find("PTX line 7"), std::string::npos) << executor.name << ": " << fault;
  }
}

/* ---- wmma ---- */

struct Wmma {
  int m, n, k;
  Type ab, c, d;
  std::string tail;
};

int fragment_registers(const Wmma &form, char which) {
  const bool a = which == 'a', b = which == 'b';
  const Type &type = a || b ? form.ab : which == 'c' ? form.c : form.d;
  if ((a || b) && is(type, f16)) return 8;
  const int rows = b ? form.k : form.m, columns = a ? form.k : form.n;
  return rows * columns / 32 * type.bits / (type.bits == 64 ? 64 : 32);
}

/* A matrix in memory, rows (or columns) `stride` elements apart. */
struct Stored {
  std::vector<unsigned char> bytes;
  int bits, stride;
  bool column;
  size_t position(int i, int j) const {
    return static_cast<size_t>(column ? j * stride + i : i * stride + j) * static_cast<size_t>(bits);
  }
  void set(int i, int j, u64 value) {
    const size_t at = position(i, j);
    if (bits >= 8)
      std::memcpy(&bytes[at / 8], &value, static_cast<size_t>(bits) / 8);
    else
      bytes[at / 8] = static_cast<unsigned char>(bytes[at / 8] | value << at % 8);
  }
  u64 get(int i, int j) const {
    u64 value = 0;
    std::memcpy(&value, &bytes[position(i, j) / 8], static_cast<size_t>(bits) / 8);
    return value;
  }
};

Stored matrix(int rows, int columns, const Type &type, bool column, int more) {
  Stored stored;
  stored.bits = type.bits;
  stored.column = column;
  stored.stride = (column ? rows : columns) + more;
  stored.bytes.resize(
      static_cast<size_t>(stored.stride * (column ? columns : rows)) * static_cast<size_t>(type.bits) / 8 + 64);
  return stored;
}

void check_wmma(const Wmma &form, const char *a_layout, const char *b_layout, const char *c_layout, const char *space) {
  std::mt19937_64 random(5);
  const std::string shape = "m" + std::to_string(form.m) + "n" + std::to_string(form.n) + "k" + std::to_string(form.k);
  const bool small = form.ab.bits < 8;
  const int more = small ? 4 * 32 / form.ab.bits : 16;
  Stored a = matrix(form.m, form.k, form.ab, a_layout[0] == 'c', more),
         b = matrix(form.k, form.n, form.ab, b_layout[0] == 'c', more);
  Stored c = matrix(form.m, form.n, form.c, c_layout[0] == 'c', 8);
  const Stored d = matrix(form.m, form.n, form.d, c_layout[0] == 'c', 8);
  std::vector<std::vector<double>> da(static_cast<size_t>(form.m), std::vector<double>(static_cast<size_t>(form.k)));
  auto db =
      std::vector<std::vector<double>>(static_cast<size_t>(form.k), std::vector<double>(static_cast<size_t>(form.n)));
  auto dc =
      std::vector<std::vector<double>>(static_cast<size_t>(form.m), std::vector<double>(static_cast<size_t>(form.n)));
  auto fill = [&](Stored &stored, Matrix &values, const Type &type) {
    for (size_t i = 0; i < values.size(); i++)
      for (size_t j = 0; j < values[i].size(); j++) {
        const u64 bits = random_element(type, Numbers::small, random);
        stored.set(static_cast<int>(i), static_cast<int>(j), bits);
        values[i][j] = decode(type, bits);
      }
  };
  fill(a, da, form.ab), fill(b, db, form.ab), fill(c, dc, form.c);
  const bool wide = is(form.ab, f64), shared = std::strcmp(space, ".shared") == 0;
  const std::string reg = wide ? "b64" : "b32";
  const char *names[] = {"a", "b", "c"};
  const Stored *stored[] = {&a, &b, &c};
  const char *layouts[] = {a_layout, b_layout, c_layout};
  const Type *types[] = {&form.ab, &form.ab, &form.c};
  std::string text =
      ".reg .b64 %x<6>; .reg .b32 %n<6>; .reg .b32 %w; .reg .pred %p; .reg ." + reg + " %a<8>, %b<8>, %c<8>, %d<8>;\n";
  for (int i = 0; i < 4; i++) text += "ld.param.u64 %x" + std::to_string(i) + ", [p" + std::to_string(i) + "];\n";
  if (shared) { /* lane 0 copies A into shared memory */
    text +=
        "mov.u32 %n0, %laneid; setp.ne.u32 %p, %n0, 0; @%p bra COPIED; mov.u32 %n1, 0;\n"
        "LOOP: cvt.u64.u32 %x4, %n1; add.u64 %x4, %x4, %x0; ld.global.u32 %w, [%x4]; mov.u32 %n2, tile; add.u32 %n2, "
        "%n2, %n1;\n"
        "st.shared.u32 [%n2], %w; add.u32 %n1, %n1, 4; setp.lt.u32 %p, %n1, " +
        std::to_string(a.bytes.size()) +
        "; @%p bra LOOP;\n"
        "COPIED: bar.warp.sync 0xffffffff; mov.u32 %n2, tile;\n";
  }
  for (int k = 0; k < 3; k++) {
    const std::string address = k == 0 && shared ? "%n2" : "%x" + std::to_string(k);
    text += std::string("wmma.load.") + names[k] + ".sync.aligned." + layouts[k] + "." + shape +
            (k == 0 ? space : ".global") + "." + types[k]->name + " " +
            list(names[k], static_cast<size_t>(fragment_registers(form, *names[k]))) + ", [" + address + "], " +
            std::to_string(stored[k]->stride) + ";\n";
  }
  const std::string kinds =
      is(form.ab, f16) ? std::string(".") + form.d.name + "." + form.c.name
                       : std::string(".") + form.d.name + "." + form.ab.name + "." + form.ab.name + "." + form.c.name;
  const bool popc = is(form.ab, b1);
  text += "wmma.mma" + (popc ? form.tail : "") + ".sync.aligned." + a_layout + "." + b_layout + "." + shape + kinds +
          (popc ? "" : form.tail) + " " + list("d", static_cast<size_t>(fragment_registers(form, 'd'))) + ", " +
          list("a", static_cast<size_t>(fragment_registers(form, 'a'))) + ", " +
          list("b", static_cast<size_t>(fragment_registers(form, 'b'))) + ", " +
          list("c", static_cast<size_t>(fragment_registers(form, 'c'))) + ";\n";
  text += std::string("wmma.store.d.sync.aligned.") + c_layout + "." + shape + ".global." + form.d.name + " [%x3], " +
          list("d", static_cast<size_t>(fragment_registers(form, 'd'))) + ", " + std::to_string(d.stride) + ";\n";
  Module module(kernel(text, 4, ".shared .align 32 .b8 tile[" + std::to_string(a.bytes.size()) + "];\n"));
  ASSERT_STREQ(module.error.reason, "") << text << " line " << module.error.line;
  Memory ma(a.bytes.size()), mb(b.bytes.size()), mc(c.bytes.size()), md(d.bytes.size());
  std::memcpy(ma.as<void>(), a.bytes.data(), a.bytes.size());
  std::memcpy(mb.as<void>(), b.bytes.data(), b.bytes.size());
  std::memcpy(mc.as<void>(), c.bytes.data(), c.bytes.size());
  Form product = {shape, form.m, form.k, form.d, form.ab, form.ab, form.c, form.tail};
  for (const Executor &executor : ptx::executors()) {
    std::memset(md.as<void>(), 0x55, d.bytes.size());
    std::string fault;
    run(executor, module, {ma.address(), mb.address(), mc.address(), md.address()}, &fault);
    ASSERT_EQ(fault, "") << text << executor.name;
    Stored got = d;
    std::memcpy(got.bytes.data(), md.as<void>(), d.bytes.size());
    for (int i = 0; i < form.m; i++)
      for (int j = 0; j < form.n; j++)
        ASSERT_EQ(got.get(i, j), element_of(product, da, db, dc, i, j))
            << text << executor.name << ": row " << i << " column " << j;
    /* Between the rows nothing is written. */
    u64 untouched = 0;
    const int lines = d.column ? form.n : form.m, length = d.column ? form.m : form.n;
    for (int line = 0; line + 1 < lines; line++)
      for (int e = length; e < d.stride; e++)
        for (int byte = 0; byte < d.bits / 8; byte++)
          untouched += got.bytes[static_cast<size_t>((line * d.stride + e) * d.bits / 8 + byte)] != 0x55;
    EXPECT_EQ(untouched, 0u) << text;
  }
}

void check_layouts(const Wmma &form) {
  const bool small = form.ab.bits < 8;
  for (const char *a_layout : {"row", "col"})
    for (const char *b_layout : {"row", "col"}) {
      if (small && (a_layout[0] == 'c' || b_layout[0] == 'r')) continue;
      const bool same = a_layout[0] == b_layout[0];
      check_wmma(form, a_layout, b_layout, same ? "row" : "col", same ? ".shared" : ".global");
      if (!same) check_wmma(form, a_layout, b_layout, "row", "");
    }
}

struct Extent {
  int m, n, k;
} const extents[] = {{16, 16, 16}, {32, 8, 16}, {8, 32, 16}};

TEST(PtxMatrix, WmmaOfHalves) {
  for (const Extent &e : extents)
    for (const Type &c : {f16, f32})
      for (const Type &d : {f16, f32}) check_layouts({e.m, e.n, e.k, f16, c, d, ""});
}
TEST(PtxMatrix, WmmaOfBrainFloatsAndTf32) {
  for (const Extent &e : extents) check_layouts({e.m, e.n, e.k, bf16, f32, f32, ""});
  check_layouts({16, 16, 8, tf32, f32, f32, ""});
}
TEST(PtxMatrix, WmmaOfDoubles) { check_layouts({8, 8, 4, f64, f64, f64, ".rn"}); }
TEST(PtxMatrix, WmmaOfIntegers) {
  for (const Extent &e : extents)
    for (const Type &type : {s8, u8}) check_layouts({e.m, e.n, e.k, type, s32, s32, e.m == 8 ? ".satfinite" : ""});
  for (const Type &type : {s4, u4}) check_layouts({8, 8, 32, type, s32, s32, ".satfinite"});
  for (const char *tail : {".xor.popc", ".and.popc"}) check_layouts({8, 8, 128, b1, s32, s32, tail});
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */

TEST(PtxMatrix, RowsOfMatricesToAndFromSharedMemory) {
  for (int count : {1, 2, 4})
    for (bool transpose : {false, true}) {
      const std::string n = std::to_string(count), trans = transpose ? ".trans" : "";
      const std::string registers = list("r", static_cast<size_t>(count));
      /* Rows are 48 bytes apart; those of matrix q are given by lanes 8q..8q+7. */
      std::string text =
          ".reg .b32 %r<4>, %n<8>; .reg .b64 %x<4>; .reg .pred %p;\n"
          "ld.param.u64 %x0, [p0]; ld.param.u64 %x1, [p1]; mov.u32 %n0, %laneid;\n"
          "mov.u32 %n1, in; mad.lo.u32 %n2, %n0, 48, %n1; mul.wide.u32 %x2, %n0, 48; add.u64 %x2, %x2, %x0;\n";
      for (int i = 0; i < 48; i += 4)
        text +=
            "ld.global.u32 %n3, [%x2+" + std::to_string(i) + "]; st.shared.u32 [%n2+" + std::to_string(i) + "], %n3;\n";
      text += "bar.warp.sync 0xffffffff;\n";
      /* Lanes whose addresses are not used give one that must not be read. */
      text += "setp.ge.u32 %p, %n0, " + std::to_string(8 * count) + "; @%p mov.u32 %n2, 0x7fffff01;\n";
      text += "ldmatrix.sync.aligned.m8n8.x" + n + trans + ".shared.b16 " + registers + ", [%n2+16];\n";
      text += "mul.wide.u32 %x3, %n0, 4; add.u64 %x3, %x3, %x1;\n";
      for (int q = 0; q < count; q++)
        text += "st.global.u32 [%x3+" + std::to_string(128 * q) + "], %r" + std::to_string(q) + ";\n";
      /* and back, to other rows */
      text += "mov.u32 %n4, out; mad.lo.u32 %n5, %n0, 48, %n4; mov.u32 %n6, %n5; @%p mov.u32 %n6, 0x7fffff01;\n";
      text += "stmatrix.sync.aligned.m8n8.x" + n + trans + ".shared.b16 [%n6+16], " + registers +
              ";\nbar.warp.sync 0xffffffff;\n";
      for (int i = 0; i < 48; i += 4)
        text += "ld.shared.u32 %n3, [%n5+" + std::to_string(i) + "]; mad.lo.u32 %n7, %n0, 48, " +
                std::to_string(512 + i) + "; cvt.u64.u32 %x3, %n7; add.u64 %x3, %x3, %x1; st.global.u32 [%x3], %n3;\n";
      Module module(kernel(text, 2, ".shared .align 16 .b8 in[1536];\n.shared .align 16 .b8 out[1536];\n"));
      ASSERT_STREQ(module.error.reason, "") << text;
      Memory in(1536), out(512 + 1536);
      for (int i = 0; i < 768; i++) in.as<u16>()[i] = static_cast<u16>(i * 7 + 1);
      for (const Executor &executor : ptx::executors()) {
        std::memset(out.as<void>(), 0, 2048);
        std::string fault;
        run(executor, module, {in.address(), out.address()}, &fault);
        ASSERT_EQ(fault, "") << text << executor.name;
        for (int q = 0; q < count; q++)
          for (int l = 0; l < 32; l++)
            for (int i = 0; i < 2; i++) {
              const int row = l / 4, column = 2 * (l % 4) + i; /* the manual's figure */
              const int r = transpose ? column : row, e = transpose ? row : column;
              EXPECT_EQ(out.as<u16>()[2 * (32 * q + l) + i], in.as<u16>()[24 * (8 * q + r) + 8 + e])
                  << "x" << n << trans << " on " << executor.name << " lane " << l;
            }
        for (int row = 0; row < 32; row++)
          for (int e = 0; e < 24; e++) {
            const bool written = row < 8 * count && e >= 8 && e < 16;
            EXPECT_EQ(out.as<u16>()[256 + 24 * row + e], written ? in.as<u16>()[24 * row + e] : 0)
                << "x" << n << trans << " on " << executor.name << " row " << row;
          }
      }
    }
}

TEST(PtxMatrix, AddressesOfRowsAreChecked) {
  for (const char *address : {"1024", "8"}) {
    Module module(kernel(".reg .b32 %r<4>, %n;\nmov.u32 %n, " + std::string(address) +
                             ";\nldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r0}, [%n];",
                         1, ".shared .align 16 .b8 in[1024];\n"));
    ASSERT_STREQ(module.error.reason, "");
    Memory out(64);
    for (const Executor &executor : ptx::executors()) {
      std::string fault;
      run(executor, module, {out.address()}, &fault);
      EXPECT_NE(fault.find(address[0] == '8' ? "misaligned read of 16 bytes at shared 0x8"
                                             : "invalid read of 16 bytes at shared 0x400"),
                std::string::npos)
          << executor.name << ": " << fault;
    }
  }
}

TEST(PtxMatrix, MovmatrixTransposes) {
  Module module(kernel(
      ".reg .b32 %r<3>; .reg .b64 %x<4>;\nld.param.u64 %x0, [p0]; mov.u32 %r0, %laneid; mul.wide.u32 %x1, %r0, 4;\n"
      "add.u64 %x0, %x0, %x1; ld.global.u32 %r1, [%x0]; movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r1;\n"
      "st.global.u32 [%x0+128], %r2;"));
  ASSERT_STREQ(module.error.reason, "");
  Memory data(256);
  for (const Executor &executor : ptx::executors()) {
    for (int i = 0; i < 64; i++) data.as<u16>()[i] = static_cast<u16>(100 + i);
    std::string fault;
    run(executor, module, {data.address()}, &fault);
    ASSERT_EQ(fault, "") << executor.name;
    for (int row = 0; row < 8; row++)
      for (int column = 0; column < 8; column++)
        EXPECT_EQ(data.as<u16>()[64 + 8 * row + column], 100 + 8 * column + row) << executor.name;
  }
}

}  // namespace
