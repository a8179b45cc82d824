/* Conversions to and from f16, bf16, tf32 and the formats of 8 bits: all inputs of the narrow formats, and of the wide
 * ones every narrow number, every middle between two of them, and the numbers beside these. */
#include <cmath>
#include <random>

#include "tests/vgpu/narrow_format.h"
#include "tests/vgpu/ptx_support.h"

using narrow::Format;
using narrow::Mode;
using ptx::evaluate;
using ptx::Executor;
using ptx::Input;

namespace {

using u32 = uint32_t;
using u64 = uint64_t;
using s64 = int64_t;

struct Rounding {
  const char *name;
  Mode mode;
} const roundings[] = {{"rn", Mode::nearest}, {"rz", Mode::zero}, {"rm", Mode::down}, {"rp", Mode::up}};

void compare_all(const std::string &body, int width, const std::vector<int> &widths, const std::vector<Input> &inputs,
                 const std::function<u64(const Input &)> &reference) {
  for (const Executor &executor : ptx::executors()) {
    std::vector<u64> results = evaluate(executor, body, width, widths, inputs);
    ASSERT_EQ(results.size(), inputs.size()) << body << " on " << executor.name;
    int shown = 0;
    for (size_t i = 0; i < inputs.size() && shown < 3; i++) {
      const u64 expected = reference(inputs[i]);
      if (results[i] == expected) continue;
      shown++;
      ADD_FAILURE() << body << " on " << executor.name << std::hex << ": a=0x" << inputs[i].a << " b=0x" << inputs[i].b
                    << " gives 0x" << results[i] << ", expected 0x" << expected;
    }
  }
}

std::vector<Input> all_of(const Format &format) {
  std::vector<Input> list;
  for (u64 a = 0; a < 2 * u64(format.sign()); a++) list.push_back({a, 0, 0, 0});
  return list;
}

/* f32 numbers around those of the format; `every`: one in so many. */
std::vector<Input> singles(const Format &format, unsigned every) {
  std::vector<Input> list;
  auto add = [&](float x) {
    for (float y : {x, std::nextafter(x, INFINITY), std::nextafter(x, -INFINITY)}) {
      list.push_back({ptx::bits(y), ptx::bits(-y), 0, 0});
      list.push_back({ptx::bits(-y), ptx::bits(y), 0, 0});
    }
  };
  for (size_t i = 0; i < format.ordered.size(); i++) {
    if (i % every && i > 20 && i + 20 < format.ordered.size()) continue;
    const double x = static_cast<double>(format.ordered[i].first);
    const double next = i + 1 < format.ordered.size() ? static_cast<double>(format.ordered[i + 1].first)
                                                      : 2 * x - static_cast<double>(format.ordered[i - 1].first);
    add(static_cast<float>(x));
    add(static_cast<float>(x / 2 + next / 2));
    add(static_cast<float>(next));
  }
  for (u32 bits : {0x7f800000u, 0x7fc00000u, 0x7f800001u, 0x7f7fffffu, 1u, 0x7fffffu})
    list.push_back({bits, bits | 0x80000000, 0, 0});
  return list;
}

u64 relu(u64 bits, const Format &format) { return format.nan(bits) ? format.all() : bits & format.sign() ? 0 : bits; }

TEST(PtxHalfConvert, SinglesToHalves) {
  for (const Format *format : {&narrow::half(), &narrow::brain()}) {
    const std::vector<Input> list = singles(*format, 7);
    for (const Rounding &rounding : roundings)
      compare_all("cvt." + std::string(rounding.name) + "." + format->name + ".f32 %d, %a;", 16, {32}, list,
                  [&](const Input &x) { return format->convert(ptx::f32(x.a), rounding.mode); });
    for (const char *name : {"rn", "rz"}) {
      const Mode mode = name[1] == 'n' ? Mode::nearest : Mode::zero;
      compare_all("cvt." + std::string(name) + ".relu." + format->name + ".f32 %d, %a;", 16, {32}, list,
                  [&](const Input &x) { return relu(format->convert(ptx::f32(x.a), mode), *format); });
      for (bool clip : {false, true})
        compare_all("cvt." + std::string(name) + (clip ? ".relu." : ".") + format->pair + ".f32 %d, %a, %b;", 32,
                    {32, 32}, list, [&](const Input &x) -> u64 {
                      u64 high = format->convert(ptx::f32(x.a), mode), low = format->convert(ptx::f32(x.b), mode);
                      if (clip) high = relu(high, *format), low = relu(low, *format);
                      return high << 16 | low;
                    });
    }
  }
  const Format &half = narrow::half();
  compare_all("cvt.rn.sat.f16.f32 %d, %a;", 16, {32}, singles(half, 7), [&](const Input &x) -> u64 {
    const float a = ptx::f32(x.a);
    return !(a > 0) ? 0 : a >= 1 ? 0x3c00 : half.convert(a, Mode::nearest);
  });
  compare_all("cvt.rn.ftz.f16.f32 %d, %a;", 16, {32},
              {{0x007fffff, 0, 0, 0}, {0x807fffff, 0, 0, 0}, {0x3f800000, 0, 0, 0}},
              [&](const Input &x) -> u64 { return x.a == 0x3f800000 ? 0x3c00 : x.a >> 31 << 15; });
}

TEST(PtxHalfConvert, DoublesToHalves) {
  for (const Format *format : {&narrow::half(), &narrow::brain()}) {
    std::vector<Input> list;
    for (const Input &x : singles(*format, 13)) { /* and the doubles beside, which a float could not tell apart */
      const double a = static_cast<double>(ptx::f32(x.a));
      for (double y : {a, std::nextafter(a, INFINITY), std::nextafter(a, -INFINITY)})
        list.push_back({ptx::bits(y), 0, 0, 0});
    }
    for (u64 bits :
         {u64(0x7ff0000000000000), u64(0xfff0000000000000), u64(0x7ff8000000000000), u64(1), u64(0x7fefffffffffffff)})
      list.push_back({bits, 0, 0, 0});
    for (const Rounding &rounding : roundings)
      compare_all("cvt." + std::string(rounding.name) + "." + format->name + ".f64 %d, %a;", 16, {64}, list,
                  [&](const Input &x) { return format->convert(ptx::f64(x.a), rounding.mode); });
  }
}

TEST(PtxHalfConvert, HalvesToWiderNumbersAreExact) {
  for (const Format *format : {&narrow::half(), &narrow::brain()}) {
    const std::string name = format->name;
    compare_all("cvt.f32." + name + " %d, %a;", 32, {16}, all_of(*format), [&](const Input &x) {
      return format->nan(x.a) ? 0x7fffffff : ptx::bits(static_cast<float>(format->number(x.a)));
    });
    compare_all("cvt.f64." + name + " %e, %a; testp.notanumber.f64 %p, %e; selp.b64 %d, 7, %e, %p;", 64,
                {16, 16, 16, 64}, all_of(*format),
                [&](const Input &x) { return format->nan(x.a) ? 7 : ptx::bits(format->number(x.a)); });
  }
  compare_all("cvt.rn.bf16.f16 %d, %a;", 16, {16}, all_of(narrow::half()),
              [](const Input &x) { return narrow::brain().convert(narrow::half().number(x.a), Mode::nearest); });
  compare_all("cvt.rz.f16.bf16 %d, %a;", 16, {16}, all_of(narrow::brain()),
              [](const Input &x) { return narrow::half().convert(narrow::brain().number(x.a), Mode::zero); });
}

TEST(PtxHalfConvert, HalvesToIntegralNumbers) {
  struct Case {
    const char *name;
    double (*round)(double);
  } const cases[] = {{"rni", [](double x) { return std::nearbyint(x); }},
                     {"rzi", [](double x) { return std::trunc(x); }},
                     {"rmi", [](double x) { return std::floor(x); }},
                     {"rpi", [](double x) { return std::ceil(x); }}};
  struct Target {
    const char *name;
    int bits;
    bool sign;
  } const targets[] = {{"s8", 8, true},   {"u8", 8, false},   {"s16", 16, true}, {"u16", 16, false},
                       {"s32", 32, true}, {"u32", 32, false}, {"s64", 64, true}, {"u64", 64, false}};
  for (const Format *format : {&narrow::half(), &narrow::brain()}) {
    const std::string name = format->name;
    for (const Case &one : cases) {
      compare_all("cvt." + std::string(one.name) + "." + name + "." + name + " %d, %a;", 16, {16}, all_of(*format),
                  [&](const Input &x) -> u64 {
                    const double r = one.round(format->number(x.a));
                    if (r == 0) return x.a & 0x8000;
                    return format->convert(r, Mode::nearest);
                  });
      for (const Target &target : targets)
        compare_all("cvt." + std::string(one.name) + "." + target.name + "." + name + " %d, %a;",
                    target.bits < 16 ? 16 : target.bits, {16}, all_of(*format), [&](const Input &x) -> u64 {
                      const double r = one.round(format->number(x.a));
                      const int bits = target.bits;
                      const double high = std::ldexp(1.0, target.sign ? bits - 1 : bits),
                                   low = target.sign ? -std::ldexp(1.0, bits - 1) : 0;
                      const u64 width = bits == 64 ? ~u64(0) : (u64(1) << (bits < 16 ? 16 : bits)) - 1;
                      if (std::isnan(r)) return bits == 64 ? u64(1) << 63 : 0;
                      if (r >= high)
                        return target.sign ? (u64(1) << (bits - 1)) - 1 : bits == 64 ? ~u64(0) : (u64(1) << bits) - 1;
                      if (r <= low) return (target.sign ? static_cast<u64>(static_cast<s64>(low)) : 0) & width;
                      return (target.sign ? static_cast<u64>(static_cast<s64>(r)) : static_cast<u64>(r)) & width;
                    });
    }
  }
}

TEST(PtxHalfConvert, IntegersToHalves) {
  std::mt19937_64 random(11);
  std::vector<u64> numbers;
  for (int shift = 0; shift < 64; shift++)
    for (int i = -2; i <= 2; i++) {
      numbers.push_back((u64(1) << shift) + static_cast<u64>(i));
      numbers.push_back(0 - ((u64(1) << shift) + static_cast<u64>(i)));
      numbers.push_back((u64(0x181) << shift) + static_cast<u64>(i)); /* a tie of bf16 and its neighbours */
      numbers.push_back((u64(0x1801) << shift) + static_cast<u64>(i));
    }
  for (int i = 0; i < 2000; i++) numbers.push_back(random() >> random() % 64);
  std::vector<Input> list;
  for (u64 number : numbers) list.push_back({number, 0, 0, 0});
  struct Source {
    const char *name;
    int bits;
    bool sign;
  } const sources[] = {{"s8", 8, true},   {"u8", 8, false},   {"s16", 16, true}, {"u16", 16, false},
                       {"s32", 32, true}, {"u32", 32, false}, {"s64", 64, true}, {"u64", 64, false}};
  for (const Format *format : {&narrow::half(), &narrow::brain()})
    for (const Rounding &rounding : roundings)
      for (const Source &source : sources) {
        std::vector<Input> own = list;
        const int width = source.bits < 16 ? 16 : source.bits;
        for (Input &x : own)
          if (width < 64) x.a &= (u64(1) << width) - 1;
        compare_all("cvt." + std::string(rounding.name) + "." + format->name + "." + source.name + " %d, %a;", 16,
                    {width}, own, [&](const Input &x) -> u64 {
                      const u64 cut = x.a << (64 - source.bits);
                      const narrow::wide value =
                          source.sign ? static_cast<narrow::wide>(static_cast<s64>(cut) >> (64 - source.bits))
                                      : static_cast<narrow::wide>(cut >> (64 - source.bits));
                      return value == 0 ? 0 : format->round(value, rounding.mode);
                    });
      }
}

TEST(PtxHalfConvert, SinglesToTf32) {
  const Format &format = narrow::tf32();
  const std::vector<Input> list = singles(format, 61);
  struct Case {
    const char *name;
    Mode mode;
    bool clip;
  } const cases[] = {{"rna", Mode::away, false},
                     {"rn", Mode::nearest, false},
                     {"rz", Mode::zero, false},
                     {"rn.relu", Mode::nearest, true},
                     {"rz.relu", Mode::zero, true}};
  for (const Case &one : cases)
    compare_all("cvt." + std::string(one.name) + ".tf32.f32 %d, %a;", 32, {32}, list, [&](const Input &x) -> u64 {
      const float a = ptx::f32(x.a);
      if (std::isnan(a)) return 0x7fffffff;
      const u64 bits = format.convert(a, one.mode);
      return (one.clip ? relu(bits, format) : bits) << 13;
    });
}

u64 satfinite(const Format &format, double x, bool clip) {
  if (std::isnan(x)) return format.all();
  u64 bits = format.convert(x, Mode::nearest);
  if ((bits & format.all()) >= format.infinity) bits = (bits & format.sign()) | (format.infinity - 1);
  return clip && (bits & format.sign()) ? 0 : bits;
}

TEST(PtxHalfConvert, PairsOfBytes) {
  for (const Format *format : {&narrow::e4m3(), &narrow::e5m2()}) {
    const std::vector<Input> list = singles(*format, 1);
    for (bool clip : {false, true}) {
      const std::string tail = clip ? ".relu." : ".";
      compare_all("cvt.rn.satfinite" + tail + format->pair + ".f32 %d, %a, %b;", 16, {32, 32}, list,
                  [&](const Input &x) {
                    return satfinite(*format, ptx::f32(x.a), clip) << 8 | satfinite(*format, ptx::f32(x.b), clip);
                  });
      std::vector<Input> pairs;
      for (u64 a = 0; a < 65536; a += 3) pairs.push_back({a << 16 | (65535 - a), 0, 0, 0});
      compare_all("cvt.rn.satfinite" + tail + format->pair + ".f16x2 %d, %a;", 16, {32}, pairs, [&](const Input &x) {
        return satfinite(*format, narrow::half().number(x.a >> 16), clip) << 8 |
               satfinite(*format, narrow::half().number(x.a & 0xffff), clip);
      });
      std::vector<Input> bytes;
      for (u64 a = 0; a < 65536; a++) bytes.push_back({a, 0, 0, 0});
      compare_all("cvt.rn" + tail + "f16x2." + format->pair + " %d, %a;", 32, {16}, bytes, [&](const Input &x) -> u64 {
        u64 half[2];
        for (int i = 0; i < 2; i++) {
          const double value = format->number(x.a >> (8 * i) & 0xff);
          half[i] = narrow::half().convert(value, Mode::nearest);
          if (clip) half[i] = relu(half[i], narrow::half());
        }
        return half[1] << 16 | half[0];
      });
    }
  }
}

}  // namespace
