/* Integer, bit and selection instructions against the same expression compiled for the host. */
#include <algorithm>
#include <bitset>
#include <cstdlib>
#include <vector>

#include "tests/vgpu/ptx_support.h"

using ptx::check;
using ptx::Input;
using ptx::Values;

namespace {

using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
__extension__ typedef __int128 s128;
__extension__ typedef unsigned __int128 u128;

template <typename T>
void check_type(const std::string &type) {
  using S = std::make_signed_t<T>;
  constexpr bool is_signed = std::is_signed_v<T>;
  int width = 8 * sizeof(T);
  std::string t = "." + type + " %d, %a, %b";
  auto two = [&](const std::string &op, auto f) {
    check(op + t + ";", width, {width, width}, Values::integers,
          [f](const Input &x) { return static_cast<u64>(f(static_cast<T>(x.a), static_cast<T>(x.b))); });
  };
  auto three = [&](const std::string &op, auto f) {
    check(op + t + ", %c;", width, {width, width, width}, Values::integers, [f](const Input &x) {
      return static_cast<u64>(f(static_cast<T>(x.a), static_cast<T>(x.b), static_cast<T>(x.c)));
    });
  };
  two("add", [](T a, T b) { return static_cast<u64>(a) + static_cast<u64>(b); });
  two("sub", [](T a, T b) { return static_cast<u64>(a) - static_cast<u64>(b); });
  two("mul.lo", [](T a, T b) { return static_cast<u64>(a) * static_cast<u64>(b); });
  two("mul.hi", [width](T a, T b) {
    if constexpr (is_signed) return static_cast<u64>((static_cast<s128>(a) * b) >> width);
    return static_cast<u64>((static_cast<u128>(a) * b) >> width);
  });
  three("mad.lo", [](T a, T b, T c) { return static_cast<u64>(a) * static_cast<u64>(b) + static_cast<u64>(c); });
  three("mad.hi", [width](T a, T b, T c) {
    if constexpr (is_signed) return static_cast<u64>((static_cast<s128>(a) * b) >> width) + static_cast<u64>(c);
    return static_cast<u64>((static_cast<u128>(a) * b) >> width) + static_cast<u64>(c);
  });
  three("sad", [](T a, T b, T c) {
    return static_cast<u64>(c) +
           (a < b ? static_cast<u64>(b) - static_cast<u64>(a) : static_cast<u64>(a) - static_cast<u64>(b));
  });
  two("min", [](T a, T b) { return std::min(a, b); });
  two("max", [](T a, T b) { return std::max(a, b); });
  /* By zero the manual leaves the result open; it is as on hardware: all ones, and the dividend as the remainder. */
  two("div", [](T a, T b) {
    if (b == 0) return ~UINT64_C(0);
    return static_cast<u64>(static_cast<s128>(a) / b);
  });
  two("rem", [](T a, T b) { return b == 0 ? static_cast<u64>(a) : static_cast<u64>(static_cast<s128>(a) % b); });
  if constexpr (is_signed) {
    check("abs." + type + " %d, %a;", width, {width}, Values::integers, [](const Input &x) {
      T a = static_cast<T>(x.a);
      return a < 0 ? 0 - static_cast<u64>(a) : static_cast<u64>(a);
    });
    check("neg." + type + " %d, %a;", width, {width}, Values::integers, [](const Input &x) { return 0 - x.a; });
  }
  check("shr." + type + " %d, %a, %b;", width, {width, 32}, Values::integers, [width](const Input &x) {
    u64 count = std::min<u64>(x.b, static_cast<u64>(width));
    T a = static_cast<T>(x.a);
    if constexpr (is_signed)
      return static_cast<u64>(static_cast<S>(a) >> std::min<u64>(count, static_cast<u64>(width) - 1));
    return count == static_cast<u64>(width) ? 0 : static_cast<u64>(a >> count);
  });
  const char *names[] = {"eq", "ne", "lt", "le", "gt", "ge"};
  for (int i = 0; i < 6; i++) {
    auto holds = [i](T a, T b) {
      bool results[] = {a == b, a != b, a<b, a <= b, a> b, a >= b};
      return results[i];
    };
    check("setp." + std::string(names[i]) + "." + type + " %p, %a, %b; selp.u32 %d, 7, 9, %p;", 32, {width, width},
          Values::integers,
          [holds](const Input &x) { return holds(static_cast<T>(x.a), static_cast<T>(x.b)) ? 7u : 9u; });
    check("set." + std::string(names[i]) + ".u32." + type + " %d, %a, %b;", 32, {width, width}, Values::integers,
          [holds](const Input &x) { return holds(static_cast<T>(x.a), static_cast<T>(x.b)) ? 0xffffffffu : 0u; });
  }
}

TEST(PtxInteger, ArithmeticOfEveryTypeMatchesTheHost) {
  check_type<u16>("u16");
  check_type<s16>("s16");
  check_type<u32>("u32");
  check_type<s32>("s32");
  check_type<u64>("u64");
  check_type<s64>("s64");
}

TEST(PtxInteger, WideProductsKeepEveryBit) {
  check("mul.wide.u16 %d, %a, %b;", 32, {16, 16}, Values::integers, [](const Input &x) { return x.a * x.b; });
  check("mul.wide.s16 %d, %a, %b;", 32, {16, 16}, Values::integers,
        [](const Input &x) { return static_cast<u64>(static_cast<s16>(x.a) * static_cast<s16>(x.b)); });
  check("mul.wide.u32 %d, %a, %b;", 64, {32, 32}, Values::integers, [](const Input &x) { return x.a * x.b; });
  check("mul.wide.s32 %d, %a, %b;", 64, {32, 32}, Values::integers, [](const Input &x) {
    return static_cast<u64>(static_cast<s64>(static_cast<s32>(x.a)) * static_cast<s32>(x.b));
  });
  check("mad.wide.u32 %d, %a, %b, %c;", 64, {32, 32, 64}, Values::integers,
        [](const Input &x) { return x.a * x.b + x.c; });
  check("mad.wide.s32 %d, %a, %b, %c;", 64, {32, 32, 64}, Values::integers, [](const Input &x) {
    return static_cast<u64>(static_cast<s64>(static_cast<s32>(x.a)) * static_cast<s32>(x.b)) + x.c;
  });
  check("mad.wide.s16 %d, %a, %b, %c;", 32, {16, 16, 32}, Values::integers,
        [](const Input &x) { return static_cast<u64>(static_cast<s16>(x.a) * static_cast<s16>(x.b)) + x.c; });
}

TEST(PtxInteger, TwentyFourBitProducts) {
  auto s24 = [](u64 v) { return static_cast<s64>(v << 40) >> 40; };
  auto u24 = [](u64 v) { return v & 0xffffff; };
  check("mul24.lo.u32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return u24(x.a) * u24(x.b); });
  check("mul24.hi.u32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return u24(x.a) * u24(x.b) >> 16; });
  check("mul24.lo.s32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return static_cast<u64>(s24(x.a) * s24(x.b)); });
  check("mul24.hi.s32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return static_cast<u64>(s24(x.a) * s24(x.b) >> 16); });
  check("mad24.lo.s32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers,
        [=](const Input &x) { return static_cast<u64>(s24(x.a) * s24(x.b)) + x.c; });
}

TEST(PtxInteger, SaturationClampsToThe32BitRange) {
  auto clamp = [](s64 v) { return static_cast<u64>(std::clamp<s64>(v, INT32_MIN, INT32_MAX)); };
  check("add.sat.s32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return clamp(static_cast<s64>(static_cast<s32>(x.a)) + static_cast<s32>(x.b)); });
  check("sub.sat.s32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return clamp(static_cast<s64>(static_cast<s32>(x.a)) - static_cast<s32>(x.b)); });
  check("mad.hi.sat.s32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers, [=](const Input &x) {
    return clamp((static_cast<s64>(static_cast<s32>(x.a)) * static_cast<s32>(x.b) >> 32) + static_cast<s32>(x.c));
  });
}

TEST(PtxInteger, CarryChainsAddAndSubtract128Bits) {
  std::string wide = "add.cc.u64 %l0, %a, %b; addc.u64 %d, %c, %e;";
  check(wide, 64, {64, 64, 64, 64}, Values::integers, [](const Input &x) {
    u128 low = static_cast<u128>(x.a) + x.b;
    return x.c + x.e + static_cast<u64>(low >> 64);
  });
  check("sub.cc.u64 %l0, %a, %b; subc.u64 %d, %c, %e;", 64, {64, 64, 64, 64}, Values::integers,
        [](const Input &x) { return x.c - x.e - (x.a < x.b); });
  /* A subtraction's flag, read by an addition: clear where it borrows (nvcc's division of 128-bit integers does so). */
  check("sub.cc.u32 %r0, %a, %b; addc.u32 %d, %c, %e;", 32, {32, 32, 32, 32}, Values::integers,
        [](const Input &x) { return x.c + x.e + (x.a >= x.b); });
  check("add.cc.u64 %l0, %a, %b; subc.u64 %d, %c, %e;", 64, {64, 64, 64, 64}, Values::integers,
        [](const Input &x) { return x.c - x.e - (x.a + x.b >= x.a); });
  check("add.cc.u32 %r0, %a, %b; addc.cc.u32 %r1, %c, %e; addc.u32 %d, 0, 0;", 32, {32, 32, 32, 32}, Values::integers,
        [](const Input &x) { return (x.c + x.e + ((x.a + x.b) >> 32)) >> 32; });
  check("mad.lo.cc.u32 %r0, %a, %b, %c; madc.hi.u32 %d, %a, %b, %e;", 32, {32, 32, 32, 32}, Values::integers,
        [](const Input &x) { return (x.a * x.b >> 32) + x.e + (((x.a * x.b & 0xffffffff) + x.c) >> 32); });
}

TEST(PtxInteger, LogicOnEveryWidth) {
  for (int width : {16, 32, 64}) {
    std::string t = ".b" + std::to_string(width);
    check("and" + t + " %d, %a, %b;", width, {width, width}, Values::integers,
          [](const Input &x) { return x.a & x.b; });
    check("or" + t + " %d, %a, %b;", width, {width, width}, Values::integers, [](const Input &x) { return x.a | x.b; });
    check("xor" + t + " %d, %a, %b;", width, {width, width}, Values::integers,
          [](const Input &x) { return x.a ^ x.b; });
    check("not" + t + " %d, %a;", width, {width}, Values::integers, [](const Input &x) { return ~x.a; });
    check("cnot" + t + " %d, %a;", width, {width}, Values::integers, [](const Input &x) { return x.a == 0; });
    check("shl" + t + " %d, %a, %b;", width, {width, 32}, Values::integers,
          [width](const Input &x) { return x.b >= static_cast<u64>(width) ? 0 : x.a << x.b; });
    check("mov" + t + " %d, %a;", width, {width}, Values::integers, [](const Input &x) { return x.a; });
    check("setp.gt.u32 %p, %b, %c; selp" + t + " %d, %a, 77, %p;", width, {width, 32, 32}, Values::integers,
          [](const Input &x) { return x.b > x.c ? x.a : 77; });
    check("slct" + t + ".s32 %d, %a, %b, %c;", width, {width, width, 32}, Values::integers,
          [](const Input &x) { return static_cast<s32>(x.c) >= 0 ? x.a : x.b; });
  }
}

TEST(PtxInteger, CountingAndReversing) {
  for (int width : {32, 64}) {
    std::string t = ".b" + std::to_string(width), unsigned_type = ".u" + std::to_string(width);
    std::string signed_type = ".s" + std::to_string(width);
    auto top = [width](u64 v) {
      for (int i = width - 1; i >= 0; i--)
        if (v >> i & 1) return static_cast<u64>(i);
      return ~UINT64_C(0);
    };
    check("popc" + t + " %d, %a;", 32, {width}, Values::integers,
          [](const Input &x) { return std::bitset<64>(x.a).count(); });
    check("clz" + t + " %d, %a;", 32, {width}, Values::integers,
          [=](const Input &x) { return x.a ? static_cast<u64>(width) - 1 - top(x.a) : static_cast<u64>(width); });
    check("brev" + t + " %d, %a;", width, {width}, Values::integers, [width](const Input &x) {
      u64 r = 0;
      for (int i = 0; i < width; i++) r |= (x.a >> i & 1) << (width - 1 - i);
      return r;
    });
    check("bfind" + unsigned_type + " %d, %a;", 32, {width}, Values::integers,
          [=](const Input &x) { return top(x.a); });
    check("bfind.shiftamt" + unsigned_type + " %d, %a;", 32, {width}, Values::integers,
          [=](const Input &x) { return x.a ? static_cast<u64>(width) - 1 - top(x.a) : ~UINT64_C(0); });
    check("bfind" + signed_type + " %d, %a;", 32, {width}, Values::integers, [=](const Input &x) {
      u64 mask = width == 64 ? ~UINT64_C(0) : (UINT64_C(1) << width) - 1;
      return top(x.a >> (width - 1) & 1 ? ~x.a & mask : x.a);
    });
  }
}

/* The manual's own loops. */
u64 manual_bfe(u64 a, u64 b, u64 c, int width, bool is_signed) {
  int msb = width - 1, position = static_cast<int>(b & 255), length = static_cast<int>(c & 255);
  u64 sign = !is_signed || length == 0 ? 0 : a >> std::min(position + length - 1, msb) & 1, d = 0;
  for (int i = 0; i <= msb; i++) d |= (i < length && position + i <= msb ? a >> (position + i) & 1 : sign) << i;
  return d;
}
u64 manual_bfi(u64 a, u64 b, u64 c, u64 e, int width) {
  int msb = width - 1, position = static_cast<int>(c & 255), length = static_cast<int>(e & 255);
  u64 f = b;
  for (int i = 0; i < length && position + i <= msb; i++) {
    u64 bit = UINT64_C(1) << (position + i);
    f = (f & ~bit) | (i <= msb && a >> i & 1 ? bit : 0);
  }
  return f;
}

TEST(PtxInteger, BitFields) {
  for (int width : {32, 64}) {
    for (bool is_signed : {false, true})
      check(std::string("bfe.") + (is_signed ? "s" : "u") + std::to_string(width) + " %d, %a, %b, %c;", width,
            {width, 32, 32}, Values::integers,
            [=](const Input &x) { return manual_bfe(x.a, x.b, x.c, width, is_signed); });
    check("bfi.b" + std::to_string(width) + " %d, %a, %b, %c, %e;", width, {width, width, 32, 32}, Values::integers,
          [=](const Input &x) { return manual_bfi(x.a, x.b, x.c, x.e, width); });
  }
}

TEST(PtxInteger, MasksOfBitsAndTheNthSetBit) {
  /* The manual's description of bmsk, case by case. */
  auto mask = [](u64 a, u64 b, bool clamp) -> u64 {
    u64 a1 = a & 31, b1 = b & 31, low = 0xffffffffu << a1 & 0xffffffff;
    bool overflow = a1 + b1 >= 32 || (clamp && b >= 32);
    if (clamp && a >= 32) return 0;
    if (overflow) return low;
    return b1 == 0 ? 0 : low & ~(UINT64_C(0xffffffff) << (a1 + b1));
  };
  check("bmsk.clamp.b32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return mask(x.a, x.b, true); });
  check("bmsk.wrap.b32 %d, %a, %b;", 32, {32, 32}, Values::integers,
        [=](const Input &x) { return mask(x.a, x.b, false); });
  check("and.b32 %r0, %b, 31; and.b32 %r1, %c, 7; sub.s32 %r1, %r1, 3; fns.b32 %d, %a, %r0, %r1;", 32, {32, 32, 32},
        Values::integers, [](const Input &x) -> u64 {
          int base = static_cast<int>(x.b & 31), offset = static_cast<int>(x.c & 7) - 3;
          std::vector<int> set; /* the set bits from the base on, in the direction of the search */
          if (offset >= 0)
            for (int i = base; i < 32; i++) set.push_back(i);
          else
            for (int i = base; i >= 0; i--) set.push_back(i);
          set.erase(std::remove_if(set.begin(), set.end(), [&](int i) { return !(x.a >> i & 1); }), set.end());
          if (offset == 0) return !set.empty() && set[0] == base ? static_cast<u64>(base) : 0xffffffff;
          size_t wanted = static_cast<size_t>(std::abs(offset)) - 1;
          return wanted < set.size() ? static_cast<u64>(set[wanted]) : 0xffffffff;
        });
}

TEST(PtxInteger, FunnelShifts) {
  auto both = [](const Input &x) { return x.b << 32 | x.a; };
  check("shf.l.wrap.b32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers,
        [=](const Input &x) { return both(x) << (x.c & 31) >> 32; });
  check("shf.r.wrap.b32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers,
        [=](const Input &x) { return both(x) >> (x.c & 31); });
  check("shf.l.clamp.b32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers,
        [=](const Input &x) { return both(x) << std::min<u64>(x.c, 32) >> 32; });
  check("shf.r.clamp.b32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers,
        [=](const Input &x) { return both(x) >> std::min<u64>(x.c, 32); });
}

TEST(PtxInteger, EveryTableOfLop3) {
  for (int table : {0x00, 0x01, 0x1b, 0x3c, 0x80, 0x96, 0xca, 0xe8, 0xf8, 0xff})
    check("lop3.b32 %d, %a, %b, %c, " + std::to_string(table) + ";", 32, {32, 32, 32}, Values::integers,
          [table](const Input &x) {
            u64 d = 0;
            for (int i = 0; i < 32; i++)
              d |= static_cast<u64>(table >> ((x.a >> i & 1) * 4 + (x.b >> i & 1) * 2 + (x.c >> i & 1)) & 1) << i;
            return d;
          });
}

TEST(PtxInteger, BytePermutations) {
  auto byte = [](const Input &x, u64 i) { return (x.b << 32 | x.a) >> (8 * (i & 7)) & 255; };
  check("prmt.b32 %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers, [=](const Input &x) {
    u64 d = 0;
    for (int i = 0; i < 4; i++) {
      u64 selector = x.c >> (4 * i) & 15, v = byte(x, selector);
      if (selector & 8) v = v & 128 ? 255 : 0;
      d |= v << (8 * i);
    }
    return d;
  });
  /* The manual's tables, most significant byte first. */
  struct Mode {
    const char *name;
    int table[4][4];
  } modes[] = {{"f4e", {{3, 2, 1, 0}, {4, 3, 2, 1}, {5, 4, 3, 2}, {6, 5, 4, 3}}},
               {"b4e", {{5, 6, 7, 0}, {6, 7, 0, 1}, {7, 0, 1, 2}, {0, 1, 2, 3}}},
               {"rc8", {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}}},
               {"ecl", {{3, 2, 1, 0}, {3, 2, 1, 1}, {3, 2, 2, 2}, {3, 3, 3, 3}}},
               {"ecr", {{0, 0, 0, 0}, {1, 1, 1, 0}, {2, 2, 1, 0}, {3, 2, 1, 0}}},
               {"rc16", {{1, 0, 1, 0}, {3, 2, 3, 2}, {1, 0, 1, 0}, {3, 2, 3, 2}}}};
  for (const Mode &mode : modes)
    check(std::string("prmt.b32.") + mode.name + " %d, %a, %b, %c;", 32, {32, 32, 32}, Values::integers,
          [=](const Input &x) {
            u64 d = 0;
            for (int i = 0; i < 4; i++) d = d << 8 | byte(x, static_cast<u64>(mode.table[x.c & 3][i]));
            return d;
          });
}

TEST(PtxInteger, DotProductsOfBytes) {
  for (bool a_signed : {false, true})
    for (bool b_signed : {false, true})
      check(std::string("dp4a.") + (a_signed ? "s32" : "u32") + (b_signed ? ".s32" : ".u32") + " %d, %a, %b, %c;", 32,
            {32, 32, 32}, Values::integers, [=](const Input &x) {
              s64 sum = static_cast<s64>(x.c);
              for (int i = 0; i < 32; i += 8) {
                int p = static_cast<int>(x.a >> i & 255), q = static_cast<int>(x.b >> i & 255);
                sum += (a_signed && p > 127 ? p - 256 : p) * (b_signed && q > 127 ? q - 256 : q);
              }
              return static_cast<u64>(sum);
            });
}

TEST(PtxInteger, PredicatesCombineAndComeInPairs) {
  check("setp.eq.u32 %q, %c, %e; setp.lt.and.u32 %p, %a, %b, %q; selp.u32 %d, 1, 0, %p;", 32, {32, 32, 32, 32},
        Values::integers, [](const Input &x) { return x.a < x.b && x.c == x.e; });
  check("setp.eq.u32 %q, %c, %e; setp.lt.or.u32 %p, %a, %b, !%q; selp.u32 %d, 1, 0, %p;", 32, {32, 32, 32, 32},
        Values::integers, [](const Input &x) { return x.a < x.b || x.c != x.e; });
  check("setp.lt.u32 %p|%q, %a, %b; selp.u32 %r0, 1, 0, %p; selp.u32 %r1, 2, 0, %q; or.b32 %d, %r0, %r1;", 32, {32, 32},
        Values::integers, [](const Input &x) { return x.a < x.b ? 1u : 2u; });
  check(
      "setp.eq.u32 %q, %c, %e; setp.lt.xor.u32 %p|%q, %a, %b, %q; selp.u32 %r0, 1, 0, %p; selp.u32 %r1, 2, 0, %q; "
      "or.b32 %d, %r0, %r1;",
      32, {32, 32, 32, 32}, Values::integers, [](const Input &x) {
        bool first = (x.a < x.b) != (x.c == x.e), second = !(x.a < x.b) != (x.c == x.e);
        return (first ? 1u : 0u) | (second ? 2u : 0u);
      });
  check(
      "setp.lt.u32 %p, %a, %b; setp.lt.u32 %q, %b, %c; and.pred %p, %p, %q; not.pred %q, %q; xor.pred %p, %p, %q; "
      "selp.u32 %d, 1, 0, %p;",
      32, {32, 32, 32}, Values::integers, [](const Input &x) { return (x.a < x.b && x.b < x.c) != !(x.b < x.c); });
  check("mov.pred %p, -1; mov.pred %q, 0; or.pred %q, %q, %p; selp.u32 %d, 3, 4, %q;", 32, {32}, Values::integers,
        [](const Input &) { return 3; });
}

TEST(PtxInteger, MovesPackAndUnpack) {
  check("mov.b64 %d, {%a, %b};", 64, {32, 32}, Values::integers, [](const Input &x) { return x.b << 32 | x.a; });
  check("mov.b64 {%r0, %r1}, %a; xor.b32 %d, %r0, %r1;", 32, {64}, Values::integers,
        [](const Input &x) { return (x.a ^ x.a >> 32) & 0xffffffff; });
  check("mov.b32 {%h0, %h1}, %a; mov.b32 %d, {%h1, %h0};", 32, {32}, Values::integers,
        [](const Input &x) { return (x.a >> 16 | x.a << 16) & 0xffffffff; });
  check("mov.b64 {%h0, %h1, %h2, %h3}, %a; mov.b64 %d, {%h3, %h2, %h1, %h0};", 64, {64}, Values::integers,
        [](const Input &x) {
          return (x.a & 0xffff) << 48 | (x.a >> 16 & 0xffff) << 32 | (x.a >> 32 & 0xffff) << 16 | x.a >> 48;
        });
  check("mov.b64 {_, %r1}, %a; mov.b32 %d, %r1;", 32, {64}, Values::integers, [](const Input &x) { return x.a >> 32; });
}

}  // namespace
